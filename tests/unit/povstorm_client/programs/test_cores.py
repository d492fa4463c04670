"""A container's own cores are seen, and a service's, not those of the machine around it."""

from __future__ import annotations

import os

import pytest

from povstorm_client.programs.cores import cores, whole_cores

SERVICE = "/system.slice/povstorm.service"


def test_a_cpu_quota_counts_less_than_the_machines_cores(cgroup):
    assert cores(cgroup({"cpu.max": "50000 100000\n"})) == 0.5


def test_without_a_quota_it_is_the_machines_cores(cgroup):
    every = cores(cgroup({}))

    assert every >= 1
    assert cores(cgroup({"cpu.max": "max 100000\n"})) == every


def test_cores_that_this_process_may_not_be_scheduled_on_do_not_count(
    cgroup, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 3, 5}, raising=False)

    assert cores(cgroup({})) == 3
    assert cores(cgroup({"cpu.max": "400000 100000\n"})) == 3


@pytest.mark.parametrize("quota", ["50000 100000", "1 100000", "100000 100000"])
def test_a_part_of_a_core_keeps_one_process_busy(cgroup, quota: str):
    assert whole_cores(cgroup({"cpu.max": quota})) == 1


def test_the_first_version_of_control_groups_has_quotas_too(cgroup):
    period = {"cpu/cpu.cfs_period_us": "100000\n"}

    assert cores(cgroup({**period, "cpu/cpu.cfs_quota_us": "25000\n"})) == 0.25
    assert cores(cgroup({**period, "cpu/cpu.cfs_quota_us": "-1\n"})) >= 1


@pytest.mark.parametrize(
    ("group", "of_its_own", "outer"), [(SERVICE, "30000", "max"), (SERVICE, "max", "30000")]
)
def test_a_service_has_its_own_quota_and_those_of_the_groups_above(
    cgroup, group: str, of_its_own: str, outer: str
):
    files = {
        f"{SERVICE[1:]}/cpu.max": f"{of_its_own} 100000\n",
        "system.slice/cpu.max": f"{outer} 100000\n",
        "user.slice/cpu.max": "1000 100000\n",
    }

    assert cores(cgroup(files, own=group)) == 0.3


@pytest.mark.parametrize("named", ["/libpod_parent/libpod-1", "/../../libpod-1"])
def test_a_container_that_is_told_its_path_on_the_host_is_in_the_outermost_group_that_it_sees(
    cgroup, named: str
):
    assert cores(cgroup({"cpu.max": "50000 100000\n"}, own=named)) == 0.5
