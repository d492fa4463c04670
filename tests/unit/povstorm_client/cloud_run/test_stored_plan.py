"""plan.json: its bytes, and that what is written is what is read."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from povstorm_client.cloud_run.stored_plan import (
    StoredPlan,
    StoredWave,
    read_plan,
    reserve,
    spent_usd,
    write_plan,
)
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage

ENDED = StoredWave(
    wave="w0001-aa", execution="jobs/r/executions/r-x", render_job="render-1g", tasks=2, frames=5,
    submitted=1700000000.25, completed=1700000090.5, failed_tasks=1, predicted_seconds=30.5,
    predicted_usd=0.01, billed_usd=0.0125,
)  # fmt: skip
RUNNING = StoredWave(
    wave="w0002-aa", execution=None, render_job="render-4g", tasks=1, frames=1,
    submitted=1700000100.0, completed=None, failed_tasks=0, predicted_seconds=25.0,
    predicted_usd=0.002, billed_usd=None,
)  # fmt: skip
PLAN = StoredPlan.of_waves((ENDED, RUNNING), prefer="cheapest", seconds_per_frame=4.5)
# As CloudRunRenderer wrote it before plan.json was a typed record.
GOLDEN = Path(__file__).with_name("golden_plan.json")


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path)


def test_a_plan_is_stored_byte_for_byte_as_it_always_was(storage: FolderStorage):
    write_plan(storage, "job", PLAN)

    assert storage.read(layout.plan("job")) == GOLDEN.read_bytes()


def test_a_plan_is_read_as_it_was_written(storage: FolderStorage):
    write_plan(storage, "job", PLAN)

    assert read_plan(storage, "job") == PLAN


def test_a_job_without_waves_has_no_plan(storage: FolderStorage):
    assert read_plan(storage, "job") is None


def test_waves_that_are_planned_in_one_moment_do_not_cost_more_than_allowed_together(
    storage: FolderStorage,
):
    waves = [
        replace(RUNNING, wave=f"w{number}", predicted_usd=0.3, billed_usd=None)
        for number in range(12)
    ]
    with ThreadPoolExecutor(len(waves)) as pool:
        refused = list(pool.map(lambda wave: reserve(storage, "a", wave, 1.0), waves))
    assert refused.count(None) == 3
    assert all(spent == pytest.approx(0.9) for spent in refused if spent is not None)
    assert spent_usd(storage, "a") == pytest.approx(0.9)


def test_a_wave_that_is_reserved_again_counts_once(storage: FolderStorage):
    wave = replace(RUNNING, predicted_usd=0.3, billed_usd=None)
    assert reserve(storage, "a", wave, 0.5) is None
    assert reserve(storage, "a", wave, 0.5) is None
    assert reserve(storage, "a", replace(wave, wave="another"), 0.5) == pytest.approx(0.3)
    assert reserve(storage, "a", replace(wave, wave="another"), None) is None
