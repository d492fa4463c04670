"""What the machine, or the container, gives to POV-Ray: CPU use, free memory, a name.

A container's limits are those of its control group (cgroup v2), which the rest of /proc does not
show. ProcessGate asks here, and render_unit for the name.
"""

from __future__ import annotations

import functools
import os
import socket
import time
from pathlib import Path

import psutil

from povstorm_client.programs.cores import CGROUP, cpu_quota


def available_memory(cgroup: Path = CGROUP) -> int:
    """Bytes that can still be used, by the machine and by the control group."""
    free: int = psutil.virtual_memory().available
    limit = _read(cgroup / "memory.max")
    if not limit or limit == "max":
        return free
    # What was only read from files is given up when memory is needed.
    evictable = _statistic(cgroup / "memory.stat", "inactive_file")
    return min(free, int(limit) - int(_read(cgroup / "memory.current") or 0) + evictable)


@functools.cache
def total_memory(cgroup: Path = CGROUP) -> int:
    """Bytes that the machine, or the control group, has in all."""
    total: int = psutil.virtual_memory().total
    limit = _read(cgroup / "memory.max")
    return min(total, int(limit)) if limit.isdecimal() else total


def host_name() -> str:
    """Where a frame is rendered: ``EXECUTION/task-INDEX`` on Cloud Run, else the host's name.

    The variables are those of https://cloud.google.com/run/docs/container-contract#jobs-env-vars.
    """
    execution = os.environ.get("CLOUD_RUN_EXECUTION")
    if execution:
        return f"{execution}/task-{os.environ.get('CLOUD_RUN_TASK_INDEX', '0')}"
    return socket.gethostname()


class CpuUse:
    """The share of the CPU time that was used since the last look: of the quota where there is one.

    Without a quota it is the whole machine's, so that other programs count too; but not those of a
    lower priority, which give way to POV-Ray (proc_stat(5), "nice").
    """

    def __init__(self, cgroup: Path = CGROUP) -> None:
        self._stat = cgroup / "cpu.stat"
        self._quota = cpu_quota(cgroup)
        self._seen = time.monotonic(), self._used_seconds()
        psutil.cpu_times_percent()  # the first call only sets the start of the interval

    def share(self) -> float:
        """0 (idle) to 1 (all of it used)."""
        if self._quota is None:
            spent = psutil.cpu_times_percent()
            given_way = sum(getattr(spent, name, 0.0) for name in ("idle", "iowait", "nice"))
            return max(0.0, 1 - given_way / 100)
        then, used = self._seen
        self._seen = time.monotonic(), self._used_seconds()
        elapsed = max(self._seen[0] - then, 1e-3)
        return min(1.0, (self._seen[1] - used) / (elapsed * self._quota))

    def _used_seconds(self) -> float:
        return _statistic(self._stat, "usage_usec") / 1e6


def _statistic(file: Path, name: str) -> int:
    for line in _read(file).splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _read(file: Path) -> str:
    """A control file's text; "" where there is no such limit (a root group, cgroup v1)."""
    try:
        return file.read_text("utf-8").strip()
    except OSError:
        return ""
