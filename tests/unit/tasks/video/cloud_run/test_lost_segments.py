"""A segment whose container was lost is tried again as often as a frame, with what it lacked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from povstorm_client.cloud_run.api import NOT_LET_IN, OUT_OF_MEMORY, TaskState
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob
from render_image.video.segments import FrameImage
from tasks.video.cloud_run.lost_segments import LostSegments
from tasks.video.cloud_run.segment_wave import SegmentWave, WaitingSegment

FLEET = CloudRunFleet(
    "p", "r", tuple(CloudRunJob(f"m{mib}", 1, mib, 40, 0, 600) for mib in (512, 2048))
)
ATTEMPTS = 3


def wave(*, attempt: int = 1, size: int = 0) -> SegmentWave:
    """Of two tasks, whose first has two segments."""
    images = (FrameImage(1, Path("1.png")),)
    waiting = {name: WaitingSegment(name, images, attempt, size) for name in "abc"}
    return SegmentWave(
        "v1", "waves/v1", [["a", "b"], ["c"]], size, 50.0, 0.0, execution="x/run-1", waiting=waiting
    )


def task(index: int, exit_code: int, outcome: Any = "failed") -> TaskState:
    return TaskState(index, outcome, exit_code, 0, "", started=60.0, completed=70.0)


def lost(of: SegmentWave, *states: TaskState, is_over: bool = True) -> LostSegments:
    return LostSegments.of(of, states, FLEET, ATTEMPTS, is_over=is_over)


def attempts(segments: tuple[WaitingSegment, ...]) -> dict[str, tuple[int, int]]:
    return {segment.name: (segment.attempt, segment.size) for segment in segments}


def test_while_others_are_at_work_those_of_ended_tasks_are_lost():
    found = lost(wave(), task(0, 1), task(1, 0, "running"), is_over=False)

    assert attempts(found.again) == {"a": (2, 0), "b": (2, 0)}
    assert found.names == ["a", "b"]
    assert found.reason == "their container run-1/task-0 was lost with exit code 1"


def test_with_the_execution_end_also_those_of_tasks_of_which_nothing_is_known():
    found = lost(wave())

    assert found.names == ["a", "b", "c"]
    assert found.reason.endswith("task-1 was not at work when its execution ended")


@pytest.mark.parametrize("size", [0, 1])
def test_the_last_attempt_is_the_last(size: int):
    found = lost(wave(attempt=ATTEMPTS, size=size), task(0, 1), task(1, 1))

    assert found.again == ()
    assert [segment.name for segment in found.given_up] == ["a", "b", "c"]


def test_what_lacked_memory_gets_more_also_after_its_last_attempt():
    states = (task(0, OUT_OF_MEMORY), task(1, 1))

    assert attempts(lost(wave(), *states).again) == {"a": (2, 1), "b": (2, 1), "c": (2, 0)}
    found = lost(wave(attempt=ATTEMPTS), *states)
    assert attempts(found.again) == {"a": (ATTEMPTS, 1), "b": (ATTEMPTS, 1)}
    assert [segment.name for segment in found.given_up] == ["c"]


def test_what_lacks_the_most_memory_that_there_is_is_given_up():
    found = lost(wave(size=1), task(0, OUT_OF_MEMORY), task(1, OUT_OF_MEMORY))

    assert found.names == [segment.name for segment in found.given_up]
    assert found.reason.endswith("ran out of its 2048 MiB of memory")


def test_what_was_not_let_in_was_no_attempt():
    found = lost(wave(attempt=ATTEMPTS), task(0, NOT_LET_IN), task(1, NOT_LET_IN))

    assert attempts(found.refused) == dict.fromkeys("abc", (ATTEMPTS, 0))
    assert (found.again, found.given_up, found.reason) == ((), (), "")


def test_what_a_task_was_given_when_it_had_waited_long_enough_was_no_attempt():
    given = wave(attempt=ATTEMPTS)
    given.patience = 60.0
    found = lost(given, task(0, 0, "succeeded"), task(1, 0, "running"), is_over=False)

    assert attempts(found.unseen) == dict.fromkeys("ab", (ATTEMPTS, 0))
    assert found.names == ["a", "b"]
    # Of a task that had all from its start it is a loss.
    assert lost(wave(), task(0, 0, "succeeded"), task(1, 0, "running"), is_over=False).unseen == ()
