"""The audit finds what it looks for: each violation is planted, and named."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import google_crc32c
import pytest

from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.state import JobState
from povstorm_client.jobs.statistics import JobStatistics
from povstorm_client.jobs.summarize import summarize
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from tests.chaos.animation import digest, render_reference
from tests.chaos.audit import audit
from tests.chaos.watcher import Seen, Watcher

FRAMES = 2
# Of this process alone: the audit looks at all processes of the machine.
NAME = f"chaosaudit{os.getpid()}"
JOB = f"{NAME}-20260101-000000-abcd"


VIDEO = layout.video(JOB, "mp4")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory) -> Path:
    """A folder with the animation as POV-Ray renders it, and a video of it."""
    folder = tmp_path_factory.mktemp("reference")
    render_reference(FRAMES, folder)
    for frames in (FRAMES, 1):
        images = ["-i", str(folder / "frame%d.png"), "-frames:v", str(frames)]
        command = ["ffmpeg", "-v", "error", *images, str(folder / f"{frames}.mp4")]
        subprocess.run(command, check=True)
    return folder


@pytest.fixture
def right(rendered: Path) -> dict[int, str]:
    images = sorted(rendered.glob("frame*.png"))
    return {frame: digest(image.read_bytes()) for frame, image in enumerate(images, 1)}


@pytest.fixture
def job(storage: FolderStorage, rendered: Path) -> FolderStorage:
    """A storage with the job as it should be."""
    results = [
        put(storage, frame, image.read_bytes())
        for frame, image in enumerate(sorted(rendered.glob("frame*.png")), 1)
    ]
    statistics = summarize(
        results,
        job_id=JOB,
        name=NAME,
        expected_frames=range(1, FRAMES + 1),
        started=0.0,
        ended=9.0,
        video=None,
    )
    store_statistics(storage, statistics)
    store_state(storage, JobState("completed", FRAMES, done=FRAMES))
    storage.write(VIDEO, (rendered / f"{FRAMES}.mp4").read_bytes())
    storage.write(layout.report(JOB), b"<html></html>\n")
    return storage


def put(storage: FolderStorage, frame: int, image: bytes, **changes: object) -> FrameResult:
    name = f"frame_{frame}.png"
    result = FrameResult(
        f"unit{frame}",
        JOB,
        frame,
        "rendered",
        attempt=1,
        host="",
        started=1.0,
        ended=2.0,
        image=name,
        image_bytes=len(image),
        image_crc32c=base64.b64encode(google_crc32c.Checksum(image).digest()).decode(),
    )
    storage.write(f"{layout.output(JOB)}/{name}", image)
    store_result(storage, replace(result, **changes))
    return result


def store_result(storage: FolderStorage, result: FrameResult) -> None:
    storage.write(layout.result(JOB, result.work_unit_id), json.dumps(result.to_json()).encode())


def store_statistics(storage: FolderStorage, statistics: JobStatistics) -> None:
    storage.write(layout.statistics(JOB), json.dumps(statistics.to_json()).encode())


def store_state(storage: FolderStorage, state: JobState) -> None:
    storage.write(layout.job_state(JOB), json.dumps(asdict(state)).encode())


@pytest.fixture
def violations(job: FolderStorage, right: dict[int, str], tmp_path: Path):
    """A function that audits the job as it is now."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    def find(
        renderings: dict[int, int] | None = None,
        *,
        running: tuple[str, ...] = (),
        servers: int = 0,
        **seen: list,
    ) -> list[str]:
        found = audit(
            job,
            JOB,
            reference=right,
            seen=Seen(Counter(renderings or {1: 1, 2: 1}), **seen),
            allowed={1: 1, 2: 2},
            temporary=temporary,
            running_executions=list(running),
            servers=servers,
        )
        return found.violations

    return find


def test_a_job_as_it_should_be_has_none(violations):
    assert violations() == []


def test_a_lost_frame(violations, job: FolderStorage):
    job.delete(layout.result(JOB, "unit2"))
    job.delete(f"{layout.output(JOB)}/frame_2.png")
    assert "frame 2 is lost" in violations()


def test_a_frame_that_failed(violations, job: FolderStorage):
    job.delete(f"{layout.output(JOB)}/frame_2.png")
    store_result(job, FrameResult("unit2", JOB, 2, "failed", 1, "", 1.0, 2.0, error="no reason"))
    assert violations()[:2] == ["frame 2 is failed: no reason", "frame 2 is lost"]


def test_an_image_that_is_cut_off(violations, job: FolderStorage):
    key = f"{layout.output(JOB)}/frame_2.png"
    job.write(key, job.read(key)[:-40])
    assert violations() == ["the image of frame 2 is wrong"]


def test_another_frames_pixels(violations, job: FolderStorage):
    put(job, 2, job.read(f"{layout.output(JOB)}/frame_1.png"))
    assert violations() == ["the image of frame 2 is wrong"]


