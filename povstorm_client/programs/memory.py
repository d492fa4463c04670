"""How much memory this process, and POV-Ray below it, may use: the machine's, or a container's.

Whoever starts processes asks what is free, and frame_limits.py what there is in all.
"""

from __future__ import annotations

import functools
from pathlib import Path

import psutil

from povstorm_client.programs.control_groups import ROOT, groups, memory_limit, memory_used


def available_memory(root: Path = ROOT) -> int:
    """Bytes that can still be used, by the machine and by the control groups."""
    free: int = psutil.virtual_memory().available
    for group in groups(root):
        limit = memory_limit(group)
        if limit is not None:
            free = min(free, limit - memory_used(group))
    return free


@functools.cache
def total_memory(root: Path = ROOT) -> int:
    """Bytes that the machine, or a control group, has in all."""
    total: int = psutil.virtual_memory().total
    limits = [memory_limit(group) for group in groups(root)]
    return min([total, *(limit for limit in limits if limit is not None)])
