"""Check: one thing that ``povstorm doctor`` looked at, and how such looks become one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from povstorm_client.errors import CloudError, PovstormError

_Found = TypeVar("_Found", bound="Check | None")


@dataclass(frozen=True)
class Check:
    """What was checked, what was found, and what to do.

    remedy: where that is wrong or not to be told; of what has passed, how it can be had otherwise.
    known: False where it can't be told, for want of a permission for instance; then it has passed.
    """

    name: str
    passed: bool
    finding: str
    remedy: str = ""
    known: bool = True


def judged(name: str, *, passed: bool, finding: str, remedy: str) -> Check:
    """A check whose remedy is of use only where it has not passed."""
    return Check(name, passed=passed, finding=finding, remedy="" if passed else remedy)


def checked(name: str, look: Callable[[], str], remedy: str) -> Check:
    """The check that ``look`` makes: what it returns was found, what it raises is wrong.

    remedy: where what it raises has none of its own.
    """
    try:
        return Check(name, passed=True, finding=look())
    except PovstormError as error:
        return Check(name, passed=False, finding=error.finding, remedy=error.remedy or remedy)


def told(name: str, look: Callable[[], _Found], remedy: str) -> _Found | Check:
    """The check that ``look`` makes, if any; where Google does not tell, one that says so.

    remedy: how it can be had told.
    """
    try:
        return look()
    except CloudError as error:
        return Check(name, passed=True, finding=str(error), remedy=remedy, known=False)
