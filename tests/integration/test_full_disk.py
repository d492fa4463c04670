"""A disk that is really full is told as that, with its folder; a frame goes on when there is room.

The disks are small tmpfs in a mount namespace of a child process's own, which needs no root.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from PIL import Image

from povstorm_client import RenderSettings, StorageError, WorkUnit
from povstorm_client.cleaning.job_deletion import delete_job, storage_time
from povstorm_client.errors import RenderError, VideoError
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.programs.tools import require_povray
from povstorm_client.storage import layout
from povstorm_client.storage.disk_full import full_folders, is_disk_full
from povstorm_client.storage.folder import FolderStorage
from render_image.frame_limits import Limits
from render_image.povray_failure import raise_for_exit
from render_image.process import ProcessExit
from render_image.render_unit import render_unit
from tasks.stored.frame_cache import FrameCache
from tasks.stored.stored_results import cache_key
from tests.conftest import SPHERE
from tests.integration.video_files import encode_video, half_made, segment_store

ROOT = Path(__file__).parents[2]
_MOUNT = 'mount -t tmpfs -o size="$1" none "$2" && shift 2 && exec "$@"'


@functools.cache
def why_no_disk() -> str:
    """Why no disk can be mounted here; "" if one can."""
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return done.stderr.strip() if done.returncode else ""


@pytest.fixture
def on_small_disk(tmp_path: Path) -> Callable[..., None]:
    """A function that runs another in a process that has a disk of so many KiB, and its folder."""
    if why_no_disk():
        pytest.skip(f"no file system can be mounted here: {why_no_disk()}")
    (tmp_path / "disk").mkdir()

    def run(function: Callable[[Path], None], kib: int) -> None:
        program = (
            "import sys, pathlib; from tests.integration import test_full_disk as tests; "
            f"tests.{function.__name__}(pathlib.Path(sys.argv[1]))"
        )
        disk = str(tmp_path / "disk")
        done = subprocess.run(
            [
                *("unshare", "-rm", "sh", "-c", _MOUNT, "sh", f"{kib}k", disk),
                *(sys.executable, "-c", program, disk),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        assert done.returncode == 0, done.stderr

    return run


def fill(disk: Path) -> Path:
    """Leave no room on the disk; returns the file that takes it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65_536, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                assert is_disk_full(error)
    assert full_folders([disk]) == [disk]
    return filler


def unit(scene: str = SPHERE, width: int = 32) -> WorkUnit:
    made = WorkUnit(RenderSettings("a.pov", width=width, height=width))
    made.add_inline_resource("a.pov", scene)
    return made.assigned(job_id="a", shared_prefix="", offload_prefix=layout.output("a"))


def render(made: WorkUnit, storage: FolderStorage) -> FrameResult:
    return asyncio.run(render_unit(made, storage, require_povray(), final_attempt=False))


def fails_for_the_disk(made: WorkUnit, storage: FolderStorage, folder: Path) -> None:
    try:
        render(made, storage)
    except (RenderError, StorageError) as error:
        message, retryable = str(error), getattr(error, "retryable", True)
    else:
        raise AssertionError("it was rendered")
    assert retryable, message
    assert "the disk is full" in message, message
    assert str(folder) in message, message


def full_temporary_folder(disk: Path) -> None:
    tempfile.tempdir = str(disk)
    storage = FolderStorage(Path(os.environ["STORAGE"]))
    filler = fill(disk)
    fails_for_the_disk(unit(), storage, disk)
    stored = FrameResult.from_json(
        json.loads(storage.read(layout.result("a", unit().work_unit_id)))
    )
    assert stored.state == "retrying"
    assert "the disk is full" in stored.error
    filler.unlink()
    assert render(unit(), storage).state == "rendered"
    assert list(disk.iterdir()) == []


