"""A video's segments are encoded by containers; whatever becomes of those, it is the same."""

from __future__ import annotations

import io
import logging
import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from povstorm_client.cloud_run.api import EMULATOR_VARIABLE, ExecutionState, GoogleCloudRun
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.stored_plan import StoredWave, read_plan, reserve, spent_usd
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob
from povstorm_client.errors import StorageError, VideoError
from povstorm_client.storage import layout
from povstorm_client.storage.checksum import crc32c_of
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.protocol import Storage, StoredObject
from render_image.video.segments import (
    Encoding,
    FrameImage,
    StoredImage,
    plan_segments,
    segment_name,
)
from tasks.video.cloud_run import segment_planner
from tasks.video.cloud_run.segment_dispatcher import SegmentPace
from tasks.video.cloud_run.segment_waves import SegmentWaves
from tasks.video.encode import encode_video
from tasks.video.job_video import segment_store
from tests.emulators.cloud_run.knobs import Knobs
from tests.emulators.cloud_run.server import REGION, CloudRunServer

JOB = "orbit-1"
FRAMES = range(1, 21)
PLAN = plan_segments(FRAMES)
FPS = Fraction(24)
HASTE = SegmentPace(poll=0.05, park_first=0.05, park_most=0.1, worth=0.0)
# However little is left, containers are started ahead of it.
AHEAD = replace(HASTE, worth_ahead=0.0)
SIZES = {"small": 512, "large": 2048}
# A test's project, of the server that all of them share.
PROJECT_VARIABLE = "SEGMENT_WAVES_PROJECT"
# A container waits while there is a file "wait" in "lost", which is beside its storage, or in the
# folder BESIDE. Then it takes a file there that begins with what is to become of it: with this
# status it is lost, or "held" it waits while there is a file "hold". It encodes if there is none,
# by the ffmpeg of "bin" if that has one.
LOST_BEFORE = """
import os, pathlib, sys, time
storage = sys.argv[1].removeprefix("file://").partition("/jobs/")[0]
folder = pathlib.Path(os.environ.get("BESIDE") or pathlib.Path(storage).parent)
os.environ["PATH"] = f"{folder / 'bin'}:{os.environ['PATH']}"
faults = folder / "lost"
while (faults / "wait").exists():
    time.sleep(0.05)
for lost in sorted(faults.glob("*-*")):
    try:
        lost.unlink()
    except FileNotFoundError:
        continue
    fate = lost.name.partition("-")[0]
    if fate.isdecimal():
        sys.exit(int(fate))
    while (faults / "hold").exists():
        time.sleep(0.05)
    break
os.execv(sys.executable, [sys.executable, "-P", "-m", "render_image.entrypoint", *sys.argv[1:]])
"""


@pytest.fixture
def lost(tmp_path: Path) -> Callable[..., None]:
    """A function by which the next containers end with these statuses, having done nothing.

    "held": it encodes, once there is no file "hold".
    """
    (tmp_path / "lost").mkdir()

    def lose(*statuses: int | str) -> None:
        for number, status in enumerate(statuses):
            (tmp_path / "lost" / f"{status}-{number}").touch()

    return lose


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudRunServer]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path_factory.mktemp("home")),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    with CloudRunServer((sys.executable, "-P", "-c", LOST_BEFORE), environment) as server:
        yield server


@dataclass(frozen=True)
class Cloud:
    """Cloud Run in a project of one test's own, with its quotas; before: calls for others."""

    server: CloudRunServer
    project: str
    before: Mapping[str, int]

    def set_knobs(self, **knobs: Any) -> None:
        self.server.set_knobs(**knobs)

    def calls(self, method: str) -> int:
        return self.server.statistics()["calls"].get(method, 0) - self.before.get(method, 0)

    def billed(self) -> list[str]:
        """The executions of which any container ran."""
        executions = self.server.statistics()["by_execution"]
        return [name for name in executions if f"projects/{self.project}/" in name]


@pytest.fixture
def cloud(
    server: CloudRunServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lost,
) -> Iterator[Cloud]:
    project = f"project-{secrets.token_hex(4)}-a"
    monkeypatch.setenv(PROJECT_VARIABLE, project)
    monkeypatch.setenv(EMULATOR_VARIABLE, server.rest_url)
    for name, memory in SIZES.items():
        server.create_job(name, memory=f"{memory}Mi", project=project)
    yield Cloud(server, project, server.statistics()["calls"])
    server.set_knobs(**asdict(Knobs()))


