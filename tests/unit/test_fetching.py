"""What is fetched of a job comes as it is there, whole, and not a second time."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import typer.testing

from povstorm_client import Job, JobError
from povstorm_client.command_line import app
from povstorm_client.jobs.state import JobState, write_state
from povstorm_client.storage.folder import FolderStorage
from tests.unit.povstorm_client.saving.test_frame_saver import (
    FRAMES,
    job,
    state_of,
    stored,
    there,
    wait_for,
)

__all__ = ["job"]


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys that are fetched, as they are."""
    keys: list[str] = []
    download = FolderStorage.download

    def noted(self: FolderStorage, key: str, path: Path) -> None:
        keys.append(key)
        download(self, key, path)

    monkeypatch.setattr(FolderStorage, "download", noted)
    return keys


def test_saved_images_are_not_fetched_again_unless_they_are_others_or_gone(
    job: Job, tmp_path: Path, fetched: list[str]
):
    for frame in (1, 2, 3):
        stored(job, frame, f"image {frame}")
    write_state(job.cluster.storage, job.job_id, state_of([1, 2, 3]))
    first = job.save_images(tmp_path / "out")
    assert len(fetched) == 3
    first[0].unlink()
    first[1].write_bytes(b"a user's")

    told: list[tuple[int, int]] = []
    again = job.save_images(tmp_path / "out", on_progress=lambda *counts: told.append(counts))

    assert again == first
    assert [path.read_bytes() for path in again] == [b"image 1", b"image 2", b"image 3"]
    assert len(fetched) == 5
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_watched_jobs_frames_come_while_it_runs(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    storage, folder = job.cluster.storage, tmp_path / "out"
    monkeypatch.setenv("POVSTORM_HOME", str(FolderStorage.path(storage, "x").parent))
    said: list[typer.testing.Result] = []

    def fetch() -> None:
        words = ["fetch", job.job_id, "--watch", "--output", str(folder)]
        said.append(typer.testing.CliRunner().invoke(app, words))

    fetching = threading.Thread(target=fetch)
    stored(job, 1)
    write_state(storage, job.job_id, state_of([1]))
    fetching.start()
    try:
        wait_for(1, folder)
        for frame in range(2, FRAMES + 1):
            stored(job, frame)
        write_state(storage, job.job_id, state_of(list(range(1, FRAMES + 1))))
        wait_for(FRAMES, folder)
        assert fetching.is_alive()
    finally:
        write_state(storage, job.job_id, JobState("completed", FRAMES, done=FRAMES))
        fetching.join()
    assert said[0].exit_code == 0, said[0].output
    assert f"images  {FRAMES} of {FRAMES}" in said[0].output
    assert len(there(folder)) == FRAMES


def test_following_a_job_ends_with_it_and_stops_nothing(job: Job):
    seen: list[JobState] = []
    storage = job.cluster.storage

    def on_state(state: JobState) -> None:
        seen.append(state)
        if len(seen) == 2:
            write_state(storage, job.job_id, JobState("failed", FRAMES, message="no"))

    write_state(storage, job.job_id, state_of([1]))
    assert job.follow(show_progress=False, on_state=on_state).phase == "failed"
    assert [state.phase for state in seen] == ["rendering", "rendering", "failed"]


def test_a_broken_off_fetch_goes_on_where_it_was(
    job: Job, tmp_path: Path, fetched: list[str], monkeypatch: pytest.MonkeyPatch
):
    for frame in range(1, FRAMES + 1):
        stored(job, frame, f"image {frame}")
    write_state(job.cluster.storage, job.job_id, state_of(list(range(1, FRAMES + 1))))
    download = FolderStorage.download

    def breaks(self: FolderStorage, key: str, path: Path) -> None:
        if len(fetched) == 40:
            raise KeyboardInterrupt
        download(self, key, path)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(FolderStorage, "download", breaks)
        job.save_images(tmp_path / "out")
    before = len(list((tmp_path / "out").glob("*.png")))
    fetched.clear()

    assert len(job.save_images(tmp_path / "out")) == FRAMES
    assert len(fetched) == FRAMES - before


def test_what_is_there_and_damaged_in_the_storage_is_still_named(job: Job, tmp_path: Path):
    stored(job, 1)
    stored(job, 2)
    write_state(job.cluster.storage, job.job_id, state_of([1, 2]))
    key = f"jobs/{job.job_id}/output/{job.work_units[1].image_name}"
    job.cluster.storage.write(key, b"another")
    with pytest.raises(JobError, match="Frame 2"):
        job.save_images(tmp_path / "out")
