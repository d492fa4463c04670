"""Names of files with gaps that only running the scene fills, as in ``concat("map", str(clock))``.

expressions.py makes them, discover.py looks for files that they can mean, carried.py for names that
can be the same.
"""

from __future__ import annotations

import re
from functools import lru_cache

# What a gap holds: a formatted number, or any text. Scenes are read as Latin-1, so these
# characters are in none.
NUMBER = "\ue000"
TEXT = "\ue001"
_GAPS = re.compile(f"([{NUMBER}{TEXT}]+)")
# What str() makes: digits, padding, "nan", "inf"; never a folder's separator.
_NUMBERS = "[-+ .0-9]*(?:(?:nan|inf|e)[-+ .0-9]*)*"


def is_known(name: str) -> bool:
    """Whether a name has no gap."""
    return _GAPS.search(name) is None


def is_any(name: str) -> bool:
    """Whether nothing of a name is known, apart from its ending perhaps."""
    return name.startswith(TEXT) and "/" not in name


def has_text_gap(name: str) -> bool:
    """Whether a name has a gap that any text can fill, with folders in it."""
    return TEXT in name


def known_folder(name: str) -> str:
    """What of a name, up to a ``/`` and without it, precedes its first gap."""
    return _GAPS.split(name, maxsplit=1)[0].rpartition("/")[0]


def expression(name: str) -> re.Pattern[str]:
    """A regular expression for the names that this one can be."""
    parts = [
        (".*" if TEXT in part else _NUMBERS) if index % 2 else re.escape(part)
        for index, part in enumerate(_GAPS.split(name))
    ]
    return re.compile("".join(parts), re.DOTALL)


def shown(name: str) -> str:
    """For messages."""
    return _GAPS.sub("*", name)


def can_be_same(one: str, other: str) -> bool:
    """Whether two names can be one; in doubt they can."""
    if is_known(one) and is_known(other):
        return one == other
    if is_known(one):
        return expression(other).fullmatch(one) is not None
    if is_known(other):
        return expression(one).fullmatch(other) is not None
    return _can_meet(_GAPS.sub(TEXT, one), _GAPS.sub(TEXT, other))


@lru_cache(maxsize=10_000)
def _can_meet(one: str, other: str) -> bool:
    """For two names with gaps: what stands before the first and after the last tells them apart."""
    first, second = one.split(TEXT), other.split(TEXT)
    heads, tails = (first[0], second[0]), (first[-1], second[-1])
    return (heads[0].startswith(heads[1]) or heads[1].startswith(heads[0])) and (
        tails[0].endswith(tails[1]) or tails[1].endswith(tails[0])
    )
