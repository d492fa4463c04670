"""Durations, ages, bytes and counts as people write them; for tables, pages and messages."""

from __future__ import annotations

import re

from povstorm_client.errors import InputError

_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_AGE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([mhdw])", re.ASCII)


def duration(seconds: float) -> str:
    """E.g. ``"0.04 s"``, ``"7.1 s"``, ``"42 s"``, ``"2 min 05 s"``, ``"3 h 07 min"``.

    Something that took time is never told as nothing: it is 0.01 s at least.
    """
    if seconds > 0 and round(seconds, 2) < 0.1:
        return f"{max(0.01, seconds):.2f} s"
    if round(seconds, 1) < 10:
        return f"{max(0.0, seconds):.1f} s"
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24:02d} h"
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


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
    for unit, in_seconds in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= in_seconds:
            return f"{seconds / in_seconds:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def byte_size(count: int) -> str:
    """What is stored or sent, by powers of 1000, e.g. ``"4.2 MB"``."""
    for unit, in_bytes in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= in_bytes:
            return f"{count / in_bytes:,.1f} {unit}"
    return f"{count} bytes"


def memory_size(count: int) -> str:
    """Memory, and what is limited, by powers of 1024, as they are set, e.g. ``"1.5 GiB"``.

    In three digits, or whole; player.js tells frames' memory alike.
    """
    for unit, in_bytes in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= in_bytes:
            value = count / in_bytes
            return f"{value:.3g} {unit}" if value < 100 else f"{value:.0f} {unit}"
    return f"{count} bytes"


def counted(count: int, what: str) -> str:
    """So many of what a word with a plural in s names, e.g. ``"1 job"``, ``"12 frames"``."""
    return f"{count} {what}" + ("" if count == 1 else "s")


def core_words(cores: float) -> str:
    """Of a machine or a container's quota, e.g. ``"1 core"``, ``"2.5 cores"``."""
    return f"{cores:g} core" + ("" if cores == 1 else "s")


def amount(count: int) -> str:
    """A number of things, e.g. ``"12,345"`` or ``"1.2 million"``."""
    return f"{count / 1e6:,.1f} million" if count >= 1_000_000 else f"{count:,}"


def usd(value: float) -> str:
    """Money, to the tenth of a cent where it is little, e.g. ``"$0.014"``, ``"$12.50"``.

    Nothing that costs is told as free: it is $0.0001 at least.
    """
    if 0 < value < 0.0005:
        return f"${max(0.0001, value):.4f}"
    return f"${value:,.2f}" if value >= 10 else f"${value:.3f}"
