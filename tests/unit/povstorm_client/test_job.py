"""A job that cannot be rendered is refused before anything is stored or started."""

from __future__ import annotations

from pathlib import Path

import pytest

from povstorm_client import Cluster, InputError, Job, JobError, RenderSettings, ToolError, WorkUnit
from povstorm_client.storage import disk_full

SETTINGS = RenderSettings(scene="a.pov", final_frame=10)


def unit(frame: int = 1, settings: RenderSettings = SETTINGS) -> WorkUnit:
    made = WorkUnit(settings, frame=frame)
    made.add_inline_resource("a.pov", "")
    return made


def test_a_job_without_frames_is_refused(cluster: Cluster):
    with pytest.raises(InputError, match="has no frames"):
        Job(cluster, "j").submit()


def test_a_doubled_frame_is_two_units_that_write_the_same_output(cluster: Cluster):
    job = Job(cluster, "j")
    job.add_work_unit(unit(2))
    with pytest.raises(InputError, match=r"frame 2 was added twice.*output/frame_02\.png"):
        job.add_work_unit(unit(2))


def test_frames_out_of_order_are_refused(cluster: Cluster):
    job = Job(cluster, "j")
    job.add_work_unit(unit(2))
    with pytest.raises(InputError, match="frame 1 was added after frame 2"):
        job.add_work_unit(unit(1))


def test_different_frames_that_would_write_the_same_output_are_refused(cluster: Cluster):
    job = Job(cluster, "j")
    still = RenderSettings(scene="a.pov", initial_frame=0, final_frame=0)
    job.add_work_unit(unit(0, still))
    job.add_work_unit(unit(1, RenderSettings(scene="a.pov")))
    with pytest.raises(InputError, match=r"frames 0 and 1 would both write output/frame_1\.png"):
        job.submit()


def test_a_scene_that_no_resource_brings_is_refused(cluster: Cluster):
    job = Job(cluster, "j")
    job.add_work_unit(WorkUnit(RenderSettings(scene="shared/nowhere.pov")))
    with pytest.raises(InputError, match=r"renders shared/nowhere\.pov, which is neither"):
        job.submit()


def test_shared_resources_that_cannot_be_are_refused(cluster: Cluster, tmp_path: Path):
    job = Job(cluster, "j")
    with pytest.raises(InputError, match="does not exist"):
        job.add_shared_resources(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="without files"):
        job.add_shared_resources(tmp_path / "empty")
    (tmp_path / "empty" / "link").symlink_to("/etc/hostname")
    with pytest.raises(InputError, match="link that leaves"):
        job.add_shared_resources(tmp_path / "empty")


def test_two_files_of_one_name_are_refused(cluster: Cluster, tmp_path: Path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.inc").write_text(folder)
    job = Job(cluster, "j")
    job.add_shared_resources(tmp_path / "one")
    job.add_shared_resources(tmp_path / "two", target="two")
    with pytest.raises(InputError, match=r"shared/a\.inc would be both"):
        job.add_shared_resources(tmp_path / "two")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fps": 0}, "fps is 0"),
        ({"fps": "fast"}, "fps 'fast' is no number"),
        ({"video": "avi"}, "video format 'avi'"),
        ({"video": "gif", "fps": 60}, "gif has at most 50"),
        ({"retries": -1}, "retries is -1"),
        ({"frame_timeout": 0}, "frame_timeout is 0"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(cluster: Cluster, options: dict, words: str):
    with pytest.raises(InputError, match=words):
        Job(cluster, "j", **options)


def test_a_submitted_job_cannot_be_changed_and_is_stored_once(cluster: Cluster, tmp_path: Path):
    job = Job(cluster, "My Job!", fps=23.976)
    job.add_work_unit(unit(1))
    job.submit()
    with pytest.raises(InputError, match="cannot be changed"):
        job.add_work_unit(unit(2))
    before = sorted(entry.changed for entry in cluster.storage.list("jobs"))
    job.submit()
    assert sorted(entry.changed for entry in cluster.storage.list("jobs")) == before
    assert Job.open(cluster, job.job_id).name == "My Job!"


def test_contents_are_uploaded_once(cluster: Cluster, tmp_path: Path):
    (tmp_path / "a.pov").write_text("scene")
    for _ in range(2):
        job = Job(cluster, "j")
        job.add_shared_resources(tmp_path / "a.pov")
        job.add_work_unit(WorkUnit(RenderSettings(scene="shared/a.pov")))
        job.submit()
    assert len(list(cluster.storage.list("blobs"))) == 1


@pytest.mark.parametrize("job_id", ["nowhere", "../x", "", "UPPER"])
def test_a_job_that_does_not_exist_cannot_be_opened(cluster: Cluster, job_id: str):
    with pytest.raises(InputError, match="job"):
        Job.open(cluster, job_id)


def povray_that_says(folder: Path, text: str) -> None:
    program = folder / "povray"
    program.write_text(f"#!/bin/sh\necho '{text}' >&2\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (None, "povray is not on PATH: install"),
        ("POV-Ray 3.6.1", r"is POV-Ray 3\.6\.1: povstorm needs 3\.7"),
        ("something else", "does not tell its version"),
    ],
)
def test_without_a_povray_that_will_do_nothing_is_started(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str | None, words: str
):
    programs = tmp_path / "bin"
    programs.mkdir()
    if says:
        povray_that_says(programs, says)
    monkeypatch.setenv("PATH", str(programs))
    job = Job(cluster, "j")
    job.add_work_unit(unit())
    with pytest.raises(ToolError, match=words):
        job.run(show_progress=False)
    assert list(cluster.storage.list("jobs")) == []


def test_without_ffmpeg_a_job_with_a_video_is_not_started(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    programs = tmp_path / "bin"
    programs.mkdir()
    povray_that_says(programs, "POV-Ray 3.7.0.10")
    monkeypatch.setenv("PATH", f"{programs}:/nowhere")
    job = Job(cluster, "j")
    job.add_work_unit(unit())
    with pytest.raises(ToolError, match="ffmpeg is not on PATH: install"):
        job.run(show_progress=False)
    assert list(cluster.storage.list("jobs")) == []


@pytest.mark.parametrize(
    "said", ["", f"cannot write a: {disk_full.disk_full_words('/disk', 'make room there')}"]
)
def test_a_flow_that_ended_for_want_of_room_says_once_what_to_do(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
):
    class Ended:
        """A flow that has had no room."""

        returncode = disk_full.EXIT_STATUS
        log = str(tmp_path / "flow.log")
        last_words = said

    monkeypatch.setattr(Cluster, "start", lambda *_args, **_options: Ended())
    monkeypatch.setattr(disk_full, "is_full", lambda _folder: True)
    job = Job(cluster, "j", video=None)
    job.add_work_unit(unit())
    with pytest.raises(JobError) as failed:
        job.run(show_progress=False)
    words = str(failed.value)
    assert [words.count(each) for each in ("the disk is full", "make room", "retry")] == [1, 1, 1]
