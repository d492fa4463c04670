"""A video's segments are encoded by containers; whatever becomes of those, it is the same."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from povstorm_client.cloud_run.api import EMULATOR_VARIABLE, GoogleCloudRun
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.stored_plan import read_plan, spent_usd
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob
from povstorm_client.storage import layout
from povstorm_client.storage.checksum import crc32c_of
from povstorm_client.storage.folder import FolderStorage
from render_image.video.segments import Encoding, FrameImage, StoredImage, plan_segments
from tasks.video.cloud_run.segment_dispatcher import SegmentPace
from tasks.video.cloud_run.segment_waves import SegmentWaves
from tasks.video.encode import encode_video
from tasks.video.job_video import segment_store
from tests.emulators.cloud_run.server import PROJECT, REGION, CloudRunServer

JOB = "orbit-1"
FRAMES = range(1, 21)
FPS = Fraction(24)
HASTE = SegmentPace(poll=0.05, park_first=0.05, park_most=0.1, worth=0.0)
SIZES = {"small": 512, "large": 2048}
# A container that waits while there is a file of that name, is lost, so often as there are files
# named by a status, and then encodes.
LOST_BEFORE = """
import os, pathlib, sys, time
faults = pathlib.Path(os.environ["LOST"])
while (faults / "wait").exists():
    time.sleep(0.05)
for lost in sorted(faults.iterdir()):
    try:
        lost.unlink()
    except FileNotFoundError:
        continue
    sys.exit(int(lost.name.partition("-")[0]))
