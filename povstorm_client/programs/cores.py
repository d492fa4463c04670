"""How many cores this process, and POV-Ray below it, may use; whoever starts several at once asks.

Those that it may be scheduled on (a cpuset, taskset), within the quotas of its control groups;
``os.cpu_count`` knows of neither.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

from povstorm_client.programs.control_groups import ROOT, cpu_quota, groups


def cores(root: Path = ROOT) -> float:
    """The CPU cores that this process may use; a fraction where a quota says so."""
    available = float(len(schedulable_cores()) or os.cpu_count() or 1)
    quotas = [cpu_quota(group) for group in groups(root)]
    return min([available, *(quota for quota in quotas if quota is not None)])


def whole_cores(root: Path = ROOT) -> int:
    """How many processes or threads keep them busy: a part of a core is one."""
    return max(1, math.ceil(cores(root)))


def schedulable_cores() -> set[int]:
    """The numbers of the cores that this process may be scheduled on; none where that is unknown.

    It is known on Linux alone: https://docs.python.org/3/library/os.html#os.sched_getaffinity.
    """
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
