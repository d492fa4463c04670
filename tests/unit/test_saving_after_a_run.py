"""However a run ends, what was rendered is in the folder, or it is said where it is instead."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from povstorm_client import Cluster, Job, JobError, StorageError
from povstorm_client.commands import render
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.saving.output_memory import Destination
from povstorm_client.saving.results_folder import Rendering, ResultsFolder
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from tests.unit.povstorm_client.saving.test_frame_saver import job, stored

__all__ = ["job"]


@pytest.fixture(autouse=True)
def without_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POVSTORM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(Cluster, "require_tools", lambda self, settings: None)


def run_ends_with(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, frames: tuple[int, ...]
) -> None:
    def run(self: Job, **_: object) -> None:
        for frame in frames:
            stored(self, frame)
        self.cluster.storage.write(layout.report(self.job_id), b"<html>")
        raise error

    monkeypatch.setattr(Job, "run", run)


def save(job: Job, folder: Path) -> None:
    render._run_and_save(job, Destination(folder, Rendering.of(job)))


def images(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("frames/*"))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyboardInterrupt(), r"stopped\. 2 of 70 frames are in .*frames\. Go on with: povstorm"),
        (JobError("frame 3"), r"2 of 70 frames are in .*frames\. Try the rest again with: povst"),
    ],
)
def test_finished_frames_are_there_after_a_run_that_did_not_come_to_its_end(
    job: Job,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    words: str,
):
    run_ends_with(monkeypatch, error, (1, 2))
    with pytest.raises(type(error)):
        save(job, tmp_path / "out")
    assert images(tmp_path / "out") == ["frame_01.png", "frame_02.png"]
    assert (tmp_path / "out" / "report.html").exists() == isinstance(error, JobError)
    assert re.search(words, capsys.readouterr().err)


def test_a_run_without_any_frame_leaves_the_results_of_the_last_one_whole(
    job: Job,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    earlier = ResultsFolder(tmp_path / "out")
    earlier.begin("earlier", Rendering.of(job))
    for name in ("frames/frame_01.png", "report.html"):
        earlier.put(name, lambda path: path.write_text("earlier"))
    run_ends_with(monkeypatch, JobError("parse error"), ())
    with pytest.raises(JobError):
        save(job, tmp_path / "out")
    assert (tmp_path / "out" / "report.html").read_text() == "earlier"
    assert "no frame was rendered. Try the rest again" in capsys.readouterr().err
    assert images(tmp_path / "out") == ["frame_01.png"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), JobError("frame 3 failed"), None])
def test_a_full_disk_is_told_with_where_the_results_are_and_hides_no_other_error(
    job: Job,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException | None,
):
    def full(self: FolderStorage, key: str, path: Path) -> None:
        raise StorageError(f"cannot read {key}: No space left on device")

    monkeypatch.setattr(FolderStorage, "download", full)
    if error is None:
        stored(job, 1)
        monkeypatch.setattr(Job, "run", lambda self, **_: None)
    else:
        run_ends_with(monkeypatch, error, (1,))
    with pytest.raises(type(error) if error else StorageError) as raised:
        save(job, tmp_path / "out")
    told = f"{raised.value} {capsys.readouterr().err}"
    assert "No space left on device" in told
    assert f"povstorm fetch {job.job_id} --output FOLDER" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("other", "advice"),
    [
        ("a.pov:1: Parse Error: No matching }", r"Correct the scene and render it anew"),
        ("POV-Ray was killed by signal 9", r"Try the rest again with: povstorm retry"),
    ],
)
def test_a_retry_is_advised_only_where_it_can_help(
    job: Job,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    other: str,
    advice: str,
):
    job.submit()
    first, second = job.work_units[2:4]
    for unit, error in ((first, "a.pov:7: Parse Error: Undeclared identifier"), (second, other)):
        FrameResults(job.cluster.storage, job.job_id).fail(
            FrameResult(
                *(unit.work_unit_id, job.job_id, unit.frame, "failed"),
                attempt=1,
                host="here",
                started=1.0,
                ended=2.0,
                error=error,
            ),
        )
    failed = (first.frame, second.frame)
    run_ends_with(monkeypatch, JobError("2 frames were not rendered", failed), (1, 2))
    with pytest.raises(JobError):
        save(job, tmp_path / "out")
    assert re.search(rf"2 of 70 frames are in .*frames\. {advice}", capsys.readouterr().err)
