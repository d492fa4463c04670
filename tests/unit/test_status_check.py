"""``povstorm status --check`` looks into what is stored; without it, status goes by listings."""

from __future__ import annotations

import re

import pytest

from povstorm_client import InputError, Job
from povstorm_client.command_line import run
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from tests.unit.povstorm_client.saving.test_frame_saver import job, stored

__all__ = ["job"]


@pytest.fixture
def damaged(job: Job, monkeypatch: pytest.MonkeyPatch) -> Job:
    """Three frames are rendered; the image of one has changed since."""
    storage = job.cluster.storage
    assert isinstance(storage, FolderStorage)
    monkeypatch.setenv("POVSTORM_HOME", str(storage.root))
    for frame in (1, 2, 3):
        stored(job, frame)
    storage.write(f"{layout.output(job.job_id)}/{job.work_units[1].image_name}", b"other")
    return job


def test_a_damaged_image_is_told_with_its_remedy_by_a_check(
    damaged: Job, capsys: pytest.CaptureFixture[str]
):
    assert run(["status", damaged.job_id, "--check"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "2 of 70 rendered, 1 failed" in shown
    assert re.search(r"2: \S+/frame_02\.png is not what was rendered", shown)
    assert f"render again: povstorm retry {damaged.job_id}" in shown


def test_a_check_of_sound_frames_changes_nothing(damaged: Job, capsys: pytest.CaptureFixture[str]):
    stored(damaged, 2)
    run(["status", damaged.job_id])
    unchecked = capsys.readouterr().out
    run(["status", damaged.job_id, "--check"])
    assert capsys.readouterr().out == unchecked
    assert "3 of 70 rendered" in unchecked


def test_a_check_is_of_one_moment(damaged: Job):
    with pytest.raises(InputError, match="--check compares what is stored now"):
        run(["status", damaged.job_id, "--check", "--watch"])
