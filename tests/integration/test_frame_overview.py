"""What every frame of a job is at, told by two listings, its state, and the failures alone."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from povstorm_client import Cluster, Job, RenderSettings, WorkUnit
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.overview import FrameOverview, FrameWatch
from povstorm_client.jobs.state import JobState, read_state, write_state
from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage


@pytest.fixture(params=["folder", "bucket"])
def job(request: pytest.FixtureRequest, tmp_path: Path) -> Job:
    """A submitted job of 30 frames."""
    if request.param == "folder":
        cluster = Cluster.local(tmp_path / "storage")
    else:
        cluster = Cluster(request.getfixturevalue("gcs_storage").uri)
    job = Job(cluster, "orbit")
    settings = RenderSettings("a.pov", width=16, height=8, final_frame=30)
    for frame in range(1, 31):
        unit = WorkUnit(settings, frame=frame)
        unit.add_inline_resource("a.pov", "sphere { 0, 1 }")
        job.add_work_unit(unit)
    job.submit()
    return job


@pytest.fixture
def calls(job: Job, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each call of the storage was made."""
    counted: Counter[str] = Counter()
    storage = job.cluster.storage

    def count(name: str) -> None:
        original = getattr(storage, name)

        def counting(*arguments, **named):
            counted[name] += 1
            return original(*arguments, **named)

        monkeypatch.setattr(storage, name, counting)

    for name in ("read", "stat", "list"):
        count(name)
    return counted


def store(job: Job, frame: int, state: str = "rendered", error: str = "") -> None:
    """What an attempt leaves behind."""
    unit = job.work_units[frame - 1]
    storage = job.cluster.storage
    if state == "rendered":
        storage.write(f"{layout.output(job.job_id)}/{unit.image_name}", b"image")
    result = FrameResult(
        *(unit.work_unit_id, job.job_id, frame, state, 1, "here", 1.0, 2.0), error=error
    )
    key = layout.result(job.job_id, unit.work_unit_id)
    storage.write(key, json.dumps(result.to_json()).encode())


def look(job: Job, state: JobState | None) -> FrameOverview:
    return FrameWatch(job.cluster.storage, job.job_id, job.work_units).look(state)


def running(**changes) -> JobState:
    return replace(JobState("rendering", 30, updated=time.time()), **changes)


def test_every_frame_is_at_one_thing(job: Job):
    for frame in (1, 2, 3, 4):
        store(job, frame)
    store(job, 5, "failed", "Parse Error")
    store(job, 6, "retrying", "killed by signal 9")
    store(job, 7, "retrying", "killed by signal 9")
    # An image without its result is not committed yet.
    unit = job.work_units[8]
    job.cluster.storage.write(f"{layout.output(job.job_id)}/{unit.image_name}", b"image")
    state = running(working=((7, 9),))

    overview = look(job, state)

    at = overview.frames
    assert [at[frame] for frame in range(1, 12)] == [
        *["rendered"] * 4,
        *("failed", "retrying", "working", "working", "working", "waiting", "waiting"),
    ]
    assert [(failure.frame, failure.error) for failure in overview.failures] == [(5, "Parse Error")]
    assert overview.count("waiting") == 21


def test_nobody_works_for_a_flow_that_ended_or_is_silent(job: Job):
    store(job, 6, "retrying", "killed by signal 9")
    working = ((1, 6),)

    for state in (
        None,
        running(phase="cancelled", working=working),
        running(updated=time.time() - 3600, working=working),
    ):
        overview = look(job, state)
        assert overview.count("working") == 0
    assert look(job, running(phase="cancelled")).frames[6] == "failed"


def test_rendered_frames_are_not_read(job: Job, calls: Counter[str]):
    for frame in range(1, 29):
        store(job, frame)
    store(job, 29, "failed", "Parse Error")
    watch = FrameWatch(job.cluster.storage, job.job_id, job.work_units)

    assert watch.look(None).count("rendered") == 28
    assert calls == {"list": 2, "read": 1}
    watch.look(None)
    assert calls == {"list": 4, "read": 1}
    store(job, 30, "failed", "Parse Error")
    assert len(watch.look(None).failures) == 2
    assert calls == {"list": 6, "read": 2}


def test_of_many_failures_the_first_are_read(job: Job, calls: Counter[str], monkeypatch):
    monkeypatch.setattr("povstorm_client.jobs.overview._MOST_READ", 3)
    for frame in range(1, 31):
        store(job, frame, "failed", "Parse Error")

    overview = look(job, None)

    assert overview.count("failed") == 30
    assert [failure.frame for failure in overview.failures] == [1, 2, 3]
    assert calls["read"] == 3


def test_a_damaged_result_is_a_failure_without_words(job: Job):
    store(job, 2, "failed")
    key = layout.result(job.job_id, job.work_units[1].work_unit_id)
    job.cluster.storage.write(key, b"{")

    overview = look(job, None)

    assert overview.frames[2] == "failed"
    assert overview.failures == []


def test_the_rate_is_that_of_the_latest_frames():
    slow_then_fast = [float(second) for second in range(0, 1000, 10)] + [
        1000 + half / 2 for half in range(60)
    ]
    assert FrameOverview({}, finished=slow_then_fast).per_second == pytest.approx(2.0)
    assert FrameOverview({}, finished=[5.0]).per_second is None
    assert FrameOverview({}, finished=[5.0, 5.0]).per_second is None


def test_the_state_tells_which_frames_are_in_work(job: Job):
    storage: Storage = job.cluster.storage
    state = running(working=((1, 3), (7, 7)))
    write_state(storage, job.job_id, state)

    assert read_state(storage, job.job_id) == state
    old = json.loads(storage.read(layout.job_state(job.job_id)))
    del old["working"]
    storage.write(layout.job_state(job.job_id), json.dumps(old).encode())
    assert read_state(storage, job.job_id).working == ()