def test_a_full_temporary_folder_fails_the_frame_until_there_is_room(
    on_small_disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("STORAGE", str(tmp_path / "storage"))
    on_small_disk(full_temporary_folder, 1024)


@pytest.mark.parametrize(
    "log",
    [
        "",
        "Rendered 1024 of 7680",
        "Fatal error in renderer: Frontend halted render.\nRender failed\n",
        "Cannot write: No space left on device\nRender failed\n",
    ],
)
def test_what_povray_says_of_a_full_disk_can_pass(log: str, tmp_path: Path):
    exited = ProcessExit(1, 0.0, 0.0, 0, timed_out=False)
    with pytest.raises(RenderError) as failed:
        raise_for_exit(exited, log, None, Limits(), tmp_path)
    assert failed.value.retryable
    if "Frontend" in log:
        assert "most likely the disk is full" in str(failed.value)


def wrong_scene_on_a_full_disk(disk: Path) -> None:
    tempfile.tempdir = str(disk)
    storage = FolderStorage(Path(os.environ["STORAGE"]))
    scene = MUCH.replace("30000", "3000") + '#error "no sphere"\n'
    try:
        render(unit(scene), storage)
    except RenderError as error:
        assert "no sphere" in str(error), error
        assert not error.retryable
    else:
        raise AssertionError("it was rendered")


def test_a_mistake_in_the_scene_is_told_rather_than_that_its_disk_is_full(
    on_small_disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("STORAGE", str(tmp_path / "storage"))
    on_small_disk(wrong_scene_on_a_full_disk, 192)


MUCH = """#fopen F "output/much.txt" write
#declare I = 0;
#while (I < 30000) #write(F, "0123456789012345678901234567890123456789") #declare I = I + 1; #end
#fclose F
"""


def more_than_fits(disk: Path) -> None:
    tempfile.tempdir = str(disk)
    storage = FolderStorage(Path(os.environ["STORAGE"]))
    for made in (unit(width=640), unit(MUCH + SPHERE)):
        fails_for_the_disk(made, storage, disk)


def test_a_frame_that_needs_more_room_than_there_is_says_so(
    on_small_disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("STORAGE", str(tmp_path / "storage"))
    on_small_disk(more_than_fits, 256)


def full_storage(disk: Path) -> None:
    storage = FolderStorage(disk / "storage")
    storage.write("jobs/a/job.json", b"old")
    filler = fill(disk)
    fails_for_the_disk(unit(), storage, disk)
    for use in (
        lambda: storage.write("jobs/a/job.json", b"x" * 10_000),
        lambda: storage.create("jobs/a/new.json", b"x" * 10_000),
        lambda: storage.upload("jobs/a/new.json", filler),
    ):
        try:
            use()
        except StorageError as error:
            assert "the disk is full" in str(error), error
            assert "povstorm clean" in str(error), error
            assert "povstorm retry" not in str(error), "who knows the job says that"
        else:
            raise AssertionError("it was written")
    assert storage.read("jobs/a/job.json") == b"old"
    storage_time(storage)
    delete_job(storage, "a", with_cache=True)
    assert list(storage.list(layout.JOBS)) == []
    filler.unlink()
    assert list((disk / "storage" / layout.PARTIALS).iterdir()) == []
    assert render(unit(), storage).state == "rendered"


def test_a_full_storage_fails_the_frame_until_there_is_room_and_can_be_cleaned(on_small_disk):
    on_small_disk(full_storage, 1024)


def cache_without_room(disk: Path) -> None:
    storage = FolderStorage(disk / "storage")
    result = render(unit(), storage)
    name = cache_key(unit(), result.renderer_version)
    filler = fill(disk)
    told: list[str] = []
    cache = FrameCache(storage, told.append)
    for _ in range(2):
        asyncio.run(cache.write(name, result))
    assert len(told) == 1, told
    assert "will not be found in the cache" in told[0], told
    assert "the disk is full" in told[0], told
    assert FrameResults(storage, "a").all() == [result]
    filler.unlink()

    async def run_again() -> None:
        again = FrameCache(storage, told.append)
        again.complete({name: result})
        await again.flush()

    asyncio.run(run_again())
    assert FrameCache(storage).read(name) == result
    assert len(told) == 1, told


def test_a_cache_that_finds_no_room_costs_no_frame_and_the_next_run_makes_up_for_it(on_small_disk):
    on_small_disk(cache_without_room, 1024)


def noise_images(folder: Path) -> list[tuple[int, Path]]:
    images = []
    for frame in (1, 2, 3):
        path = folder / f"frame_{frame}.png"
        Image.effect_noise((320, 240), 99).convert("RGB").save(path)
        images.append((frame, path))
    return images


def video_without_temporary_room(disk: Path) -> None:
    tempfile.tempdir = str(disk)
    images = noise_images(Path(os.environ["STORAGE"]))
    fill(disk)
    try:
        encode_video(
            images,
            Path(os.environ["STORAGE"]) / "video.mp4",
            fps=Fraction(24),
            expected_frames=[1, 2, 3],
        )
    except VideoError as error:
        assert "the disk is full" in str(error), error
        assert str(disk) in str(error), error
        assert "TMPDIR" in str(error), error
    else:
        raise AssertionError("it was encoded")


def test_a_video_that_finds_no_room_for_temporary_files_says_so(
    on_small_disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("STORAGE", str(tmp_path))
    on_small_disk(video_without_temporary_room, 1024)


def video_that_does_not_fit(disk: Path) -> None:
    folder = Path(os.environ["STORAGE"])
    images = noise_images(folder)
    storage = segment_store(disk / "videos").storage
    fill(disk)
    try:
        encode_video(
            images, disk / "videos" / "video.mp4", fps=Fraction(24), expected_frames=[1, 2, 3]
        )
    except StorageError as error:
        assert "the disk is full" in str(error), error
        assert str(disk) in str(error), error
        assert "povstorm clean" in str(error), error
    else:
        raise AssertionError("it was encoded")
    assert list(storage.list("segments")) == []
    assert half_made(disk / "videos") == []


def test_a_video_that_does_not_fit_into_the_storage_says_so(
    on_small_disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("STORAGE", str(tmp_path))
    on_small_disk(video_that_does_not_fit, 1024)


def full_output_folder(disk: Path) -> None:
    storage = FolderStorage(Path(os.environ["STORAGE"]))
    storage.write("jobs/a/output/frame_1.png", b"x" * 200_000)
    (disk / "frame_1.png").write_bytes(b"old")
    filler = fill(disk)
    try:
        storage.download("jobs/a/output/frame_1.png", disk / "frame_1.png")
    except StorageError as error:
        assert f"cannot save frame_1.png: the disk is full: no room is left in {disk}" in str(error)
    else:
        raise AssertionError("it was saved")
    assert (disk / "frame_1.png").read_bytes() == b"old"
    assert {path.name for path in disk.iterdir()} == {"frame_1.png", "filler"}
    filler.unlink()
    storage.download("jobs/a/output/frame_1.png", disk / "frame_1.png")


def test_results_that_do_not_fit_into_the_users_folder_name_it(
    on_small_disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("STORAGE", str(tmp_path / "storage"))
    on_small_disk(full_output_folder, 512)
