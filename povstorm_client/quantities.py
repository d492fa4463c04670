"""Ages as people type them (``30d``), ages and sizes as they read them; for commands on jobs."""

from __future__ import annotations

import re

from povstorm_client.errors import InputError

_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_AGE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([mhdw])", re.ASCII)


def age_seconds(text: str) -> float:
    """Seconds of an age such as ``"30d"``, ``"12h"``, ``"90m"`` or ``"1.5w"``.

    Raises InputError for anything else.
    """
    match = _AGE.fullmatch(text.strip().lower())
    if match is None:
        raise InputError(
            f"age {text!r} is not a number and its unit: give for example 30d (days), 12h (hours), "
            "90m (minutes) or 2w (weeks)"
        )
    return float(match[1]) * _SECONDS[match[2]]


def age_words(seconds: float) -> str:
    """An age in its largest unit that fits, e.g. ``"3 h"``."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def duration_words(seconds: float) -> str:
    """A duration by two units, e.g. ``"1 h 5 min"``."""
    whole = max(0, round(seconds))
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def size_words(count: int) -> str:
    """A number of bytes by powers of 1000, e.g. ``"1.5 GB"``."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
