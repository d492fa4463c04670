"""Many calls at once: in order, bounded, and stopped by the first error."""

from __future__ import annotations

import threading

import pytest

from povstorm_client.storage.parallel import in_parallel


def test_results_keep_the_order_of_the_items():
    assert list(in_parallel(lambda n: n * n, range(100), at_once=7)) == [n * n for n in range(100)]
    assert list(in_parallel(str, [])) == []


def test_calls_run_at_the_same_time():
    meeting = threading.Barrier(4, timeout=30)

    assert len(list(in_parallel(lambda _: meeting.wait(), range(4), at_once=4))) == 4


def test_no_more_is_taken_than_a_little_ahead_of_what_was_used():
    taken = []

    def items():
        for number in range(1000):
            taken.append(number)
            yield number

    results = in_parallel(str, items(), at_once=5)
    next(results)
    assert len(taken) <= 7
    results.close()


def test_an_error_ends_it():
    started = []

    def call(number: int) -> int:
        started.append(number)
        if number == 3:
            raise ValueError("three")
        return number

    with pytest.raises(ValueError, match="three"):
        list(in_parallel(call, range(1000), at_once=2))
    assert len(started) < 20
