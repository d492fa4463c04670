"""Where a command saves: where its job's results went before, and never over another job's."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from pathlib import Path

import pytest

from povstorm_client import Cluster, InputError, Job, RenderSettings, WorkUnit
from povstorm_client.commands.output_folder import (
    destination_of_new,
    destination_of_stored,
    reserved,
)
from povstorm_client.saving.output_memory import remember_destination, remembered_destination
from povstorm_client.saving.results_folder import RECORD, Rendering, ResultsFolder


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POVSTORM_HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


@pytest.fixture
def job(cluster: Cluster) -> Job:
    job = Job(cluster, "anim")
    job.add_work_unit(WorkUnit(RenderSettings("shared/anim.pov")))
    return job


def test_a_stored_job_goes_where_it_went_before(job: Job, tmp_path: Path):
    first = destination_of_new(job, Path("chosen"), Rendering.of(job, "/anim.ini", ["+W64"]))
    remember_destination(job.job_id, first)
    again = destination_of_stored(job, None)
    assert again.folder == tmp_path / "work" / "chosen"
    assert again.rendering == first.rendering
    assert destination_of_stored(job, Path("elsewhere")).folder == Path("elsewhere")


def test_a_folder_that_another_command_saves_to_is_refused_before_any_work(job: Job):
    folder = Path("a/chosen")
    with reserved(folder):
        with pytest.raises(InputError, match=r"another povstorm command is saving to a/chosen: "):
            destination_of_new(job, folder, Rendering.of(job))
        with pytest.raises(InputError, match="choose another folder with --output"):
            destination_of_stored(job, folder)
        # By whatever name.
        Path("link").symlink_to("a")
        with pytest.raises(InputError, match="another povstorm command"):
            destination_of_new(job, Path("link/chosen"), Rendering.of(job))
        assert destination_of_new(job, Path("a/other"), Rendering.of(job)).folder == Path("a/other")
    assert destination_of_new(job, folder, Rendering.of(job)).folder == folder
    assert not Path("a").exists(), "nothing came into it"


def test_a_folder_that_is_removed_before_it_is_locked_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
):
    flock = fcntl.flock
    locked: list[int] = []

    def removed_first(descriptor: int, operation: int) -> None:
        if not locked:
            Path("chosen").rmdir()
        locked.append(descriptor)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", removed_first)
    with reserved(Path("chosen")):
        assert Path("chosen").is_dir()
        with pytest.raises(InputError, match="another povstorm command"), reserved(Path("chosen")):
            pass


def test_a_folder_is_removed_only_while_it_is_locked(job: Job, monkeypatch: pytest.MonkeyPatch):
    removed: list[Path] = []
    rmdir = Path.rmdir

    def looked_at(folder: Path) -> None:
        with pytest.raises(InputError, match="another povstorm command"), reserved(Path("chosen")):
            pass
        removed.append(folder)
        rmdir(folder)

    monkeypatch.setattr(Path, "rmdir", looked_at)
    destination_of_new(job, Path("chosen"), Rendering.of(job))
    assert removed == [Path("chosen")]
    assert not Path("chosen").exists()


def test_a_folder_with_results_stays(job: Job):
    with reserved(Path("chosen")):
        Path("chosen/frame.png").write_bytes(b"")
    assert Path("chosen/frame.png").exists()


def test_what_is_remembered_is_the_users_alone(job: Job, home: Path):
    remember_destination(job.job_id, destination_of_new(job, None, Rendering.of(job)))
    [file] = home.rglob("*.json")
    assert (home / "output_folders").stat().st_mode & 0o077 == 0
    assert file.name == f"{job.job_id}.json"


def test_a_job_that_was_never_saved_here_goes_to_the_folder_of_its_name(job: Job):
    assert destination_of_stored(job, None).folder == Path("anim_render")


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"folder": 7}', '{"folder": "relative"}'])
def test_a_memory_that_cannot_be_read_is_none(job: Job, home: Path, text: str):
    (home / "output_folders").mkdir(parents=True)
    (home / "output_folders" / f"{job.job_id}.json").write_text(text)
    assert remembered_destination(job.job_id) is None
    rendering = {"source": "", "words": None, "size": "1x1", "frames": "1", "video": ""}
    relative = json.dumps({"folder": "here", "rendering": rendering})
    (home / "output_folders" / f"{job.job_id}.json").write_text(relative)
    assert remembered_destination(job.job_id) is None


def test_a_retry_does_not_replace_the_results_of_a_later_job(
    job: Job, capsys: pytest.CaptureFixture[str]
):
    remember_destination(job.job_id, destination_of_new(job, None, Rendering.of(job)))
    ResultsFolder(Path("anim_render")).begin("later", Rendering.of(job))
    assert destination_of_stored(job, None).folder.name == job.job_id
    assert "results of another job" in capsys.readouterr().err


def test_a_preview_has_a_folder_of_its_own(job: Job):
    assert destination_of_new(job, None, Rendering.of(job, "/a", ["--preview"])).folder == Path(
        "anim_preview"
    )


def test_another_render_is_sent_beside_the_first_and_that_is_said(
    job: Job, capsys: pytest.CaptureFixture[str]
):
    larger = Rendering("/anim.ini", ("+W9999",), "9999x10", "1", "mp4")
    ResultsFolder(Path("anim_render")).begin("first", larger)
    assert destination_of_new(job, None, Rendering.of(job, "/anim.ini")).folder.name == (
        "anim_render_800x600"
    )
    assert "anim_render has results of another render; these go to" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_a_record_that_is_no_file_is_refused(job: Job, tmp_path: Path, kind: str):
    Path("out").mkdir()
    record = Path("out") / RECORD
    record.mkdir() if kind == "folder" else record.symlink_to(tmp_path / "precious")
    with pytest.raises(InputError, match="is no file"):
        destination_of_new(job, Path("out"), Rendering.of(job))
    assert not (tmp_path / "precious").exists()


def test_what_is_remembered_is_private_whatever_the_umask(job: Job, home: Path):
    destination = destination_of_new(job, Path("chosen"), Rendering.of(job))
    before = os.umask(0)
    try:
        remember_destination(job.job_id, destination)
    finally:
        os.umask(before)
    made = [home, *home.rglob("*")]
    assert [stat.S_IMODE(path.stat().st_mode) for path in made if path.is_file()] == [0o600]
    assert {stat.S_IMODE(path.stat().st_mode) for path in made if path.is_dir()} == {0o700}


def test_a_pipe_in_place_of_the_record_is_told(job: Job):
    Path("chosen").mkdir()
    os.mkfifo(Path("chosen") / RECORD)
    with pytest.raises(InputError, match="is no file: move it away"):
        destination_of_new(job, Path("chosen"), Rendering.of(job))
