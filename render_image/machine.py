"""What the machine, or the container, gives to POV-Ray: how busy its cores are, a name.

ProcessGate asks here, and render_unit for the name.
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import psutil

from povstorm_client.programs.control_groups import ROOT, cpu_quota, cpu_seconds, groups
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

    That of the cores that this process may be scheduled on, other programs' use included; but not
    that of a lower priority, which gives way to POV-Ray (proc_stat(5), "nice"). Where a control
    group has a quota, of what that leaves of the idle cores.
    """

    def __init__(self, root: Path = ROOT) -> None:
        quotas = ((group, cpu_quota(group)) for group in groups(root))
        self._quotas = {group: quota for group, quota in quotas if quota is not None}
        self._seen = self._look()
        # The first call only sets the start of the interval.
        psutil.cpu_times_percent(percpu=True)

    def share(self) -> float:
        """0 (idle) to 1 (all of it used)."""
        idle, cores = _idle_cores()
        before = self._seen
        self._seen = self._look()
        elapsed = max(self._seen[0] - before[0], 1e-3)
        shares = []
        for quota, used, used_before in zip(
            self._quotas.values(), self._seen[1], before[1], strict=True
        ):
            busy = max(0.0, used - used_before) / elapsed
            left = max(0.0, min(quota - busy, idle))
            shares.append(busy / (busy + left) if left else 1.0)
        return max(shares, default=max(0.0, 1 - idle / cores))

    def _look(self) -> tuple[float, list[float]]:
        """The time, and the CPU seconds of each group with a quota."""
        return time.monotonic(), [cpu_seconds(group) for group in self._quotas]


def _idle_cores() -> tuple[float, int]:
    """How many of the cores that this process may be scheduled on were idle, and how many it are.

    Since the last call. What gives way to POV-Ray counts as idle.
    """
    spent = psutil.cpu_times_percent(percpu=True)
    own = schedulable_cores()
    # Some machines, and containers, number other cores than they show: then all count.
    chosen = [spent[core] for core in own] if own and max(own) < len(spent) else spent
    given_way = (getattr(core, name, 0.0) for core in chosen for name in ("idle", "iowait", "nice"))
    return sum(given_way) / 100, len(chosen)
