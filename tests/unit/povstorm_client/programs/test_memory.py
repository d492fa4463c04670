"""A container's own memory is seen, and a service's, not that of the machine around it."""

from __future__ import annotations

import psutil

from povstorm_client.programs.memory import available_memory, total_memory

MIB = 2**20


def test_memory_is_what_the_control_group_has_left(cgroup):
    group = cgroup(
        {
            "memory.max": f"{512 * MIB}\n",
            "memory.current": f"{200 * MIB}\n",
            "memory.stat": f"anon 1\ninactive_file {50 * MIB}\n",
        }
    )

    assert available_memory(group) == (512 - 200 + 50) * MIB
    assert total_memory(group) == 512 * MIB


def test_so_it_is_in_the_first_version_of_control_groups(cgroup):
    group = cgroup(
        {
            "memory/memory.limit_in_bytes": f"{512 * MIB}\n",
            "memory/memory.usage_in_bytes": f"{200 * MIB}\n",
            "memory/memory.stat": f"cache 1\ntotal_inactive_file {50 * MIB}\n",
        }
    )

    assert available_memory(group) == (512 - 200 + 50) * MIB
    assert total_memory(group) == 512 * MIB


def test_of_a_service_s_limits_the_narrowest_counts(cgroup):
    files = {
        "povstorm.slice/memory.max": f"{300 * MIB}\n",
        "povstorm.slice/memory.current": f"{250 * MIB}\n",
        "povstorm.slice/own.service/memory.max": f"{200 * MIB}\n",
        "povstorm.slice/own.service/memory.current": f"{100 * MIB}\n",
    }
    group = cgroup(files, own="/povstorm.slice/own.service")

    assert available_memory(group) == 50 * MIB
    assert total_memory(group) == 200 * MIB


def test_memory_without_a_limit_is_the_machines(cgroup):
    machine = psutil.virtual_memory().total
    # What the first version has for no limit.
    endless = {"memory.max": "max\n", "memory/memory.limit_in_bytes": "9223372036854771712\n"}

    for files in ({}, endless):
        group = cgroup(files)
        assert 0 < available_memory(group) <= machine
        assert total_memory(group) == machine