def stored_images(storage: Storage) -> dict[int, FrameImage]:
    keys = {frame: f"{layout.output(JOB)}/frame_{frame}.png" for frame in FRAMES}
    return {
        frame: FrameImage(frame, StoredImage(storage, key), crc32c_of(storage.read(key)))
        for frame, key in keys.items()
    }


def store_images(storage: Storage) -> dict[int, FrameImage]:
    """Frames of something that moves."""
    for frame in FRAMES:
        image = Image.new("RGB", (96, 64), (0, 60, 9 * frame))
        ImageDraw.Draw(image).ellipse((4 * frame, 10, 4 * frame + 20, 40), fill=(250, 9 * frame, 0))
        made = io.BytesIO()
        image.save(made, "PNG")
        storage.write(f"{layout.output(JOB)}/frame_{frame}.png", made.getvalue())
    return stored_images(storage)


@pytest.fixture
def images(storage: FolderStorage) -> dict[int, FrameImage]:
    return store_images(storage)


def fleet(max_usd: float | None = None) -> CloudRunFleet:
    jobs = tuple(CloudRunJob(name, 1, memory, 4, 0, 600) for name, memory in SIZES.items())
    project = os.environ[PROJECT_VARIABLE]
    return CloudRunFleet(project, REGION, jobs, lean="fastest", max_usd=max_usd)


@contextmanager
def segment_waves(
    storage: Storage,
    ending: str = "mp4",
    *,
    frames: Sequence[int] = FRAMES,
    max_usd: float | None = None,
    on: CloudRunFleet | None = None,
    retries: int = 2,
    pace: SegmentPace = HASTE,
    tell: Callable[[str], None] = print,
    a_task_each: bool = False,
) -> Iterator[SegmentWaves]:
    """a_task_each: its segments are expected to take so long that each gets a container."""
    with pytest.MonkeyPatch.context() as patch:
        if a_task_each:
            patch.setattr(segment_planner, "cost_of", lambda *_: (190, 1e-3))
        waves = SegmentWaves(
            plan_segments(frames),
            96 * 64,
            storage,
            JOB,
            on or fleet(max_usd),
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
    storage: Storage,
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
    ending: str, cloud: Cloud, storage: FolderStorage, images: dict[int, FrameImage]
):
    here = video(storage, images, ending=ending)
    with segment_waves(storage, ending) as waves:
        told(waves, images)
        assert encoded_there(waves) == [True] * len(PLAN)
        assert video(storage, images, waves, ending) == here

    plan = read_plan(storage, JOB)
    assert plan is not None
    assert sum(wave.segments for wave in plan.waves) == len(PLAN)
    assert all(wave.billed_usd for wave in plan.waves)
    assert list(storage.list(layout.segments(JOB))) == []


def test_tasks_that_are_delivered_twice_encode_the_same(
    cloud: Cloud, storage: FolderStorage, images: dict[int, FrameImage]
):
    cloud.set_knobs(run_tasks_twice=True)
    with segment_waves(storage) as waves:
        told(waves, images)
        assert encoded_there(waves) == [True] * len(PLAN)
        there = video(storage, images, waves)

    assert there == video(storage, images)


def test_a_damaged_image_leaves_the_video_to_the_flow_which_names_it(
    cloud: Cloud,
    storage: FolderStorage,
    images: dict[int, FrameImage],
    caplog: pytest.LogCaptureFixture,
):
    storage.write(f"{layout.output(JOB)}/frame_1.png", b"no image")
    with segment_waves(storage, retries=0) as waves:
        told(waves, images)
        assert encoded_there(waves) == [False, True]
        with pytest.raises(VideoError, match="frame 1 is not"):
            video(storage, images, waves)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("status", [1, 137])
