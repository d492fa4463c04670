"""Pages of a list, with tokens that say which item was the last, so that new ones shift nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import TypeVar

from tests.emulators.cloud_run.api_error import invalid

T = TypeVar("T")


def page_of(
    items: Sequence[tuple[str, T]], parent: str, size: int, token: str, most: int
) -> tuple[list[T], str]:
    """A page of (name, item) pairs after the token's, and the next page's token, or "".

    size: 0 for the default, which is also the most. A token is of one list only.
    """
    if size < 0:
        raise invalid("page_size", "must not be negative")
    start = _start([name for name, _ in items], parent, token) if token else 0
    end = start + (min(size, most) or most)
    more = end < len(items)
    following = _token(parent, items[end - 1][0]) if more else ""
    return [item for _, item in items[start:end]], following


def _token(parent: str, last: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([parent, last]).encode()).decode()


def _start(names: list[str], parent: str, token: str) -> int:
    try:
        of, last = json.loads(base64.urlsafe_b64decode(token.encode()))
    except ValueError as error:
        raise invalid("page_token", "The page token is not valid.") from error
    if of != parent or last not in names:
        raise invalid("page_token", "The page token is not valid.")
    return names.index(last) + 1