os.execv(sys.executable, [sys.executable, "-P", "-m", "render_image.entrypoint", *sys.argv[1:]])
"""


@pytest.fixture
def lost(tmp_path: Path) -> Callable[..., None]:
    """A function by which the next containers end with these statuses, having done nothing."""
    (tmp_path / "lost").mkdir()

    def lose(*statuses: int) -> None:
        for number, status in enumerate(statuses):
            (tmp_path / "lost" / f"{status}-{number}").touch()

    return lose


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost) -> Iterator[CloudRunServer]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "LOST": str(tmp_path / "lost"),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    with CloudRunServer((sys.executable, "-P", "-c", LOST_BEFORE), environment) as server:
        for name, memory in SIZES.items():
            server.create_job(name, memory=f"{memory}Mi")
        monkeypatch.setenv(EMULATOR_VARIABLE, server.rest_url)
        yield server


def stored_images(storage: FolderStorage) -> dict[int, FrameImage]:
    keys = {frame: f"{layout.output(JOB)}/frame_{frame}.png" for frame in FRAMES}
    return {
        frame: FrameImage(frame, StoredImage(storage, key), crc32c_of(storage.read(key)))
        for frame, key in keys.items()
    }


@pytest.fixture
def images(storage: FolderStorage) -> dict[int, FrameImage]:
    """Stored frames of something that moves."""
    for frame in FRAMES:
        image = Image.new("RGB", (96, 64), (0, 60, 9 * frame))
        ImageDraw.Draw(image).ellipse((4 * frame, 10, 4 * frame + 20, 40), fill=(250, 9 * frame, 0))
        key = f"{layout.output(JOB)}/frame_{frame}.png"
        with storage.path("here.png").open("wb") as file:
            image.save(file, "PNG")
        storage.write(key, storage.read("here.png"))
    return stored_images(storage)


def fleet(max_usd: float | None = None) -> CloudRunFleet:
    jobs = tuple(CloudRunJob(name, 1, memory, 4, 0, 600) for name, memory in SIZES.items())
    return CloudRunFleet(PROJECT, REGION, jobs, lean="fastest", max_usd=max_usd)


@contextmanager
def segment_waves(
    storage: FolderStorage,
    ending: str = "mp4",
    *,
    max_usd: float | None = None,
    retries: int = 2,
    pace: SegmentPace = HASTE,
    tell: Callable[[str], None] = print,
) -> Iterator[SegmentWaves]:
    waves = SegmentWaves(
        plan_segments(FRAMES),
        storage,
        JOB,
        fleet(max_usd),
        Encoding.of(Path(f"video.{ending}"), FPS, "retry"),
        GoogleCloudRun,
        logging.getLogger("test"),
        tell,
        retries=retries,
        pace=pace,
    )
    try:
        yield waves
    finally:
        waves.close()


def told(waves: SegmentWaves, images: dict[int, FrameImage]) -> None:
    for frame, image in images.items():
        waves.frame_is_final(frame, image)


def video(
    storage: FolderStorage,
    images: dict[int, FrameImage],
    waves: SegmentWaves | None = None,
    ending: str = "mp4",
) -> bytes:
    """The bytes of the video; of waves, what they have encoded is taken."""
    key = layout.video(JOB, ending)
    info = encode_video(
        [(frame, image.picture) for frame, image in images.items()],
        segment_store(storage, JOB),
        key,
        fps=FPS,
        expected_frames=FRAMES,
        checksums={frame: image.crc32c for frame, image in images.items()},
        ready=waves.stop() if waves is not None else None,
    )
    assert info.frames == len(FRAMES)
    return storage.read(key)


def encoded_there(waves: SegmentWaves) -> list[bool]:
    """For each segment whether containers made it, once that is known."""
    return [future.exception() is None for future in waves.stop().values()]


@pytest.mark.parametrize("ending", ["mp4", "mkv", "webm", "mov"])
def test_containers_encode_what_is_encoded_here_otherwise(
    ending: str, cloud: CloudRunServer, storage: FolderStorage, images: dict[int, FrameImage]
):
    here = video(storage, images, ending=ending)
    with segment_waves(storage, ending) as waves:
        told(waves, images)
        assert encoded_there(waves) == [True] * len(plan_segments(FRAMES))
        assert video(storage, images, waves, ending) == here

    plan = read_plan(storage, JOB)
    assert plan is not None
    assert sum(wave.segments for wave in plan.waves) == len(plan_segments(FRAMES))
    assert all(wave.billed_usd for wave in plan.waves)
    assert list(storage.list(layout.segments(JOB))) == []


@pytest.mark.parametrize("status", [1, 137])
def test_a_lost_container_costs_its_segments_another_attempt(
    status: int, cloud: CloudRunServer, storage: FolderStorage, images: dict[int, FrameImage], lost
):
    lost(status)
    with segment_waves(storage) as waves:
        told(waves, images)
        assert encoded_there(waves) == [True] * len(plan_segments(FRAMES))
        there = video(storage, images, waves)

    assert there == video(storage, images)
    plan = read_plan(storage, JOB)
    assert plan is not None
    # Out of memory, it is given more.
    assert [wave.render_job for wave in plan.waves] == [
        "small",
        "large" if status == 137 else "small",
    ]


def test_what_is_lost_for_good_is_encoded_here(
    cloud: CloudRunServer, storage: FolderStorage, images: dict[int, FrameImage], lost
):
    lost(*[1] * 40)
    with segment_waves(storage, retries=1) as waves:
        told(waves, images)
        assert not any(encoded_there(waves))
        there = video(storage, images, waves)

    assert there == video(storage, images)


def test_a_wave_is_late_only_from_its_first_task_at_work(
    cloud: CloudRunServer, storage: FolderStorage, images: dict[int, FrameImage], tmp_path: Path
):
    cloud.set_knobs(vcpu_quota=0.5)
    # Whatever is at work does not end, and is late at once.
    (tmp_path / "lost" / "wait").touch()
    at_once = replace(HASTE, late=0.0, late_factor=0.0, park_limit=400.0)

    def calls(method: str) -> int:
        return cloud.statistics()["calls"].get(method, 0)

    with segment_waves(storage, retries=0, pace=at_once) as waves:
        told(waves, images)
        ready = waves.stop()
        while calls("executions.get") < 10:
            time.sleep(0.05)
        assert calls("executions.cancel") == 0
        assert not any(future.done() for future in ready.values())

        cloud.set_knobs(vcpu_quota=20.0)

        assert not any(encoded_there(waves))
        assert calls("executions.cancel") > 0


@pytest.mark.parametrize("refuses", ["", "not all fit"], ids=["tasks wait", "refused"])
def test_what_google_has_no_room_for_is_told_and_encoded_here_after_a_while(
    cloud: CloudRunServer, storage: FolderStorage, images: dict[int, FrameImage], refuses: str
):
    cloud.set_knobs(vcpu_quota=0.5, quota_refuses=refuses)
    lines: list[str] = []
    hasty = replace(HASTE, unbegun=0.0, park_limit=1.0)

    with segment_waves(storage, pace=hasty, tell=lines.append) as waves:
        told(waves, images)
        assert not any(encoded_there(waves))
        video(storage, images, waves)

    *waiting, last = lines
    assert waiting
    assert last == ""
    assert all("waiting for Google Cloud" in line for line in waiting)
    assert all("nothing is billed" in line for line in waiting)
    assert cloud.statistics()["instances"] == 0
    assert spent_usd(storage, JOB) == 0


def test_what_would_cost_too_much_is_encoded_here(
    cloud: CloudRunServer, storage: FolderStorage, images: dict[int, FrameImage]
):
    with segment_waves(storage, max_usd=0.0001) as waves:
        told(waves, images)
        assert not any(encoded_there(waves))
        video(storage, images, waves)
    assert spent_usd(storage, JOB) == 0


def test_what_was_spent_before_counts_for_attempts_too(
    cloud: CloudRunServer, storage: FolderStorage, images: dict[int, FrameImage], lost
):
    with segment_waves(storage) as waves:
        told(waves, images)
        assert all(encoded_there(waves))
        video(storage, images, waves)
    once = spent_usd(storage, JOB)
    lost(*[1] * 40)

    with segment_waves(storage, max_usd=2.5 * once, retries=9) as waves:
        told(waves, images)
        assert not any(encoded_there(waves))
        video(storage, images, waves)

    assert once < spent_usd(storage, JOB) <= 2.5 * once


KILLED = """
import sys
from pathlib import Path
from povstorm_client.storage.checksum import crc32c_of
from povstorm_client.storage.folder import FolderStorage
from render_image.video.segments import FrameImage, StoredImage
from tests.integration.test_segment_waves import FRAMES, segment_waves, stored_images, told

