"""Checks of what client programs pass to Cluster, Job and WorkUnit: errors name the argument."""

from __future__ import annotations

import math
import os
from pathlib import Path

from povstorm_client.errors import FieldError


def check_type(name: str, value: object, kind: type | tuple[type, ...], what: str) -> None:
    """Raise FieldError unless the value is of that kind; what: the kind in words, with the remedy.

    A truth value is no number, though Python counts with it.
    """
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise FieldError(name, f"is {shown(value)}, which is not {what}")


def check_number(name: str, value: object, *, or_none: bool = False) -> None:
    """Raise FieldError unless the value is a finite number, or None where that is allowed."""
    if or_none and value is None:
        return
    check_type(name, value, (int, float), "a number" + (" or None" if or_none else ""))
    assert isinstance(value, int | float)  # noqa: S101 - for the type checker
    if not _is_finite(value):
        remedy = "give None for no limit" if or_none else "give a finite one"
        raise FieldError(name, f"is {shown(value)}: {remedy}")


def check_path(name: str, value: object) -> Path:
    """The value as a path; FieldError for what is none."""
    check_type(name, value, (str, os.PathLike), "a path: give a text or a pathlib.Path")
    path = os.fspath(value)  # type: ignore[call-overload]
    if not isinstance(path, str) or "\0" in path:
        raise FieldError(name, f"is {shown(value)}, which is no path of a file")
    return Path(path)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def shown(value: object) -> str:
    """The value as Python writes it, or its beginning."""
    try:
        words = repr(value)
    except ValueError:  # Python writes no number of thousands of digits
        return f"a number too long to show ({type(value).__name__})"
    return words if len(words) <= 80 else f"{words[:60]}… ({type(value).__name__})"
