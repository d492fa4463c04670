"""Seconds, bytes and counts as people write them; for tables, pages and messages."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """E.g. ``"7.1 s"``, ``"2 min 05 s"``, ``"3 h 07 min"``, ``"4 d 02 h"``."""
    # 59.96 would be written as 60.0 s.
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24:02d} h"
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def size(count: int) -> str:
    """Bytes, e.g. ``"4.2 MB"``."""
    for unit, in_bytes in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= in_bytes:
            return f"{count / in_bytes:,.1f} {unit}"
    return f"{count} bytes"


def amount(count: int) -> str:
    """A number of things, e.g. ``"12,345"`` or ``"1.2 million"``."""
    return f"{count / 1e6:,.1f} million" if count >= 1_000_000 else f"{count:,}"
