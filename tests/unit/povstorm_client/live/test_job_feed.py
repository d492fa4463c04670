"""A feed tells what is new of a job, and asks its storage for nothing twice."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest

from povstorm_client.jobs.summarize import summarize
from povstorm_client.live.event_stream import EventStream
from povstorm_client.live.job_feed import JobFeed
from povstorm_client.live.job_sections import job_sections
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from tests.live_job import LiveJob
from tests.synthetic_job import START, rendered


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path)


def feed_of(job: LiveJob) -> JobFeed:
    return JobFeed.open(job.storage, job.job_id)


def letters(feed: JobFeed) -> str:
    feed.look()
    found = ["."] * len(feed.units)
    for index, row in feed.changes(0)[1]:
        found[index] = row.letter
    return "".join(found)


def test_each_frame_has_the_letter_of_what_it_is_at(storage: FolderStorage):
    job = LiveJob(storage, 6)
    feed = feed_of(job)
    assert letters(feed) == "......"
    job.render(1)
    job.render(2, cache_hit=True)
    job.fail(3, "no light")
    job.fail(4, "lost", state="retrying")
    job.publish(working=[5])
    assert letters(feed) == "rcftw."
    job.publish(working=[4])
    assert letters(feed) == "rcfw.."


def test_what_was_told_is_not_told_again(storage: FolderStorage):
    job = LiveJob(storage, 6)
    feed = feed_of(job)
    job.render(1, 2)
    feed.look()
    revision, rows = feed.changes(0)
    assert [index for index, _ in rows] == [0, 1]
    feed.look()
    assert feed.changes(revision) == (revision, [])
    job.render(3)
    feed.look()
    assert [index for index, _ in feed.changes(revision)[1]] == [2]


def test_of_a_job_that_has_ended_no_result_is_read(
    storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
):
    job = LiveJob(storage, 300)
    job.render(*range(1, 301))
    results = [rendered(unit, started=START, seconds=1.5) for unit in job.units]
    statistics = summarize(
        results,
        job_id=job.job_id,
        name="orbit",
        expected_frames=job.manifest.frames,
        started=START,
        ended=START + 9,
        video=None,
    )
    import json

    key = layout.statistics(job.job_id)
    storage.write(key, json.dumps(statistics.to_json()).encode())
    job.publish(phase="completed")
    asked: list[str] = []
    read = storage.read
    monkeypatch.setattr(storage, "read", lambda key: asked.append(key) or read(key))
    feed = feed_of(job)
    assert letters(feed) == "r" * 300
    assert not [key for key in asked if key.startswith(layout.results(job.job_id))]
    assert {row.seconds for _, row in feed.changes(0)[1]} == {1.5}


def test_a_further_run_renders_failed_frames_anew(storage: FolderStorage):
    job = LiveJob(storage, 3)
    feed = feed_of(job)
    job.render(1, 2)
    job.fail(3, "no light")
    job.publish(phase="failed")
    assert letters(feed) == "rrf"
    # It has not looked yet at what is there.
    job._failed.clear()
    job._rendered.clear()
    job.publish(phase="submitted", run="two")
    assert letters(feed) == "rr."
    job._rendered |= {1, 2}
    job.publish(phase="rendering", working=[3])
    assert letters(feed) == "rrw"
    job.render(3)
    assert letters(feed) == "rrr"
    assert feed.outlook is not None
    assert feed.outlook.failures == []


def test_a_state_that_cannot_be_read_is_a_note_and_what_was_known_stays(storage: FolderStorage):
    job = LiveJob(storage, 3)
    feed = feed_of(job)
    job.render(1)
    assert letters(feed) == "r.."
    storage.write(layout.job_state(job.job_id), b"{}")
    assert letters(feed) == "r.."
    assert feed.outlook is not None
    assert "state.json is not readable" in feed.outlook.notes[0]


def test_a_result_that_cannot_be_read_leaves_its_frame_without_a_picture(storage: FolderStorage):
    job = LiveJob(storage, 2)
    job.render(1, 2)
    key = layout.result(job.job_id, job.units[0].work_unit_id)
    storage.write(key, b"no json")
    feed = feed_of(job)
    for _ in range(5):
        feed.look()
    rows = dict(feed.changes(0)[1])
    assert (rows[0].letter, rows[0].version) == ("r", "")
    assert rows[1].version


def test_a_stream_tells_all_at_first_and_then_what_changed(storage: FolderStorage):
    job = LiveJob(storage, 4)
    job.render(1)
    feed = feed_of(job)
    feed.look()
    stream = EventStream(feed.changes, partial(job_sections, feed))
    first = stream.next()
    assert first is not None
    assert '"all":true' in first
    assert stream.next() is None
    job.render(2)
    feed.look()
    second = stream.next()
    assert second is not None
    assert '"rows":[[1,"r"' in second
    assert "all" not in second
    assert "failures" not in second


def test_of_a_run_that_is_not_heard_of_no_time_left_is_told(
    storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
):
    job = LiveJob(storage, 6)
    job.render(1, 2)
    feed = feed_of(job)
    feed.look()
    heard = job_sections(feed)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 200)
    feed.look()
    silent = job_sections(feed)

    assert heard is not None
    assert silent is not None
    assert [tile for tile in heard["tiles"] if tile[0] == "Left"] != [
        ("Left", "?", "nothing is heard of the run")
    ]
    assert ("Left", "?", "nothing is heard of the run") in silent["tiles"]
    assert "Nothing was heard of the run for 3 min" in silent["status"]["message"]
