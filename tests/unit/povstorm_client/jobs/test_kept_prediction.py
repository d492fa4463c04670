"""What a preview said is known to whoever renders just those frames next."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from povstorm_client import RenderSettings, WorkUnit
from povstorm_client.jobs.kept_prediction import keep_prediction, kept_prediction
from povstorm_client.jobs.prediction import Prediction
from povstorm_client.storage.folder import FolderStorage

SETTINGS = RenderSettings(scene="ball.pov", width=64, height=48, final_frame=9)
SAID = Prediction(cpu_seconds=12.5, low=10.0, high=16.0, measured=8)


def units(settings: RenderSettings = SETTINGS, last: int = 9) -> list[WorkUnit]:
    return [WorkUnit(settings, frame=frame) for frame in range(1, last + 1)]


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    storage = FolderStorage(tmp_path / "storage")
    keep_prediction(storage, "ball", units(), SAID)
    return storage


def test_it_is_of_the_job_that_was_previewed(storage: FolderStorage):
    assert kept_prediction(storage, "ball", units()) == SAID


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("cube", units()),
        ("ball", units(last=8)),
        ("ball", units(replace(SETTINGS, width=65))),
    ],
    ids=["another scene", "fewer frames", "another size"],
)
def test_another_job_has_none(storage: FolderStorage, name: str, other: list[WorkUnit]):
    assert kept_prediction(storage, name, other) is None


@pytest.mark.parametrize("text", [b"", b"[]", b'{"cpu_seconds": "much"}'])
def test_a_damaged_one_counts_as_none(storage: FolderStorage, text: bytes):
    (key,) = (entry.key for entry in storage.list("estimates"))
    storage.write(key, text)

    assert kept_prediction(storage, "ball", units()) is None
