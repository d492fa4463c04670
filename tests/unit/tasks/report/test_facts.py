"""What a report tells of a job, gathered from its results, its failed attempts and its plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from tasks.report import gather as gathering
from tasks.report.gather import gather
from tests.synthetic_job import START, cloud_run, finished, make_manifest, make_units
from tests.synthetic_job import rendered as rendered_result


def test_each_attempt_is_told_as_what_became_of_it(storage: FolderStorage):
    facts = gather(storage, cloud_run(storage))

    outcomes = {(span.frame, span.attempt): span.outcome for span in facts.spans}
    assert outcomes[1, 1] == "cached"
    assert outcomes[7, 1] == "rendered"
    assert outcomes[48, 1] == "failed"
    lost = [frame for (frame, attempt), outcome in outcomes.items() if outcome == "lost"]
    assert lost
    assert all(outcomes[frame, 2] == "rendered" for frame in lost)
    assert [span.started for span in facts.spans] == sorted(span.started for span in facts.spans)
    assert (facts.count("rendered"), facts.count("cached"), facts.count("failed")) == (41, 6, 1)
    assert [wave.failed_tasks for wave in facts.waves] == [1, 0]


def test_a_cached_frame_came_when_its_result_was_stored(storage: FolderStorage):
    facts = gather(storage, cloud_run(storage))
    [span] = [span for span in facts.spans if span.frame == 1]
    assert span.started == span.ended == pytest.approx(START + 0.3, abs=0.01)


def test_the_last_attempt_is_told_once(storage: FolderStorage):
    """It lies both in results/ and in attempts/."""
    facts = gather(storage, cloud_run(storage))
    assert [span.outcome for span in facts.spans if span.frame == 48] == ["failed"]


def test_frames_that_were_never_tried_are_missing(storage: FolderStorage):
    units = make_units("half", 4)
    done = [rendered_result(unit, started=START, seconds=1.0) for unit in units[:2]]
    facts = gather(storage, finished(storage, make_manifest("half", 4), units, done))
    assert [frame.state for frame in facts.frames] == ["rendered", "rendered", "missing", "missing"]


def test_commands_name_the_storage_where_it_is_not_the_default(
    storage: FolderStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = cloud_run(storage)
    assert gather(storage, run).again == (
        f"POVSTORM_HOME={storage.root} povstorm frame orbit-cloud FRAME"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    usual = FolderStorage(tmp_path / ".povstorm")
    facts = gather(usual, cloud_run(usual))
    assert facts.again == "povstorm frame orbit-cloud FRAME"
    assert facts.retry == "povstorm retry orbit-cloud"


def test_a_plan_that_is_not_readable_is_noted(storage: FolderStorage):
    run = cloud_run(storage)
    storage.write(layout.plan("orbit-cloud"), b'{"waves": [{"wave": 1}]}')
    facts = gather(storage, run)
    assert facts.waves == ()
    assert "plan.json, is not readable" in facts.notes[0]


def test_of_very_many_failed_attempts_the_last_are_told(
    storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(gathering, "_MOST_ATTEMPTS", 3)
    facts = gather(storage, cloud_run(storage))
    assert sum(span.outcome in ("lost", "failed") for span in facts.spans) == 3
    assert facts.notes == ("5 attempts failed; the timeline has the last 3.",)


def test_results_are_read_back_for_a_job_whose_flow_had_none(storage: FolderStorage):
    run = cloud_run(storage)
    storage.write(layout.result("orbit-cloud", "frame-9999-half-written"), b"{")
    assert FrameResults(storage, "orbit-cloud").all() == run.results


def test_an_attempt_of_another_run_has_another_key():
    first = layout.attempt("job", "frame-0001-abc", 1, START)
    assert first != layout.attempt("job", "frame-0001-abc", 1, START + 60)
    assert first.startswith("jobs/job/attempts/frame-0001-abc-1-")
