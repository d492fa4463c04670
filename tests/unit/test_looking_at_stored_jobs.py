"""What ``fetch``, ``status`` and ``jobs`` say of a stored job, and where they leave something."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from povstorm_client import Cluster, InputError, Job, StorageError
from povstorm_client.command_line import run
from povstorm_client.commands.output_folder import destination_of_new, warn_of_kept
from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.jobs.state import JobState, write_state
from povstorm_client.saving.frame_saver import FrameSaver
from povstorm_client.saving.output_memory import remember_destination, remembered_destination
from povstorm_client.saving.results_folder import Rendering, ResultsFolder
from tests.unit.povstorm_client.saving.test_frame_saver import job, stored

__all__ = ["job"]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv("POVSTORM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("COLUMNS", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return Cluster.local()


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def render_into(job: Job, folder: Path) -> None:
    destination = destination_of_new(job, folder, Rendering.of(job))
    remember_destination(job.job_id, destination)
    FrameSaver(job, ResultsFolder(destination.folder), destination.rendering).finish()


def test_fetching_a_job_without_a_frame_says_so_and_leaves_no_folder(
    job: Job, capsys: pytest.CaptureFixture[str]
):
    assert run(["fetch", job.job_id, "--output", "a/b"]) == 0
    assert "images  0 of 70: no frame is rendered yet" in capsys.readouterr().out
    assert list(Path().iterdir()) == []


def test_a_folder_that_was_there_stays_though_nothing_came_into_it(job: Job):
    Path("empty").mkdir()
    assert run(["fetch", job.job_id, "--output", "empty"]) == 0
    assert Path("empty").is_dir()


def test_fetching_to_another_folder_makes_a_copy_and_leaves_the_job_where_it_was(job: Job):
    stored(job, 1)
    render_into(job, Path("first"))
    assert run(["fetch", job.job_id, "--output", "copy"]) == 0
    stored(job, 2)
    assert run(["fetch", job.job_id]) == 0
    assert files(Path("first")) == [".povstorm.jsonl", "frame_01.png", "frame_02.png"]
    assert files(Path("copy")) == [".povstorm.jsonl", "frame_01.png"]


@pytest.mark.parametrize("gone", [False, True])
def test_a_job_that_has_no_folder_stays_with_the_first_that_it_is_fetched_to(job: Job, gone: bool):
    stored(job, 1)
    if gone:
        remember_destination(job.job_id, destination_of_new(job, Path("gone"), Rendering.of(job)))
    assert run(["fetch", job.job_id, "--output", "chosen"]) == 0
    assert remembered_destination(job.job_id).folder == Path("chosen").absolute()


def test_a_watched_job_is_written_to_a_pipe_once_with_whole_lines(
    job: Job, capsys: pytest.CaptureFixture[str]
):
    ended = JobState("cancelled", 70, message="stopped here", updated=time.time())
    write_state(job.cluster.storage, job.job_id, ended)
    assert run(["status", job.job_id, "--watch"]) == 0
    said = capsys.readouterr().out
    assert said.count(job.job_id) == 1
    assert said.endswith("stopped here\n")


def test_a_job_is_a_line_of_what_is_piped_however_long_its_name(
    cluster: Cluster, job: Job, capsys: pytest.CaptureFixture[str]
):
    long = Job(cluster, "a-name-as-long-as-some-people-give-their-scenes-" * 2)
    long.add_work_unit(job.work_units[0])
    long.submit()
    assert run(["jobs"]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if "a-name" in line]
    assert long.job_id in line
    assert "0 of 1" in line


@pytest.mark.parametrize("command", [["jobs"], ["clean", "--keep", "0", "--dry-run"]])
@pytest.mark.parametrize("columns", [40, 60, 75])
def test_a_narrow_terminal_shows_what_became_of_a_job(
    job: Job,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
    columns: int,
):
    state = JobState("cancelled", 70, message="stopped", updated=time.time())
    write_state(job.cluster.storage, job.job_id, state)
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run(command) == 0
    said = capsys.readouterr().out
    assert "cancelled" in said
    assert max(map(len, said.splitlines())) <= columns
    if command == ["jobs"]:
        assert "0 of 70" in said


@pytest.mark.parametrize("columns", [20, 40, 60, 79, 80])
def test_a_status_keeps_within_a_terminal_of_any_width(
    job: Job, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run(["status", job.job_id]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    [bar] = [line for line in lines if "%" in line]
    assert bar.endswith("  0 %")
    assert set(bar[:-5]) == {"░"}
    marks = [line for line in lines if "··········" in line]
    assert sum(line.count("·") for line in marks) == 70


@pytest.mark.parametrize("last", ["0", "-3"])
def test_no_job_cannot_be_asked_for(job: Job, capsys: pytest.CaptureFixture[str], last: str):
    assert run(["jobs", "--last", last]) == 2
    said = capsys.readouterr()
    assert "--last" in said.err
    assert "there are no jobs" not in said.out


def test_a_folder_of_prefect_s_that_is_not_writable_is_told_before_a_job_is_stored(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("", "utf-8")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "file"))
    with pytest.raises(StorageError, match=r"Prefect's folder .*file cannot .*set PREFECT_HOME"):
        job.cluster.require_tools(JobSettings(video=None))


@pytest.mark.parametrize("short", ["last", "anim", "anim-2"])
def test_what_is_deleted_is_named_whole_and_a_short_form_is_told_what_it_could_mean(
    job: Job, short: str
):
    with pytest.raises(InputError, match=rf"'{short}' is a short form.*: {job.job_id}$"):
        run(["clean", short, "--yes"])
    assert Job.open(job.cluster, job.job_id).work_units


def test_files_of_another_command_are_not_called_the_user_s(
    job: Job, capsys: pytest.CaptureFixture[str]
):
    first, second = ResultsFolder(Path("out")), ResultsFolder(Path("out"))
    for folder, job_id in ((first, "other"), (second, job.job_id)):
        folder.begin(job_id, Rendering.of(job))
    for name in ("frames/frame_01.png", "frames/frame_02.png"):
        first.put(name, lambda path: path.write_text("other", "utf-8"))
        second.put(name, lambda path: path.write_text("this", "utf-8"))
    Path("out/report.html").write_text("the user's", "utf-8")
    second.put("report.html", lambda path: path.write_text("this", "utf-8"))
    warn_of_kept(second, job.job_id)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert "another povstorm command" in told[0]
    assert "frames/frame_01.png and 1 more are its" in told[0]
    assert "out/report.html is not povstorm's" in told[1]
