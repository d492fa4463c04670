"""Access tokens: each member of a policy has one of its own, which tells who it is."""

from __future__ import annotations

_PREFIX = "token-of-"


def token_of(member: str) -> str:
    """The token of ``user:…`` or ``serviceAccount:…``."""
    return f"{_PREFIX}{member}"


def member_of(token: str) -> str | None:
    """Whose token it is; None for any other text."""
    member = token.removeprefix(_PREFIX)
    known = member != token and member.partition(":")[0] in ("user", "serviceAccount")
    return member if known else None


def email_of(member: str) -> str:
    """The address in a member's name, as Google's refusals have it."""
    return member.partition(":")[2]
