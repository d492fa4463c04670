"""Frames are in the user's folder as soon as they are done, whole, whatever becomes of the job."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import google_crc32c
import pytest

from povstorm_client import Cluster, Job, RenderSettings, StorageError, WorkUnit
from povstorm_client.frames.ranges import first_and_last
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.jobs.state import JobState
from povstorm_client.saving.frame_saver import FrameSaver
from povstorm_client.saving.results_folder import Rendering, ResultsFolder
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage

FRAMES = 70
Render = Callable[..., FrameResult]


@pytest.fixture
def job(cluster: Cluster) -> Job:
    job = Job(cluster, "anim")
    settings = RenderSettings("anim.pov", width=32, height=24, final_frame=FRAMES)
    for frame in range(1, FRAMES + 1):
        unit = WorkUnit(settings, frame)
        unit.add_inline_resource("anim.pov", "")
        job.add_work_unit(unit)
    job.submit()
    return job


def stored(job: Job, frame: int, text: str = "image", **changes: object) -> None:
    """Store a frame as a renderer does."""
    unit = job.work_units[frame - 1]
    data = text.encode()
    job.cluster.storage.write(f"{layout.output(job.job_id)}/{unit.image_name}", data)
    result = FrameResult(
        unit.work_unit_id,
        job.job_id,
        frame,
        "rendered",
        1,
        "here",
        1.0,
        2.0,
        image=unit.image_name,
        image_bytes=len(data),
        image_crc32c=base64.b64encode(google_crc32c.Checksum(data).digest()).decode(),
    )
    FrameResults(job.cluster.storage, job.job_id).commit(replace(result, **changes))


def state_of(frames: list[int]) -> JobState:
    return JobState("rendering", FRAMES, done=len(frames), rendered=tuple(first_and_last(frames)))


def saver_for(job: Job, folder: Path) -> FrameSaver:
    return FrameSaver(job, ResultsFolder(folder), Rendering.of(job))


def there(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "frames").glob("*"))


def wait_for(count: int, folder: Path) -> None:
    for _ in range(2000):
        if len(there(folder)) == count:
            return
        time.sleep(0.005)
    pytest.fail(f"waited in vain: {there(folder)}")


def test_frames_arrive_while_the_job_runs(job: Job, tmp_path: Path):
    folder = tmp_path / "out"
    with saver_for(job, folder) as saver:
        for frames in ([1, 2, 5], [1, 2, 3, 5], list(range(1, FRAMES + 1))):
            for frame in frames:
                stored(job, frame)
            saver.look(state_of(frames))
            wait_for(len(frames), folder)


def test_what_arrived_is_not_fetched_again_and_nothing_is_listed(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fetched: list[str] = []
    download = FolderStorage.download

    def counted(self: FolderStorage, key: str, path: Path) -> None:
        fetched.append(key)
        download(self, key, path)

    def forbidden(self: FolderStorage, prefix: str) -> None:
        pytest.fail(f"{prefix} was listed")

    monkeypatch.setattr(FolderStorage, "download", counted)
    for frame in (1, 2, 3):
        stored(job, frame)
    with saver_for(job, tmp_path) as saver:
        with monkeypatch.context() as patch:
            patch.setattr(FolderStorage, "list", forbidden)
            saver.look(state_of([1, 2]))
            wait_for(2, tmp_path)
            saver.look(state_of([1, 2, 3]))
            wait_for(3, tmp_path)
        assert len(saver.finish()) == 3
    assert sorted(fetched) == sorted(set(fetched))


def test_the_end_brings_what_no_state_has_told(job: Job, tmp_path: Path):
    stored(job, 4)
    stored(job, 2, extra_outputs=["data/points.txt"])
    key = f"{layout.output(job.job_id)}/data/points.txt"
    job.cluster.storage.write(key, b"1 2 3")
    with saver_for(job, tmp_path) as saver:
        images = saver.finish()
    assert [path.name for path in images] == ["frame_02.png", "frame_04.png"]
    assert (tmp_path / "frames" / "data" / "points.txt").read_text() == "1 2 3"


def test_a_frame_that_was_rendered_anew_replaces_its_old_image(job: Job, tmp_path: Path):
    stored(job, 1, "before")
    with saver_for(job, tmp_path) as saver:
        saver.finish()
    stored(job, 1, "later!")
    with saver_for(job, tmp_path) as saver:
        [image] = saver.finish()
    assert image.read_text() == "later!"


def test_a_folder_that_cannot_be_written_to_stops_nothing_and_is_told_at_the_end(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tried: list[str] = []

    def full(self: FolderStorage, key: str, path: Path) -> None:
        tried.append(key)
        raise StorageError(f"cannot read {key}: No space left on device")

    stored(job, 1)
    with saver_for(job, tmp_path) as saver:
        with monkeypatch.context() as patch:
            patch.setattr(FolderStorage, "download", full)
            saver.look(state_of([1]))
            for _ in range(2000):
                if tried:
                    break
                time.sleep(0.005)
            saver.look(state_of([1]))
            with pytest.raises(StorageError, match="No space left"):
                saver.finish()
        assert there(tmp_path) == []
        assert len(saver.finish()) == 1


def test_a_damaged_image_is_not_saved(job: Job, tmp_path: Path):
    stored(job, 1)
    key = f"{layout.output(job.job_id)}/{job.work_units[0].image_name}"
    job.cluster.storage.write(key, b"imagE")
    with saver_for(job, tmp_path) as saver:
        assert saver.finish() == []
    assert "not what was rendered" in saver.damage[1]
    assert there(tmp_path) == []


@pytest.mark.parametrize("runs", [((-(10**12), 10**12),), ((5, 2),), ((2**63, 2**64),)])
def test_a_state_that_names_impossible_frames_costs_nothing(
    job: Job, tmp_path: Path, runs: tuple[tuple[int, int], ...]
):
    for frame in range(1, FRAMES + 1):
        stored(job, frame)
    with saver_for(job, tmp_path) as saver:
        saver.look(replace(state_of([]), rendered=runs))
        saver.look(state_of([1]))
        assert len(saver.finish()) == FRAMES