def test_a_checksum_of_another_image(violations, job: FolderStorage):
    put(job, 2, job.read(f"{layout.output(JOB)}/frame_2.png"), image_crc32c="AAAAAA==")
    assert violations() == ["the checksum of frame 2 is of another image"]


def test_an_image_of_no_frame(violations, job: FolderStorage):
    job.write(f"{layout.output(JOB)}/other.png", b"")
    assert violations() == ["an image belongs to no frame: other.png"]


def test_a_frame_that_is_there_twice(violations, job: FolderStorage):
    job.write(layout.result(JOB, "again"), job.read(layout.result(JOB, "unit1")))
    assert "frame 1 is there twice" in violations()


def test_a_rendering_that_no_fault_explains(violations):
    assert violations({1: 1, 2: 2}) == []
    assert violations({1: 2, 2: 1}) == ["frame 1 was rendered 2 times, 1 are explained"]


def test_an_image_that_nobody_rendered(violations):
    assert violations({1: 1}) == ["frame 2 has an image, and nobody rendered it"]


def test_a_job_that_has_not_ended_well(violations, job: FolderStorage):
    store_state(job, JobState("failed", FRAMES, done=FRAMES))
    (violation,) = violations()
    assert violation.startswith("the job's state is JobState(phase='failed'")


@pytest.mark.parametrize(
    "key",
    [layout.statistics(JOB), VIDEO, layout.report(JOB)],
    ids=["statistics", "video", "report"],
)
def test_something_of_a_jobs_end_that_is_not_there(key: str, violations, job: FolderStorage):
    job.delete(key)
    assert violations() == [f"there is no {key}"]


def test_statistics_without_a_frame_or_with_time_that_goes_back(violations, job: FolderStorage):
    statistics = JobStatistics.from_json(json.loads(job.read(layout.statistics(JOB))))
    first = statistics.frames[0]
    store_statistics(job, replace(statistics, frames=[replace(first, started=3.0)]))
    assert violations() == ["the statistics count {1: 1}", "the statistics have -1.0 seconds"]


def test_a_video_that_lacks_a_frame_and_a_report_that_is_cut_off(
    violations, job: FolderStorage, rendered: Path
):
    job.write(VIDEO, (rendered / "1.mp4").read_bytes())
    job.write(layout.report(JOB), b"<html>")
    assert violations() == ["the video has 1 frames", "the report has no end"]


def test_a_process_that_is_left(violations):
    with subprocess.Popen(["sh", "-c", "sleep 60; true", JOB]) as left:
        try:
            (violation,) = violations()
        finally:
            left.kill()
    assert violation.startswith(f"a process is left: {left.pid} ")


def test_a_temporary_file_and_an_execution_that_are_left(violations, tmp_path: Path):
    (tmp_path / "temporary" / "povstorm-x").mkdir()
    assert violations(running=("executions/e1",)) == [
        f"a temporary file is left: {tmp_path / 'temporary' / 'povstorm-x'}",
        "an execution is left: executions/e1",
    ]


def test_prefect_servers_that_are_left(violations):
    assert violations(servers=2) == ["2 Prefect servers are left"]


def test_a_half_image_is_seen_while_it_is_there(job: FolderStorage, violations):
    key = f"{layout.output(JOB)}/frame_1.png"
    whole = job.read(key)
    with Watcher(NAME, JOB, job) as watcher:
        job.write(key, whole[: len(whole) // 2])
        while not watcher.seen.broken:
            pass
        job.write(key, whole)
    assert watcher.seen.broken[0].startswith(f"{key}: ")
    assert violations(broken=watcher.seen.broken)[0].startswith("a half image was visible: ")


def test_a_frame_that_does_not_stay_rendered_is_seen(job: FolderStorage, violations):
    with Watcher(NAME, JOB, job) as watcher:
        assert watcher.rendered() == {1, 2}
        store_result(job, FrameResult("unit2", JOB, 2, "retrying", 2, "", 3.0, 4.0))
        assert watcher.rendered() == {1}
    assert "frame 2 was rendered, and then was not" in violations(undone=watcher.seen.undone)


def test_a_watcher_that_cannot_look_says_so(job: FolderStorage):
    job.write(layout.result(JOB, "unit3"), b"no JSON")
    with pytest.raises(json.JSONDecodeError), Watcher(NAME, JOB, job):
        pass


def test_a_rendering_is_seen(rendered: Path, job: FolderStorage, tmp_path: Path):
    scene = tmp_path / f"{NAME}.pov"
    scene.write_text("sphere { 0, 1 }")
    with Watcher(NAME, JOB, job) as watcher:
        command = ["povray", f"+I{scene}", "-D", "+W8", "+H8", "+KFI1", "+KFF9", "+SF7", "+EF7"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert watcher.seen.renderings == {7: 1}
