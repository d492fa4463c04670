"""What povstorm stores is its user's alone, whatever the umask; what it saves follows the umask."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from povstorm_client import Cluster, RenderSettings, WorkUnit
from povstorm_client.errors import StorageError
from povstorm_client.jobs import shared_resources
from povstorm_client.launch.flow_process import FlowProcess
from povstorm_client.programs.sandbox_mode import SandboxMode
from povstorm_client.programs.tools import require_povray
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.private_files import append_to_private_file, make_private_folder
from povstorm_client.storage.protocol import saved_whole
from render_image.render_unit import render_unit
from tests.conftest import SPHERE


def with_umask(mask: int) -> Iterator[int]:
    before = os.umask(mask)
    yield mask
    os.umask(before)


@pytest.fixture(params=[0o000, 0o077, 0o277], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    yield from with_umask(request.param)


@pytest.fixture(params=[0o000, 0o077], ids=oct)
def usual_umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """One that lets its user write into the folders that he makes."""
    yield from with_umask(request.param)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def assert_private(root: Path) -> None:
    for path in [root, *root.rglob("*")]:
        assert mode(path) == (0o700 if path.is_dir() else 0o600), path


def test_folders_and_files_are_made_for_their_user_alone(tmp_path: Path, umask: int):
    (tmp_path / "file").write_bytes(b"content")
    storage = FolderStorage(tmp_path / "storage")
    storage.write("jobs/a/job.json", b"{}")
    storage.create("jobs/a/claims/one.json", b"{}")
    storage.upload("blobs/sha256/x", tmp_path / "file")
    storage.copy("blobs/sha256/x", "shared/tree/maps/x")
    storage.mount("shared/empty", tmp_path / "mounted")
    append_to_private_file(storage.path("jobs/a/logs/flow.txt")).close()

    assert_private(storage.root)


def test_what_lies_open_from_before_is_closed_when_it_is_written_to(tmp_path: Path):
    storage = FolderStorage(tmp_path / "storage")
    storage.write("blobs/sha256/x", b"content")
    storage.path("blobs/sha256/x").chmod(0o644)
    storage.root.chmod(0o755)

    cluster = Cluster(storage.uri)
    cluster.adopt()
    assert mode(storage.root) == 0o755
    _ = cluster.claimed_storage

    assert mode(storage.root) == 0o700
    storage.copy("blobs/sha256/x", "shared/tree/x")
    assert mode(storage.path("shared/tree/x")) == 0o600


def test_the_folders_above_a_storage_are_made_as_usual(tmp_path: Path, usual_umask: int):
    FolderStorage(tmp_path / "above" / "storage")

    assert mode(tmp_path / "above") == 0o777 & ~usual_umask
    assert mode(tmp_path / "above" / "storage") == 0o700


def test_a_saved_file_is_the_users_own_with_the_umasks_rights(tmp_path: Path, umask: int):
    storage = FolderStorage(tmp_path / "storage")
    storage.write("a/image", b"pixels")
    (tmp_path / "old.png").touch(0o600)

    for name in ("new.png", "old.png"):
        storage.download("a/image", tmp_path / name)
        saved = tmp_path / name
        assert mode(saved) == 0o666 & ~umask
        assert saved.stat().st_ino != storage.path("a/image").stat().st_ino
        assert saved.stat().st_nlink == 1


def test_a_save_replaces_a_link_and_leaves_alone_what_it_leads_to(tmp_path: Path):
    storage = FolderStorage(tmp_path / "storage")
    storage.write("a/image", b"pixels")
    (tmp_path / "mine.png").write_bytes(b"mine")
    (tmp_path / "link.png").symlink_to("mine.png")
    os.link(tmp_path / "mine.png", tmp_path / "other-name.png")

    storage.download("a/image", tmp_path / "link.png")
    storage.download("a/image", tmp_path / "other-name.png")

    assert (tmp_path / "mine.png").read_bytes() == b"mine"
    assert (tmp_path / "link.png").read_bytes() == b"pixels"
    assert not (tmp_path / "link.png").is_symlink()


def test_a_save_that_breaks_off_leaves_the_file_as_it_was(tmp_path: Path):
    (tmp_path / "image.png").write_bytes(b"old")

    def break_off() -> None:
        with saved_whole(tmp_path / "image.png") as partial:
            partial.write_bytes(b"ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert [path.name for path in tmp_path.iterdir()] == ["image.png"]
    assert (tmp_path / "image.png").read_bytes() == b"old"


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_a_save_over_what_is_no_file_is_refused(tmp_path: Path, make):
    make(tmp_path / "taken")

    with (
        pytest.raises(StorageError, match=r"taken is there and no file"),
        saved_whole(tmp_path / "taken"),
    ):
        pytest.fail("nothing is to be written")


def test_what_was_being_written_when_it_broke_off_is_cleared_away_after_a_day(tmp_path: Path):
    storage = FolderStorage(tmp_path / "storage")
    partials = storage.root / layout.PARTIALS
    make_private_folder(partials)
    for name, age in (("old", 25 * 3600), ("new", 3600)):
        (partials / name).write_bytes(b"half")
        os.utime(partials / name, (time.time() - age, time.time() - age))

    storage.prepare()

    assert [path.name for path in partials.iterdir()] == ["new"]


def test_a_flow_writes_its_log_and_all_else_for_its_user_alone(
    tmp_path: Path, umask: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        "povstorm_client.launch.flow_process.sys.executable",
        str(fake_python(tmp_path, tmp_path / "made")),
    )
    log = tmp_path / "home" / "flow_logs" / "job.txt"
    flow = FlowProcess("file:///x/jobs/a", "", log, sandbox="off")
    try:
        while flow.returncode is None:
            time.sleep(0.01)
    finally:
        flow.stop()

    assert log.read_text() == "ran\n"
    assert_private(tmp_path / "home")
    assert mode(tmp_path / "made") == 0o600


def fake_python(folder: Path, made: Path) -> Path:
    """A program in Python's place that makes a file, as a flow makes many."""
    program = folder / "python"
    program.write_text(f"#!/bin/sh\necho ran\n: > {made}\n")
    program.chmod(0o700)
    return program


@pytest.mark.parametrize("sandbox", ["auto", "off"])
@pytest.mark.usefixtures("usual_umask")
def test_a_frame_still_sees_its_shared_files_and_leaves_private_ones(
    tmp_path: Path, sandbox: SandboxMode
):
    storage = FolderStorage(tmp_path / "storage")
    (tmp_path / "sphere.pov").write_text(SPHERE)
    digests = shared_resources.upload_missing(storage, {"sphere.pov": tmp_path / "sphere.pov"})
    unit = WorkUnit(RenderSettings("shared/sphere.pov", width=16, height=12)).assigned(
        job_id="a",
        shared_prefix=shared_resources.stage(storage, digests),
        offload_prefix=layout.output("a"),
    )

    result = asyncio.run(render_unit(unit, storage, require_povray(), sandbox=sandbox))

    assert result.state == "rendered"
    assert_private(storage.root)
