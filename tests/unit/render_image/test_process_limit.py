"""The limit goes up while processes sleep, stays low while they compute, and guards memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from render_image.process_limit import ProcessLimit

GIB = 2**30


def settle(limit: ProcessLimit, busy_per_process: float) -> int:
    """Let the limit adapt to processes that each keep that share of the whole machine busy."""
    for _ in range(50):
        running = limit.processes
        limit.adapt(running, min(1.0, running * busy_per_process))
    return limit.processes


def test_processes_that_compute_all_the_time_stay_at_two_a_core():
    assert settle(ProcessLimit(2), busy_per_process=0.5) == 4


def test_processes_that_mostly_sleep_are_run_in_larger_numbers():
    assert 8 <= settle(ProcessLimit(2), busy_per_process=0.1) <= 12


@pytest.mark.parametrize(("cores", "first", "fewest"), [(1, 2, 1), (2, 4, 3), (16, 18, 17)])
def test_processes_without_waits_are_a_few_more_than_cores(cores: int, first: int, fewest: int):
    limit = ProcessLimit(cores, sleeps=False)
    assert limit.processes == first
    assert settle(limit, busy_per_process=1 / cores) == fewest


def test_processes_without_waits_that_leave_cores_idle_all_the_same_are_run_in_larger_numbers():
    assert settle(ProcessLimit(2, sleeps=False), busy_per_process=0.1) > 4


@pytest.mark.parametrize("sleeps", [True, False])
def test_no_more_are_run_than_have_room(sleeps: bool):
    limit = ProcessLimit(2, sleeps=sleeps, at_most=1)

    assert limit.processes == settle(limit, busy_per_process=0.01) == limit.most == 1


def test_a_machine_that_others_keep_busy_gets_no_more_than_the_fewest():
    limit = ProcessLimit(2)
    settle(limit, busy_per_process=0.01)
    for _ in range(50):
        limit.adapt(limit.processes, 1.0)
    assert limit.processes == 4


def test_an_unused_limit_is_not_lowered():
    limit = ProcessLimit(2)
    before = settle(limit, busy_per_process=0.1)
    limit.adapt(1, 0.1)
    assert limit.processes >= before


def test_a_process_starts_only_where_its_memory_fits():
    limit = ProcessLimit(2)
    limit.saw_process(2 * GIB)
    assert limit.allows(1, available_bytes=3 * GIB)
    assert not limit.allows(1, available_bytes=2 * GIB)


def test_one_process_always_runs_or_nothing_would_end():
    limit = ProcessLimit(2)
    limit.saw_process(2 * GIB)
    assert limit.allows(0, available_bytes=0)


@given(
    st.integers(1, 64),
    st.lists(st.tuples(st.integers(1, 200), st.floats(0, 1)), max_size=50),
    st.booleans(),
)
def test_the_limit_stays_within_its_bounds(
    cores: int, measurements: list[tuple[int, float]], sleeps: bool
):
    limit = ProcessLimit(cores, sleeps=sleeps)
    for running, busy in measurements:
        limit.adapt(running, busy)
        assert (2 if sleeps else 1) * cores <= limit.processes <= 8 * cores