def test_a_lost_container_costs_its_segments_another_attempt(
    status: int, cloud: Cloud, storage: FolderStorage, images: dict[int, FrameImage], lost
):
    lost(status)
    with segment_waves(storage) as waves:
        told(waves, images)
        assert encoded_there(waves) == [True] * len(PLAN)
        there = video(storage, images, waves)

    assert there == video(storage, images)
    plan = read_plan(storage, JOB)
    assert plan is not None
    # Out of memory, it is given more.
    assert [wave.render_job for wave in plan.waves] == [
        "small",
        "large" if status == 137 else "small",
    ]


def test_where_the_kernel_takes_ffmpeg_alone_its_segment_gets_more_memory(
    cloud: Cloud,
    storage: FolderStorage,
    images: dict[int, FrameImage],
    tmp_path: Path,
):
    ffmpeg, once = tmp_path / "bin" / "ffmpeg", tmp_path / "once"
    once.touch()
    ffmpeg.parent.mkdir()
    ffmpeg.write_text(
        f"""#!/bin/sh
        case "$*" in *pipe:*) rm {once} 2>/dev/null && kill -9 $$ ;; esac
        exec {shutil.which("ffmpeg")} "$@"
        """
    )
    ffmpeg.chmod(0o755)
    with segment_waves(storage) as waves:
        told(waves, images)
        assert encoded_there(waves) == [True] * len(PLAN)

    plan = read_plan(storage, JOB)
    assert plan is not None
    assert [(wave.render_job, wave.segments) for wave in plan.waves] == [("small", 2), ("large", 1)]


def test_what_others_have_left_of_a_segment_is_in_no_containers_way(
    cloud: Cloud, storage: FolderStorage, images: dict[int, FrameImage]
):
    first = [images[frame] for frame in PLAN[0]]
    encoding = Encoding.of(Path("video.mp4"), FPS, "retry")
    prefix, name = layout.segments(JOB), segment_name(first, encoding, has_alpha=False)
    left = [layout.segment_record(prefix, name), layout.segment_part(prefix, name, 7)]
    others = layout.segment_part(prefix, "another", 0)
    for key in (*left, others):
        storage.write(key, b"of another ffmpeg")
    with segment_waves(storage) as waves:
        told(waves, images)
        assert encoded_there(waves) == [True] * len(PLAN)

    assert storage.find(left[0]) != b"of another ffmpeg"
    assert storage.find(left[1]) is None
    assert storage.find(others) is not None


def test_a_last_attempt_that_ran_out_of_memory_is_repeated_with_more(
    cloud: Cloud, storage: FolderStorage, images: dict[int, FrameImage], lost
):
    lost(137)
    with segment_waves(storage, retries=0) as waves:
        told(waves, images)
        assert encoded_there(waves) == [True] * len(PLAN)


def test_what_a_task_has_lost_waits_for_no_other_task_of_its_wave(
    cloud: Cloud,
    storage: FolderStorage,
    images: dict[int, FrameImage],
    lost,
    tmp_path: Path,
):
    hold = tmp_path / "lost" / "hold"
    hold.touch()
    lost(1, "held")
    with segment_waves(storage, a_task_each=True) as waves:
        told(waves, images)
        ready = waves.stop().values()
        done, held = wait(ready, 120, return_when=FIRST_COMPLETED)
        assert (len(done), len(held)) == (1, 1)
        hold.unlink()
        assert encoded_there(waves) == [True, True]


def test_what_is_lost_for_good_is_encoded_here(
    cloud: Cloud, storage: FolderStorage, images: dict[int, FrameImage], lost
):
    lost(*[1] * 40)
    with segment_waves(storage, retries=1) as waves:
        told(waves, images)
        assert not any(encoded_there(waves))
        there = video(storage, images, waves)

    assert there == video(storage, images)


def test_a_wave_is_late_only_from_its_first_task_at_work(
    cloud: Cloud, storage: FolderStorage, images: dict[int, FrameImage], tmp_path: Path
):
    cloud.set_knobs(vcpu_quota=0.5)
    # Whatever is at work does not end, and is late at once.
    (tmp_path / "lost" / "wait").touch()
    at_once = replace(HASTE, late=0.0, late_factor=0.0, park_limit=400.0)

    with segment_waves(storage, retries=0, pace=at_once) as waves:
        told(waves, images)
        ready = waves.stop()
        while cloud.calls("executions.get") < 10:
            time.sleep(0.05)
        assert cloud.calls("executions.cancel") == 0
        assert not any(future.done() for future in ready.values())

        cloud.set_knobs(vcpu_quota=20.0)

        assert not any(encoded_there(waves))
        assert cloud.calls("executions.cancel") > 0


