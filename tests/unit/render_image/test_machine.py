"""A container's own limits are seen, not those of the machine around it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from render_image import machine


@pytest.fixture
def cgroup(tmp_path: Path):
    """A function that writes a control group's files."""

    def make(**files: str) -> Path:
        for name, text in files.items():
            (tmp_path / name.replace("_", ".", 1)).write_text(text)
        return tmp_path

    return make


def test_memory_is_what_the_control_group_has_left(cgroup):
    group = cgroup(
        memory_max=str(512 * 2**20),
        memory_current=str(200 * 2**20),
        memory_stat=f"anon 1\ninactive_file {50 * 2**20}\n",
    )

    assert machine.available_memory(group) == (512 - 200 + 50) * 2**20


def test_memory_without_a_limit_is_the_machines(cgroup):
    found = machine.available_memory(cgroup(memory_max="max\n"))

    assert 0 < found <= psutil.virtual_memory().total


def test_use_is_a_share_of_the_quota(cgroup, monkeypatch: pytest.MonkeyPatch):
    clock = iter([100.0, 110.0])
    monkeypatch.setattr(machine.time, "monotonic", lambda: next(clock))
    group = cgroup(cpu_max="50000 100000", cpu_stat="usage_usec 1000000\nuser_usec 1\n")
    use = machine.CpuUse(group)

    (group / "cpu.stat").write_text("usage_usec 4000000\n")

    assert use.share() == pytest.approx(3.0 / (10 * 0.5))


def test_programs_that_give_way_to_povray_count_as_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spent = SimpleNamespace(user=40.0, system=10.0, nice=35.0, idle=10.0, iowait=5.0)
    monkeypatch.setattr(psutil, "cpu_times_percent", lambda: spent)

    assert machine.CpuUse(tmp_path / "nowhere").share() == pytest.approx(0.5)


def test_a_host_on_cloud_run_is_its_execution_and_task(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CLOUD_RUN_EXECUTION", "render-abc")
    monkeypatch.setenv("CLOUD_RUN_TASK_INDEX", "7")

    assert machine.host_name() == "render-abc/task-7"
