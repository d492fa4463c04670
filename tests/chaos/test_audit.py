"""The audit finds what it looks for: each violation is planted, and named."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from povstorm_client import layout
from povstorm_client.storage import FolderStorage
from tests.chaos.animation import reference
from tests.chaos.audit import audit
from tests.chaos.watcher import Seen, Watcher

FRAMES = 2
JOB = "chaosaudit-20260101-000000-abcd"


@pytest.fixture(scope="module")
def rendered(tmp_path_factory) -> Path:
    """A folder with the animation as POV-Ray renders it."""
    folder = tmp_path_factory.mktemp("audit") / "reference"
    reference(FRAMES, folder)
    return folder


@pytest.fixture
def right(rendered: Path) -> dict[int, str]:
    from tests.chaos.animation import digest

    images = sorted(rendered.glob("frame*.png"))
    return {frame: digest(image.read_bytes()) for frame, image in enumerate(images, 1)}


@pytest.fixture
def job(storage: FolderStorage, rendered: Path) -> FolderStorage:
    """A storage with the job as it should be."""
    for frame, image in enumerate(sorted(rendered.glob("frame*.png")), 1):
        put(storage, frame, image.read_bytes())
    return storage


def put(storage: FolderStorage, frame: int, image: bytes, **changes: object) -> None:
    name = f"frame_{frame}.png"
    storage.write(f"{layout.output(JOB)}/{name}", image)
    result = {
        "frame": frame,
        "state": "rendered",
        "error": "",
        "image": name,
        "image_bytes": len(image),
        **changes,
    }
    storage.write(layout.result(JOB, f"unit{frame}"), json.dumps(result).encode())


@pytest.fixture
def violations(job: FolderStorage, right: dict[int, str], tmp_path: Path):
    """A function that audits the job as it is now."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    def find(renderings: dict[int, int] | None = None, explained: int = 0, **options) -> list[str]:
        seen = Seen(Counter(renderings or {1: 1, 2: 1}), broken=options.pop("broken", []))
        found = audit(
            job,
            JOB,
            reference=right,
            seen=seen,
            explained=explained,
            temporary=temporary,
            running_executions=options.pop("running", []),
        )
        return found.violations

    return find


def test_a_job_as_it_should_be_has_none(violations):
    assert violations() == []


def test_a_lost_frame(violations, job: FolderStorage):
    job.delete(layout.result(JOB, "unit2"))
    job.delete(f"{layout.output(JOB)}/frame_2.png")
    assert violations() == ["frame 2 is lost"]


def test_a_frame_that_failed(violations, job: FolderStorage):
    job.delete(f"{layout.output(JOB)}/frame_2.png")
    result = {"frame": 2, "state": "failed", "error": "no reason", "image": "", "image_bytes": 0}
    job.write(layout.result(JOB, "unit2"), json.dumps(result).encode())
    assert violations() == ["frame 2 is failed: no reason", "frame 2 is lost"]


def test_an_image_that_is_cut_off(violations, job: FolderStorage):
    key = f"{layout.output(JOB)}/frame_2.png"
    job.write(key, job.read(key)[:-40])
    assert violations() == ["the image of frame 2 is wrong"]


def test_another_frames_pixels(violations, job: FolderStorage):
    put(job, 2, job.read(f"{layout.output(JOB)}/frame_1.png"))
    assert violations() == ["the image of frame 2 is wrong"]


def test_an_image_of_no_frame(violations, job: FolderStorage):
    job.write(f"{layout.output(JOB)}/other.png", b"")
    assert violations() == ["an image belongs to no frame: other.png"]


def test_a_frame_that_is_there_twice(violations, job: FolderStorage):
    job.write(layout.result(JOB, "again"), job.read(layout.result(JOB, "unit1")))
    assert "frame 1 is there twice" in violations()


def test_a_rendering_that_no_fault_explains(violations):
    assert violations({1: 1, 2: 2}, explained=1) == []
    assert violations({1: 1, 2: 3}, explained=1) == [
        "2 renderings too many, 1 are explained: {1: 1, 2: 3}"
    ]


def test_an_image_that_nobody_rendered(violations):
    assert violations({1: 1}) == ["frame 2 has an image, and nobody rendered it"]


def test_a_process_that_is_left(violations):
    with subprocess.Popen(["sh", "-c", "sleep 60; true", JOB]) as left:
        try:
            (violation,) = violations()
        finally:
            left.kill()
    assert violation.startswith(f"a process is left: {left.pid} ")


def test_a_temporary_file_and_an_execution_that_are_left(violations, tmp_path: Path):
    (tmp_path / "temporary" / "povstorm-x").mkdir()
    assert violations(running=["executions/e1"]) == [
        f"a temporary file is left: {tmp_path / 'temporary' / 'povstorm-x'}",
        "an execution is left: executions/e1",
    ]


def test_a_half_image_is_seen_while_it_is_there(job: FolderStorage, violations):
    key = f"{layout.output(JOB)}/frame_1.png"
    whole = job.read(key)
    with Watcher("chaosaudit", JOB, job) as watcher:
        job.write(key, whole[: len(whole) // 2])
        while not watcher.seen.broken:
            pass
        job.write(key, whole)
    assert watcher.seen.broken[0].startswith(f"{key}: ")
    assert violations(broken=watcher.seen.broken)[0].startswith("a half image was visible: ")


def test_a_rendering_is_seen(rendered: Path, job: FolderStorage, tmp_path: Path):
    scene = tmp_path / "chaosaudit.pov"
    scene.write_text("sphere { 0, 1 }")
    with Watcher("chaosaudit", JOB, job) as watcher:
        command = ["povray", f"+I{scene}", "-D", "+W8", "+H8", "+KFI1", "+KFF9", "+SF7", "+EF7"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert watcher.seen.renderings == {7: 1}
