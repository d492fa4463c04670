"""What the machine, or the container, gives to POV-Ray: how busy its cores are, a name.

ProcessGate asks here, and render_unit for the name.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from povstorm_client.programs.control_groups import (
    ROOT,
    cpu_quota,
    cpu_seconds,
    groups,
    lowered_seconds,
)
from povstorm_client.programs.cores import schedulable_cores


def host_name() -> str:
    """Where a frame is rendered: ``EXECUTION/task-INDEX`` on Cloud Run, else the host's name.

    The variables are those of https://cloud.google.com/run/docs/container-contract#jobs-env-vars.
    """
    execution = os.environ.get("CLOUD_RUN_EXECUTION")
    if execution:
        return f"{execution}/task-{os.environ.get('CLOUD_RUN_TASK_INDEX', '0')}"
    return socket.gethostname()


class CpuUse:
    """The share that is used of the CPU time to be had, since the last look.

    That of the cores that this process may be scheduled on, other programs' use included. What has
    a lower priority gives way to POV-Ray, but only in its own control group: the kernel gives each
    group its part, whatever is in it (sched(7)). Where the kernel does not tell a group's, all of
    the machine's counts for it. A control group with a quota has what that leaves of idle cores.
    To a POV-Ray that is of lower priority itself, as this process is, nothing gives way.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self._own, *_ = groups(root)
        quotas = ((group, cpu_quota(group)) for group in groups(root))
        self._quotas = {group: quota for group, quota in quotas if quota is not None}
        self._seen = self._look()
        # The first call only sets the start of the interval.
        psutil.cpu_times_percent(percpu=True)

    def share(self) -> float:
        """0 (idle) to 1 (all of it used)."""
        before, self._seen = self._seen, self._look()
        elapsed = max(self._seen.time - before.time, 1e-3)
        cores = _cores()
        idle = sum(core.idle + getattr(core, "iowait", 0.0) for core in cores) / 100
        gives_way = sum(getattr(core, "nice", 0.0) for core in cores) / 100
        if _is_lowered():
            gives_way = 0.0
        elif self._seen.lowered is not None and before.lowered is not None:
            gives_way = min(gives_way, (self._seen.lowered - before.lowered) / elapsed)
        idle += gives_way
        shares = []
        for group, quota in self._quotas.items():
            busy = max(0.0, self._seen.used[group] - before.used[group]) / elapsed
            left = max(0.0, min(quota - busy, idle))
            shares.append(busy / (busy + left) if left else 1.0)
        return max(shares, default=max(0.0, 1 - idle / len(cores)))

    def _look(self) -> _Spent:
        used = {
            group: cpu_seconds(group) - (0 if _is_lowered() else lowered_seconds(group) or 0)
            for group in self._quotas
        }
        return _Spent(time.monotonic(), lowered_seconds(self._own), used)


def _is_lowered() -> bool:
    """Whether what this process starts is counted with all else that is of lower priority."""
    return os.getpriority(os.PRIO_PROCESS, 0) > 0


@dataclass(frozen=True)
class _Spent:
    """CPU seconds until a look, at this time.

    lowered: of lower priority, in this process's control group; None where that is not told. used:
    of all other, by group with a quota.
    """

    time: float
    lowered: float | None
    used: dict[Path, float]


def _cores() -> list[Any]:
    """How the cores that this process may be scheduled on spent the time since the last call."""
    spent = psutil.cpu_times_percent(percpu=True)
    own = schedulable_cores()
    # Some machines, and containers, number other cores than they show: then all count.
    return [spent[core] for core in own] if own and max(own) < len(spent) else spent
