"""What is said of a frame whose container ended without storing its result."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from povstorm_client import RenderSettings, WorkUnit
from povstorm_client.cloud_run.api import TaskState
from povstorm_client.frames.result import FrameResult
from tasks.renderers.cloud_run.frame_wave import FrameWave, WaitingFrame
from tasks.renderers.cloud_run.outcomes import lost_result


def lose(
    task: TaskState | None, *, final_attempt: bool = False, retryable: bool = True
) -> FrameResult:
    unit = WorkUnit(RenderSettings("scene.pov", 320, 240, final_frame=9), 4)
    wave = FrameWave(
        "w1", "waves/w1", [[unit.work_unit_id]], 0, 50.0, 0.0, execution="jobs/r/run-x"
    )
    loop = asyncio.new_event_loop()
    frame = WaitingFrame(unit, 2, final_attempt, 0.0, 0.0, loop.create_future())
    loop.close()
    return lost_result(wave, frame, task, 3, memory_mib=1024, retryable=retryable, now=80.0)


def task(
    outcome: Any = "failed", exit_code: int = 0, signal: int = 0, words: str = ""
) -> TaskState:
    return TaskState(3, outcome, exit_code, signal, words, started=60.0, completed=70.0)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (None, "was not at work when its execution ended"),
        (task("running"), "was not at work when its execution ended"),
        (task("cancelled"), "was cancelled"),
        (task(exit_code=137), "ran out of its 1024 MiB of memory"),
        (task(exit_code=7, words="bad luck"), "was lost with exit code 7: bad luck"),
        (task(signal=11), "was lost with signal 11"),
    ],
)
def test_the_error_names_the_container_and_says_what_happened_to_it(
    state: TaskState | None, words: str
):
    result = lose(state)

    assert result.error == f"its container run-x/task-3 {words}"
    assert result.lost_container


def test_the_result_is_that_of_the_attempt_and_of_the_time_in_which_the_task_ran():
    result = lose(task(signal=9))

    assert (result.frame, result.attempt) == (4, 2)
    assert (result.host, result.started, result.ended) == ("run-x/task-3", 60.0, 70.0)


def test_a_task_of_which_nothing_is_known_ran_from_its_waves_start_until_now():
    result = lose(None)

    assert (result.started, result.ended) == (50.0, 80.0)


def test_it_is_tried_again_unless_this_was_the_last_attempt():
    assert lose(task(signal=9)).state == "retrying"
    assert lose(task(signal=9), final_attempt=True).state == "failed"


def test_where_no_attempt_can_help_it_says_what_would():
    result = lose(task(exit_code=137), retryable=False)

    assert result.state == "failed"
    assert result.error.endswith(": give terraform's render_jobs one with more memory")


def test_containers_that_were_lost_alike_failed_alike_and_others_did_not():
    ours = lose(task(exit_code=1, words="Task run-x-task3 failed"))
    there = replace(
        ours,
        host="run-y/task-0",
        error="its container run-y/task-0 was lost with exit code 1: Task run-y-task0 failed",
    )

    assert ours.error != there.error
    assert ours.what_failed == there.what_failed
    assert ours.what_failed != lose(task(exit_code=2)).what_failed
    assert replace(ours, lost_container=False).what_failed == ours.error