storage = FolderStorage(Path(sys.argv[1]))
with segment_waves(storage) as waves:
    told(waves, stored_images(storage))
    print(len(waves.stop()), flush=True)
    sys.stdin.read()
"""


def test_the_next_run_takes_over_what_a_killed_one_has_left_running(
    cloud: CloudRunServer, storage: FolderStorage, images: dict[int, FrameImage], tmp_path: Path
):
    here = video(storage, images)
    (tmp_path / "lost" / "wait").touch()
    api, path = GoogleCloudRun(), fleet().job_path(fleet().jobs[0])
    killed = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(storage.root)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
    )
    while not (left := api.executions(path)):
        assert killed.poll() is None
        time.sleep(0.05)
    killed.kill()
    killed.communicate()

    with segment_waves(storage) as waves:
        told(waves, images)
        ready = waves.stop()
        (tmp_path / "lost" / "wait").unlink()
        assert [future.exception() for future in ready.values()] == [None] * len(ready)
        assert video(storage, images, waves) == here
    assert [each.name for each in api.executions(path)] == [each.name for each in left]


def test_a_cancelled_run_stops_what_it_has_started(
    cloud: CloudRunServer, storage: FolderStorage, images: dict[int, FrameImage]
):
    cloud.set_knobs(startup_seconds=600.0)
    with segment_waves(storage) as waves:
        told(waves, images)
        waves.stop()
        api = GoogleCloudRun()
        path = fleet().job_path(fleet().jobs[0])
        while not api.executions(path):
            time.sleep(0.05)
    (execution,) = api.executions(path)
    assert execution.completed is not None
