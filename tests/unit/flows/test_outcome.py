"""How a job ended is said in words that name the frames, the reason, and whose fault it was."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from flows.outcome import Outcome, error_in_words, missing_frames_in_words, with_cost
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.stored_plan import write_plan
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob
from povstorm_client.errors import StorageError
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from tests.synthetic_job import START, failed, make_manifest, make_units, rendered
from tests.unit.povstorm_client.cloud_run.test_stored_plan import PLAN

FLEET = CloudRunFleet("a-project", "europe-west1", (CloudRunJob("r", 1, 512, 100, 0, 600),))
LOG = logging.getLogger("test")


def test_frames_that_failed_are_named_with_what_the_first_of_them_says():
    units = make_units("orbit-1", 5)
    results = [
        rendered(units[0], started=START, seconds=1),
        failed(units[1], started=START, error="no light"),
        failed(units[2], started=START, error="no sphere"),
        rendered(units[3], started=START, seconds=1),
        failed(units[4], started=START, error="no light"),
    ]

    said = missing_frames_in_words(range(1, 6), results)

    assert said == "3 of 5 frames were not rendered: 2-3, 5; frame 2: no light"


def test_frames_that_were_not_tried_are_counted():
    units = make_units("orbit-1", 9)
    results = [failed(unit, started=START, error="no light") for unit in units[:5]]

    said = missing_frames_in_words(range(1, 10), results)

    assert said == (
        "9 of 9 frames were not rendered: 1-9; frame 1: no light "
        "(4 frames were not tried, since those that were failed alike)"
    )


def test_an_error_of_ours_that_is_known_says_what_it_says(caplog: pytest.LogCaptureFixture):
    assert error_in_words(StorageError("the bucket is gone"), LOG) == "the bucket is gone"
    assert caplog.records == []


def test_one_that_nobody_expected_is_to_be_reported_with_the_log_that_has_its_traceback(
    caplog: pytest.LogCaptureFixture,
):
    said = error_in_words(ValueError("odd\n" + 600 * "x"), LOG)

    assert said.startswith("povstorm itself failed (ValueError: odd xxx")
    assert said.endswith("please report it with the flow's log")
    assert "\n" not in said
    assert len(said) < 600
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_what_a_job_on_cloud_run_has_cost_is_told_behind_how_it_ended(tmp_path: Path):
    storage = FolderStorage(tmp_path)
    manifest = make_manifest("orbit-1", 3)
    outcome = Outcome("completed", "3 of 3 frames")
    assert with_cost(outcome, storage, manifest) == "3 of 3 frames"
    manifest = replace(manifest, cloud_run=FLEET)
    assert with_cost(outcome, storage, manifest) == "3 of 3 frames", "nothing was planned"
    write_plan(storage, manifest.job_id, PLAN)
    assert with_cost(outcome, storage, manifest) == "3 of 3 frames; $0.013 on Cloud Run"
    storage.write(layout.plan(manifest.job_id), b"{")
    assert with_cost(outcome, storage, manifest) == "3 of 3 frames", "why it ended matters more"
