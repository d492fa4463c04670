"""Calls that wait for a storage's answers, several at once; for whoever asks for many objects."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

# A bucket answers in tens of milliseconds; more calls at once only wait for the connection pool.
CALLS_AT_ONCE = 16


def in_parallel(
    function: Callable[[T], R], items: Iterable[T], at_once: int = CALLS_AT_ONCE
) -> Iterator[R]:
    """``map(function, items)`` with up to ``at_once`` calls ahead; results keep their order.

    Unlike Executor.map it holds no more results than that, however many items there are. What a
    call raises is raised here, and nothing more is started.
    """
    source = iter(items)
    with ThreadPoolExecutor(at_once, thread_name_prefix="povstorm-io") as pool:
        ahead: deque[Future[R]] = deque(
            pool.submit(function, item) for item in islice(source, at_once)
        )
        try:
            while ahead:
                result = ahead.popleft().result()
                ahead.extend(pool.submit(function, item) for item in islice(source, 1))
                yield result
        finally:
            pool.shutdown(cancel_futures=True)
