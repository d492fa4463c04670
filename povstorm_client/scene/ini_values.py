"""The values of POV-Ray's options as POV-Ray 3.7.0.10 reads them; ini.py asks.

C's sscanf reads numbers there (``%d``, ``%lf``): what follows a number is ignored, so that
``Final_Frame=1e3`` is 1 frame. Words for on and off may be cut short or go on (tried).
"""

from __future__ import annotations

import math
import re

_INTEGER = re.compile(r"\s*([+-]?[0-9]+)")
_NUMBER = re.compile(r"\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)")
_HEXADECIMAL = re.compile(
    r"\s*([+-]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)(?:[pP][+-]?[0-9]+)?)"
)
_NOT_FINITE = re.compile(r"\s*[+-]?(inf|nan)", re.IGNORECASE)
# More is not told from less: sscanf keeps the last 32 bits.
_LEAST, _MOST = -(2**31), 2**31 - 1
_TRUE = ("on", "true", "yes", "1")
_FALSE = ("off", "false", "no", "0")


def integer(text: str) -> int:
    """The whole number that a text begins with; raises ValueError, with the reason, for none."""
    match = _INTEGER.match(text)
    if match is None:
        raise ValueError("needs a number")
    number = int(match[1])
    if not _LEAST <= number <= _MOST:
        raise ValueError(f"needs a number from {_LEAST} to {_MOST}")
    return number


def number(text: str) -> float:
    """The number that a text begins with; raises ValueError, with the reason, if none is finite."""
    if match := _HEXADECIMAL.match(text):
        read = _from_hexadecimal(match[1])
    elif match := _NUMBER.match(text):
        read = float(match[1])
    elif _NOT_FINITE.match(text):
        read = math.inf
    else:
        raise ValueError("needs a number")
    if not math.isfinite(read):
        raise ValueError("needs a finite number")
    return read


def _from_hexadecimal(text: str) -> float:
    try:
        return float.fromhex(text)
    except OverflowError:
        return math.inf


def switch(text: str) -> bool:
    """Whether a text says on; raises ValueError for what says neither on nor off.

    POV-Ray compares as far as both words go, so that ``o``, ``once`` and no text at all are on; it
    takes all else for off, which nobody means who writes ``maybe``.
    """
    if any(_agree(word, text) for word in _TRUE):
        return True
    if any(_agree(word, text) for word in _FALSE):
        return False
    raise ValueError("is neither on nor off")


def is_off(text: str) -> bool:
    """Whether a value says that an option is not wanted."""
    return text.casefold() in _FALSE


def _agree(word: str, text: str) -> bool:
    return all(ours == theirs for ours, theirs in zip(word, text.casefold(), strict=False))