@pytest.mark.parametrize("refuses", ["", "not all fit"], ids=["tasks wait", "refused"])
def test_what_google_has_no_room_for_is_told_and_encoded_here_after_a_while(
    cloud: Cloud, storage: FolderStorage, images: dict[int, FrameImage], refuses: str
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
    assert cloud.billed() == []
    assert spent_usd(storage, JOB) == 0


@pytest.mark.parametrize(
    ("refuses", "waves"),
    [("", [2]), ("none fits", [2]), ("not all fit", [1, 1])],
    ids=["tasks wait", "refused when full", "refused unless all fit"],
)
def test_a_wave_that_does_not_fit_is_encoded_whatever_google_makes_of_it(
    cloud: Cloud,
    storage: FolderStorage,
    images: dict[int, FrameImage],
    refuses: str,
    waves: list[int],
):
    cloud.set_knobs(vcpu_quota=1.0, quota_refuses=refuses)
    with segment_waves(storage, a_task_each=True) as encoding:
        told(encoding, images)
        assert encoded_there(encoding) == [True] * len(PLAN)

    plan = read_plan(storage, JOB)
    assert plan is not None
    assert sorted(wave.tasks for wave in plan.waves) == waves
    assert sum(wave.segments for wave in plan.waves) == len(PLAN)
    assert all(wave.billed_usd for wave in plan.waves)
    assert len(cloud.billed()) == len(waves)


def test_room_is_waited_for_as_long_as_frames_are_rendered(
    cloud: Cloud,
    storage: FolderStorage,
    images: dict[int, FrameImage],
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level(logging.INFO)
    cloud.set_knobs(vcpu_quota=0.5, quota_refuses="none fits")
    # Nobody gets to read them.
    frames = range(1, 1201)
    many = {frame: replace(images[1], frame=frame, crc32c=str(frame)) for frame in frames}
    hasty = replace(HASTE, park_limit=0.1)
    with segment_waves(storage, frames=frames, pace=hasty, a_task_each=True) as waves:
        told(waves, dict(list(many.items())[:-1]))
        while cloud.calls("jobs.run") < 10:
            time.sleep(0.05)
        # Which is for longer than room is waited for otherwise.
        assert not [line for line in caplog.messages if "are encoded here" in line]
        assert not any(encoded_there(waves))


def test_a_bucket_that_lets_containers_in_late_costs_no_attempt(
    cloud: Cloud, storage: FolderStorage, images: dict[int, FrameImage], lost
):
    lost(77, 77, 77)
    lines: list[str] = []
    hasty = replace(HASTE, grants=(1.0,) * 9)
    with segment_waves(
        storage, retries=0, pace=hasty, tell=lines.append, a_task_each=True
    ) as waves:
        told(waves, images)
        assert encoded_there(waves) == [True] * len(PLAN)

    assert any("`terraform apply`" in line for line in lines)
    assert lines[-1] == ""


def test_a_bucket_that_lets_nobody_in_leaves_the_video_to_the_flow_and_says_why(
    cloud: Cloud,
    storage: FolderStorage,
    images: dict[int, FrameImage],
    lost,
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level(logging.INFO)
    lost(*[77] * 40)
    hasty = replace(HASTE, grants=(0.1, 0.1))
    with segment_waves(storage, retries=9, pace=hasty, a_task_each=True) as waves:
        told(waves, images)
        assert not any(encoded_there(waves))
        there = video(storage, images, waves)

    assert there == video(storage, images)
    assert cloud.calls("jobs.run") == 3
    (reason,) = [line for line in caplog.messages if "are encoded here" in line]
    assert reason.startswith(f"{len(PLAN)} segments of the video are encoded here: tried 3 times")
    assert "`terraform apply`" in reason


def test_of_a_cancelled_job_nothing_is_started_until_that_is_taken_back(
    cloud: Cloud,
    storage: FolderStorage,
    images: dict[int, FrameImage],
    monkeypatch: pytest.MonkeyPatch,
):
    note, stat, looks = layout.cancel_request(JOB), storage.stat, list[str]()

    def look(key: str) -> StoredObject | None:
        looks.append(key)
        return stat(key)

    monkeypatch.setattr(storage, "stat", look)
    storage.write(note, b"{}")
    with segment_waves(storage) as waves:
        told(waves, images)
        waves.stop()
        while looks.count(note) < 3:
            time.sleep(0.05)
        assert cloud.calls("jobs.run") == 0
        storage.remove(note)
        assert encoded_there(waves) == [True] * len(PLAN)


def test_what_was_started_is_stopped_where_the_rest_is_left_to_the_flow(
    cloud: Cloud,
    storage: FolderStorage,
    images: dict[int, FrameImage],
    monkeypatch: pytest.MonkeyPatch,
):
    cloud.set_knobs(startup_seconds=600.0)
    api, path = GoogleCloudRun(), fleet().job_path(fleet().jobs[0])

    def fail(prefix: str) -> Iterator[StoredObject]:
        raise StorageError("it is away")

    with segment_waves(storage) as waves:
        told(waves, images)
        waves.stop()
        while not api.executions(path):
            time.sleep(0.05)
        monkeypatch.setattr(storage, "list", fail)
        assert not any(encoded_there(waves))

    (execution,) = api.executions(path)
    assert execution.completed is not None


def test_what_would_cost_too_much_is_encoded_here(
    cloud: Cloud, storage: FolderStorage, images: dict[int, FrameImage]
):
    with segment_waves(storage, max_usd=0.0001) as waves:
        told(waves, images)
        assert not any(encoded_there(waves))
        video(storage, images, waves)
    assert spent_usd(storage, JOB) == 0


def test_what_was_spent_before_counts_for_attempts_too(
    cloud: Cloud, storage: FolderStorage, images: dict[int, FrameImage], lost
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
from povstorm_client.storage.protocol import Storage
from render_image.video.segments import FrameImage, StoredImage
from tests.integration.test_segment_waves import FRAMES, segment_waves, stored_images, told

storage = FolderStorage(Path(sys.argv[1]))
with segment_waves(storage, a_task_each=True) as waves:
    told(waves, stored_images(storage))
    print(len(waves.stop()), flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("waves", [[2], [1, 1]], ids=["whole", "of which half was started"])
def test_the_next_run_takes_over_what_a_killed_one_has_left_running(
    cloud: Cloud,
    storage: FolderStorage,
    images: dict[int, FrameImage],
    tmp_path: Path,
    waves: list[int],
):
    here = video(storage, images)
    if len(waves) > 1:
        cloud.set_knobs(vcpu_quota=1.0, quota_refuses="not all fit")
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
    plan = read_plan(storage, JOB)
    assert plan is not None
    assert [(wave.tasks, wave.segments) for wave in plan.waves] == [(each, each) for each in waves]

    with segment_waves(storage, a_task_each=True) as going_on:
        told(going_on, images)
        ready = going_on.stop()
        (tmp_path / "lost" / "wait").unlink()
        assert [future.exception() for future in ready.values()] == [None] * len(ready)
        assert video(storage, images, going_on) == here
    executions = api.executions(path)
    assert [each.task_count for each in executions] == waves
    assert {each.name for each in left} <= {each.name for each in executions}


def test_a_cancelled_run_stops_what_it_has_started(
    cloud: Cloud, storage: FolderStorage, images: dict[int, FrameImage]
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


def rendering(storage: FolderStorage) -> None:
    """Have frames being rendered by four tasks."""
    wave = StoredWave(
        wave="w0001-test",
        render_job="small",
        tasks=4,
        frames=len(FRAMES),
        submitted=time.time(),
        completed=None,
        failed_tasks=0,
        predicted_seconds=0.0,
        predicted_usd=0.0,
        billed_usd=None,
    )
    assert reserve(storage, JOB, wave, None) is None


def told_soon(
    waves: SegmentWaves, images: dict[int, FrameImage], *later: int
) -> dict[int, FrameImage]:
    """Tell of all frames but these, which will soon be there."""
    waves.frame_took(1.0)
    told(waves, {frame: image for frame, image in images.items() if frame not in later})
    return {frame: images[frame] for frame in later}


def started() -> str:
    """The name of the first execution, once any of its tasks is at work, or was."""
    api, path = GoogleCloudRun(), fleet().job_path(fleet().jobs[0])
    while not (begun := [each.name for each in api.executions(path) if each.has_begun]):
        time.sleep(0.05)
    return begun[0]


def segment_waves_planned(storage: FolderStorage) -> list[StoredWave]:
    plan = read_plan(storage, JOB)
    assert plan is not None
    return [wave for wave in plan.waves if wave.segments]


@pytest.mark.parametrize("fate", ["", "delivered twice", "lost"])
def test_containers_that_were_started_ahead_encode_what_comes_then(
    fate: str, cloud: Cloud, storage: FolderStorage, images: dict[int, FrameImage], lost
):
    here = video(storage, images)
    rendering(storage)
    cloud.set_knobs(run_tasks_twice=fate == "delivered twice")
    lost(*[1] * (fate == "lost"))
    with segment_waves(storage, pace=AHEAD) as waves:
        last = told_soon(waves, images, 1, 20)
        started()
        told(waves, last)
        assert encoded_there(waves) == [True, True]
        assert video(storage, images, waves) == here

    ahead, *others = segment_waves_planned(storage)
    # What they may wait is in it.
    assert ahead.predicted_usd > ahead.tasks * 70 * 1.8e-5
    assert ahead.billed_usd
    # What the lost one was given just then is encoded by another.
    assert len(others) <= (fate == "lost")


def test_containers_that_wait_in_vain_end_by_themselves_and_others_encode(
    cloud: Cloud, storage: FolderStorage, images: dict[int, FrameImage]
):
    here = video(storage, images)
    rendering(storage)
    with segment_waves(storage, pace=replace(AHEAD, patience=0.1)) as waves:
        last = told_soon(waves, images, 1, 20)
        name = started()
        while (ended := GoogleCloudRun().execution(name)).completed is None:
            time.sleep(0.05)
        assert (ended.succeeded, ended.failed, ended.cancelled) == (2, 0, 0)
        told(waves, last)
        assert encoded_there(waves) == [True, True]
        assert video(storage, images, waves) == here

    ahead, others = segment_waves_planned(storage)
    assert ahead.billed_usd
    assert others.segments == 2


def test_containers_are_told_when_nothing_more_will_come(
    cloud: Cloud, storage: FolderStorage, images: dict[int, FrameImage]
):
    rendering(storage)
    with segment_waves(storage, pace=AHEAD) as waves:
        told_soon(waves, images, 1, 20)
        name = started()
        # As when a frame has failed.
        assert waves.stop() == {}
        while (ended := GoogleCloudRun().execution(name)).completed is None:
            time.sleep(0.05)
    assert (ended.succeeded, ended.failed, ended.cancelled) == (2, 0, 0)


def test_containers_wait_for_nothing_that_would_cost_too_much(
    cloud: Cloud,
    storage: FolderStorage,
    images: dict[int, FrameImage],
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level(logging.INFO)
    rendering(storage)
    # Two tasks for a minute each, and not for what they might wait.
    with segment_waves(storage, pace=AHEAD, max_usd=0.0025) as waves:
        last = told_soon(waves, images, 20)
        while "no containers wait" not in caplog.text:
            time.sleep(0.05)
        told(waves, last)
        assert encoded_there(waves) == [True, True]
        video(storage, images, waves)
    assert 0 < spent_usd(storage, JOB) <= 0.0025


def test_what_has_the_video_only_sooner_leaves_money_to_frames_that_are_tried_again(
    cloud: Cloud,
    storage: FolderStorage,
    images: dict[int, FrameImage],
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level(logging.INFO)
    rendering(storage)
    with segment_waves(storage, pace=AHEAD) as waves:
        told_soon(waves, images, 1, 20)
        started()
    (ahead,) = segment_waves_planned(storage)
    storage.remove(layout.plan(JOB))

    rendering(storage)
    with segment_waves(storage, pace=AHEAD, max_usd=1.05 * ahead.predicted_usd) as waves:
        told_soon(waves, images, 1, 20)
        while "no containers wait" not in caplog.text:
            time.sleep(0.05)
    assert segment_waves_planned(storage) == []


def test_what_finds_no_room_ahead_is_started_as_any_other(
    cloud: Cloud, storage: FolderStorage, images: dict[int, FrameImage]
):
    here = video(storage, images)
    rendering(storage)
    cloud.set_knobs(vcpu_quota=0.5, quota_refuses="not all fit")
    with segment_waves(storage, pace=AHEAD) as waves:
        last = told_soon(waves, images, 20)
        while cloud.calls("jobs.run") < 2:
            time.sleep(0.05)
        told(waves, last)
        cloud.set_knobs(vcpu_quota=20.0)
        assert encoded_there(waves) == [True, True]
        assert video(storage, images, waves) == here


def test_what_may_have_been_started_ahead_is_counted(
    cloud: Cloud,
    storage: FolderStorage,
    images: dict[int, FrameImage],
    monkeypatch: pytest.MonkeyPatch,
):
    rendering(storage)
    cloud.set_knobs(lose_answers=1)
    executions, looked_again = GoogleCloudRun.executions, threading.Event()
    looks = 0

    def none_listed_yet(api: GoogleCloudRun, job: str) -> list[ExecutionState]:
        nonlocal looks
        if not cloud.calls("jobs.run"):
            return executions(api, job)
        looks += 1
        if looks == 1:
            told(waves, {20: images[20]})
            assert looked_again.wait(120)
        looked_again.set()
        return []

    monkeypatch.setattr(GoogleCloudRun, "executions", none_listed_yet)
    with segment_waves(storage, pace=AHEAD) as waves:
        told_soon(waves, images, 20)
        assert looked_again.wait(120)
        assert encoded_there(waves) == [True, True]
    ahead, others = segment_waves_planned(storage)
    assert others.billed_usd
    assert spent_usd(storage, JOB) == ahead.predicted_usd + others.billed_usd


def test_what_a_killed_run_encodes_goes_on_if_the_last_frame_comes_as_containers_are_started_ahead(
    cloud: Cloud,
    storage: FolderStorage,
    images: dict[int, FrameImage],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    rendering(storage)
    (tmp_path / "lost" / "wait").touch()
    killed = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(storage.root)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
    )
    name = started()
    killed.kill()
    killed.communicate()
    last = {20: images[20]}
    executions, listed = GoogleCloudRun.executions, threading.Event()

    def executions_meanwhile(api: GoogleCloudRun, job: str) -> list[ExecutionState]:
        told(waves, last)
        listed.set()
        return executions(api, job)

    monkeypatch.setattr(GoogleCloudRun, "executions", executions_meanwhile)
    with segment_waves(storage, pace=AHEAD) as waves:
        told_soon(waves, images, *last)
        assert listed.wait(120)
        (tmp_path / "lost" / "wait").unlink()
        assert encoded_there(waves) == [True, True]
    (execution,) = GoogleCloudRun().executions(fleet().job_path(fleet().jobs[0]))
    assert (execution.name, execution.cancelled) == (name, 0)


KILLED_AHEAD = (
    KILLED.replace(
        """    told(waves, stored_images(storage))
    print(len(waves.stop()), flush=True)
""",
        """    told_soon(waves, stored_images(storage), 1, 20)
    print("told", flush=True)
""",
    )
    .replace("segment_waves(storage)", "segment_waves(storage, pace=AHEAD)")
    .replace(
        "import FRAMES, segment_waves, stored_images, told",
        "import AHEAD, segment_waves, stored_images, told_soon",
    )
)


def test_the_next_run_gives_the_containers_of_a_killed_one_what_they_wait_for(
    cloud: Cloud, storage: FolderStorage, images: dict[int, FrameImage]
):
    here = video(storage, images)
    rendering(storage)
    killed = subprocess.Popen(
        [sys.executable, "-c", KILLED_AHEAD, str(storage.root)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
    )
    name = started()
    killed.kill()
    killed.communicate()
    planned = segment_waves_planned(storage)

    with segment_waves(storage) as waves:
        told(waves, images)
        assert encoded_there(waves) == [True, True]
        assert video(storage, images, waves) == here

    executions = GoogleCloudRun().executions(fleet().job_path(fleet().jobs[0]))
    assert [execution.name for execution in executions] == [name]
    # It is the killed run's, whose word on its cost stands.
    assert segment_waves_planned(storage) == planned
    assert spent_usd(storage, JOB) == planned[0].predicted_usd
