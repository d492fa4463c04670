"""The control groups that this process is in, and their limits: a container's, or a service's.

cores.py, memory.py and render_image/machine.py ask, since the rest of /proc shows all of the
machine. Both versions are read; of the first only what is mounted as the outermost group, which is
a container's own. https://docs.kernel.org/admin-guide/cgroup-v2.html,
https://docs.kernel.org/scheduler/sched-bwc.html (cgroup v1).
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
# A line of it is HIERARCHY:CONTROLLERS:PATH, that of version 2 has no controllers.
_SECOND = "0::/"


def groups(root: Path = ROOT) -> list[Path]:
    """The folders of the groups that this process is in; each is within the limits of those above.

    Its own comes first, the outermost that is to be seen last.
    """
    own = root
    for line in _text(_OWN).splitlines():
        if line.startswith(_SECOND):
            own = root / line.removeprefix(_SECOND)
    # What a container mounts begins with its own group, whatever path its host has for that.
    inner = [own, *own.parents] if own.is_dir() else []
    return [folder for folder in inner if root in folder.parents] + [root]


def cpu_quota(group: Path) -> float | None:
    """The cores that the processes of a group may use in all; None for any."""
    words = _text(group / "cpu.max").split()
    if len(words) == 2:
        return None if words[0] == "max" else int(words[0]) / int(words[1])
    quota = _number(group / "cpu" / "cpu.cfs_quota_us")
    period = _number(group / "cpu" / "cpu.cfs_period_us")
    return quota / period if quota and period and quota > 0 else None


def cpu_seconds(group: Path) -> float:
    """The CPU time that a group has used."""
    spent = _statistics(group / "cpu.stat").get("usage_usec")
    if spent is not None:
        return spent / 1e6
    return (_number(group / "cpuacct" / "cpuacct.usage") or 0) / 1e9


def lowered_seconds(group: Path) -> float | None:
    """Of that what was of lowered priority; None before Linux 6.13, which does not tell it."""
    spent = _statistics(group / "cpu.stat").get("nice_usec")
    return None if spent is None else spent / 1e6


def memory_limit(group: Path) -> int | None:
    """The bytes that the processes of a group may use in all; None for any."""
    # "max" is no number; version 1 has one for it that no machine has.
    limit = _number(group / "memory.max")
    return _number(group / "memory" / "memory.limit_in_bytes") if limit is None else limit


def memory_used(group: Path) -> int:
    """The bytes that count against that limit, and are not given up when memory is needed."""
    used, statistics, evictable = _number(group / "memory.current"), "memory.stat", "inactive_file"
    if used is None:
        used = _number(group / "memory" / "memory.usage_in_bytes")
        statistics, evictable = "memory/memory.stat", "total_inactive_file"
    # What was only read from files.
    return max(0, (used or 0) - _statistics(group / statistics).get(evictable, 0))


def _statistics(file: Path) -> dict[str, int]:
    pairs = (line.split() for line in _text(file).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}


def _number(file: Path) -> int | None:
    """A file's number; None where there is none, such as of no limit."""
    try:
        return int(_text(file))
    except ValueError:
        return None


def _text(file: Path) -> str:
    """A control file's text; "" where there is no such file (a root group, another version)."""
    try:
        return file.read_text("utf-8")
    except OSError:
        return ""
