"""A report that is saved from a bucket is one of the job's results, which fetch may replace."""

from __future__ import annotations

from pathlib import Path

import pytest

from povstorm_client import Cluster, InputError, Job, RenderSettings, WorkUnit, command_line
from povstorm_client.commands import fetch as fetch_command
from povstorm_client.commands import report as report_command
from povstorm_client.jobs.state import JobState, write_state
from povstorm_client.storage import layout
from povstorm_client.storage.bucket import GcsStorage


@pytest.fixture
def job(gcs_storage: GcsStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A job in a bucket, whose flow has ended."""
    cluster = Cluster(gcs_storage.uri)
    for command in (fetch_command, report_command):
        monkeypatch.setattr(command, "chosen_cluster", lambda _context: cluster)
    monkeypatch.setenv("POVSTORM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    job = Job(cluster, "anim")
    unit = WorkUnit(RenderSettings("anim.pov"))
    unit.add_inline_resource("anim.pov", "")
    job.add_work_unit(unit)
    job.submit()
    return job


def end(job: Job, report: str) -> None:
    job.cluster.storage.write(layout.report(job.job_id), report.encode())
    write_state(job.cluster.storage, job.job_id, JobState("completed", 1))


def test_it_is_saved_where_fetch_then_saves_the_rest_and_a_later_report(job: Job):
    end(job, "first")
    command_line.run(["report", job.job_id, "--no-open"])
    assert Path("anim_render/report.html").read_text("utf-8") == "first"

    end(job, "second")
    command_line.run(["fetch", job.job_id])
    assert Path("anim_render/report.html").read_text("utf-8") == "second"


def test_it_does_not_take_the_place_of_a_file_of_the_users(job: Job):
    end(job, "first")
    Path("anim_render").mkdir()
    Path("anim_render/report.html").write_text("mine", "utf-8")
    with pytest.raises(InputError, match=r"anim_render/report\.html is not povstorm's"):
        command_line.run(["report", job.job_id, "--no-open"])
    assert Path("anim_render/report.html").read_text("utf-8") == "mine"


def test_without_a_report_no_folder_is_made(job: Job):
    with pytest.raises(InputError, match="has not run"):
        command_line.run(["report", job.job_id, "--no-open"])
    assert not Path("anim_render").exists()
