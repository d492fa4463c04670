"""Which frames of many come first: some at even distances, or all by halving what lies between.

For samples, previews, contact sheets, drafts, and the live page.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def spread(items: Sequence[T], most: int) -> list[T]:
    """At most so many of the items, evenly spread, the first and the last among them.

    most: 1 or more; of 1 it is the first.
    """
    if len(items) <= most:
        return list(items)
    if most == 1:
        return [items[0]]
    return [items[round(index * (len(items) - 1) / (most - 1))] for index in range(most)]


def bisected(items: Sequence[T]) -> Iterator[T]:
    """All items: the first, the last, the middle, and so on into each half.

    So those that come early lie everywhere.
    """
    if not items:
        return
    yield items[0]
    if len(items) > 1:
        yield items[-1]
    waiting = deque([(0, len(items) - 1)])
    while waiting:
        low, high = waiting.popleft()
        if high - low < 2:
            continue
        middle = (low + high) // 2
        yield items[middle]
        waiting += [(low, middle), (middle, high)]
