"""A wave is in its job's ledger as what it does, what that was to cost, and what came of it."""

from __future__ import annotations

import pytest

from povstorm_client.cloud_run.api import ExecutionState
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob
from povstorm_client.cloud_run.wave_plan import WavePlan
from tasks.waves.wave import Wave

PLAN = WavePlan(CloudRunJob("small", 1, 512, 4, 0, 600), frames=3, tasks=2, seconds=60.0, usd=0.5)


def wave_of(wave_id: str, **changes: object) -> Wave:
    what = {"shares": [["a", "b"], ["c"]], "size": 0, "plan": PLAN, **changes}
    return Wave(wave_id, f"waves/{wave_id}", submitted=100.0, launched=7.0, **what)


@pytest.mark.parametrize(("wave_id", "frames", "segments"), [("w0001", 3, 0), ("v0001", 0, 3)])
def test_it_renders_frames_or_encodes_segments(wave_id: str, frames: int, segments: int):
    record = wave_of(wave_id).record()

    assert record is not None
    assert (record.frames, record.segments) == (frames, segments)
    assert (record.tasks, record.render_job) == (2, "small")
    assert (record.predicted_seconds, record.predicted_usd) == (60.0, 0.5)


def test_before_its_end_it_counts_as_it_was_planned_and_then_as_billed():
    wave = wave_of("w0001")
    assert wave.record().spent_usd == 0.5

    wave.state = ExecutionState("run-1", "uri", 2, 0, 1, 1, 0, 0, 99.0, 160.0, "")
    wave.billed_usd = 0.25
    record = wave.record()
    assert (record.spent_usd, record.completed, record.failed_tasks) == (0.25, 160.0, 1)


def test_one_that_another_run_of_the_job_has_planned_is_in_it_already():
    assert wave_of("w0001", plan=None).record() is None


def test_half_of_its_tasks_go_with_what_waits_for_them_and_are_counted_once():
    waiting = {name: name.upper() for name in "abc"}
    kept = wave_of("w0001", waiting=dict(waiting))

    rest = kept.split("w0002", "waves/w0002")

    assert (kept.shares, rest.shares) == ([["a", "b"]], [["c"]])
    assert (kept.waiting, rest.waiting) == ({"a": "A", "b": "B"}, {"c": "C"})
    assert (rest.wave_id, rest.prefix) == ("w0002", "waves/w0002")
    records = [kept.record(), rest.record()]
    assert [(record.tasks, record.frames) for record in records] == [(1, 2), (1, 1)]
    assert sum(record.predicted_usd for record in records) == PLAN.usd


def test_it_is_split_unless_a_smaller_one_waits_for_the_same_room():
    wave, started = wave_of("w0001"), wave_of("w0003", shares=[["e"]], execution="run-1")
    smaller, larger = wave_of("w0002", shares=[["d"]]), wave_of("w0004", shares=[[]] * 3)
    elsewhere = wave_of("w0005", shares=[["f"]], size=1)

    assert wave.can_be_split([wave, started, larger, elsewhere])
    assert not wave.can_be_split([wave, smaller])
    assert not smaller.can_be_split([smaller])
