"""How many cores this process, and POV-Ray below it, may use; whoever starts several at once asks.

A container's limit is that of its control group (cgroup v2), which ``os.cpu_count`` does not know.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def cores(cgroup: Path = CGROUP) -> float:
    """The CPU cores that this process may use; a fraction where a quota says so."""
    schedulable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    available = float(schedulable or os.cpu_count() or 1)
    quota = cpu_quota(cgroup)
    return available if quota is None else min(available, quota)


def whole_cores(cgroup: Path = CGROUP) -> int:
    """How many processes or threads keep them busy: a part of a core is one."""
    return max(1, math.ceil(cores(cgroup)))


def cpu_quota(cgroup: Path = CGROUP) -> float | None:
    """The cores that a control group's processes may use in all; None for any.

    https://docs.kernel.org/admin-guide/cgroup-v2.html, cpu.max.
    """
    try:
        words = (cgroup / "cpu.max").read_text("utf-8").split()
    except OSError:
        return None  # a root group, cgroup v1
    if len(words) != 2 or words[0] == "max":
        return None
    return int(words[0]) / int(words[1])
