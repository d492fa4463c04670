"""One frame through real POV-Ray: image, result, log, and what counts as a failure."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from povstorm_client import RenderError, RenderSettings, WorkUnit
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.programs.tools import PovRay, require_povray
from povstorm_client.storage import layout
from povstorm_client.storage.checksum import crc32c
from povstorm_client.storage.folder import FolderStorage
from render_image.render_unit import render_unit
from tests.conftest import SPHERE

JOB = "job"


def assigned(unit: WorkUnit) -> WorkUnit:
    return unit.assigned(job_id=JOB, shared_prefix="", offload_prefix=layout.output(JOB))


def render(unit: WorkUnit, storage: FolderStorage, povray: PovRay | None = None, **options):
    if povray is not None:
        # The fakes are shell scripts, and in the sandbox there is no shell.
        options["sandbox"] = "off"
    return asyncio.run(render_unit(unit, storage, povray or require_povray(), **options))


def stored_result(storage: FolderStorage, unit: WorkUnit) -> FrameResult:
    return FrameResult.from_json(json.loads(storage.read(layout.result(JOB, unit.work_unit_id))))


def fake_povray(folder: Path, script: str) -> PovRay:
    """A program that behaves as a broken POV-Ray would; the real one can't be made to."""
    program = folder / "povray"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return PovRay(program, "3.7.0.test")


def test_a_rendered_frame_is_stored_with_its_checksum_log_and_statistics(
    sphere_unit, storage: FolderStorage
):
    unit = assigned(sphere_unit(frame=2))
    result = render(unit, storage)
    image = storage.path(f"{layout.output(JOB)}/frame_2.png")
    with Image.open(image) as decoded:
        assert decoded.size == (32, 24)
    assert (result.image_bytes, result.image_crc32c) == (image.stat().st_size, crc32c(image))
    assert "POV-Ray finished" in storage.read(layout.log(JOB, unit.work_unit_id)).decode()
    statistics = result.statistics
    assert statistics.pixels == 32 * 24
    assert statistics.rays >= statistics.pixels
    assert statistics.peak_memory_bytes > 5_000_000
    assert 0 < statistics.cpu_seconds < statistics.wall_seconds * os.cpu_count()


@pytest.mark.parametrize("sub_frames", [0, 2])
def test_that_povray_has_ended_is_told_once_and_before_anything_is_stored(
    storage: FolderStorage, sub_frames: int
):
    settings = RenderSettings("sphere.pov", 8, 6, final_frame=2, motion_blur=sub_frames)
    unit = WorkUnit(settings, frame=1)
    unit.add_inline_resource("sphere.pov", SPHERE)
    unit = assigned(unit)
    logs: list[bytes | None] = []

    render(unit, storage, on_ended=lambda: logs.append(FrameResults(storage, JOB).log(unit)))

    assert logs == [None]


def test_what_a_scene_writes_to_output_is_kept(sphere_unit, storage: FolderStorage):
    scene = SPHERE + '#fopen F "output/notes.txt" write\n#write (F, "hello")\n#fclose F\n'
    result = render(assigned(sphere_unit(scene=scene)), storage)
    assert result.extra_outputs == ["notes.txt"]
    assert storage.read(f"{layout.output(JOB)}/notes.txt") == b"hello"


def test_the_users_environment_and_ini_do_not_reach_povray(
    sphere_unit, storage: FolderStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ini = tmp_path / "povray.ini"
    ini.write_text("Quality=0\n")
    plain = render(assigned(sphere_unit()), storage)
    monkeypatch.setenv("POVINI", str(ini))
    with_ini = render(assigned(sphere_unit()), storage)
    assert with_ini.statistics.rays == plain.statistics.rays


@pytest.mark.parametrize(
    ("scene", "words"),
    [
        ('#include "nowhere.inc"', r"Cannot open include file nowhere\.inc"),
        ("sphere { 0 1 ", "Parse Error"),
        ('#error "that\'s it"', "halted by #error directive: that's it"),
    ],
)
def test_a_parse_error_is_final_and_has_povrays_own_line(
    sphere_unit, storage: FolderStorage, scene: str, words: str
):
    unit = assigned(sphere_unit(scene=scene))
    with pytest.raises(RenderError, match=words) as error:
        render(unit, storage, attempt=1, final_attempt=False)
    assert not error.value.retryable
    assert list(storage.list(layout.output(JOB))) == []
    assert b'"failed"' in storage.read(layout.result(JOB, unit.work_unit_id))


def test_a_failure_leaves_the_frame_that_another_container_has_rendered(
    sphere_unit, storage: FolderStorage
):
    unit = assigned(sphere_unit())
    rendered = render(unit, storage)
    broken = replace(rendered, state="retrying", error="POV-Ray was killed by signal 9")

    assert FrameResults(storage, unit.job_id).fail(broken) == rendered
    assert stored_result(storage, unit) == rendered

    storage.delete(layout.result(unit.job_id, unit.work_unit_id))
    assert FrameResults(storage, unit.job_id).fail(broken) == broken
    again = replace(broken, attempt=2)
    assert FrameResults(storage, unit.job_id).fail(again) == again
    assert stored_result(storage, unit) == again


def test_a_frame_rendered_twice_is_the_same_file_and_the_first_result_stays(
    sphere_unit, storage: FolderStorage
):
    unit = assigned(sphere_unit())
    image = storage.path(f"{layout.output(JOB)}/frame_1.png")
    first = render(unit, storage, attempt=1)
    before = image.read_bytes()
    time.sleep(1)  # POV-Ray writes the time in whole seconds

    assert render(unit, storage, attempt=2) == first
    assert image.read_bytes() == before
    assert stored_result(storage, unit) == first


def test_a_result_is_replaced_where_its_image_is_another(sphere_unit, storage: FolderStorage):
    unit = assigned(sphere_unit())
    first = render(unit, storage)
    other = replace(first, image_crc32c="AAAAAA==", attempt=2)

    assert FrameResults(storage, unit.job_id).commit(other) == other
    assert stored_result(storage, unit) == other


@pytest.mark.parametrize(
    ("script", "words", "retryable"),
    [
        ("kill -9 $$", "killed by signal 9", True),
        ("exit 137", "exited with 137", True),
        ("exit 2", "exited with 2", True),
        ("echo 'Out of memory' >&2; exit 1", "Out of memory|exited with 1", True),
        ("exit 0", "wrote no frame_1.png", False),
        ("echo broken > output/frame_1.png", "not a whole image", True),
    ],
)
def test_only_what_can_pass_is_worth_another_attempt(
    sphere_unit, storage: FolderStorage, tmp_path: Path, script: str, words: str, retryable: bool
):
    unit = assigned(sphere_unit())
    with pytest.raises(RenderError, match=words) as error:
        render(unit, storage, fake_povray(tmp_path, script), attempt=1, final_attempt=False)
    assert error.value.retryable is retryable
    state = b'"retrying"' if retryable else b'"failed"'
    assert state in storage.read(layout.result(JOB, unit.work_unit_id))
    assert list(storage.list(layout.output(JOB))) == []


def test_a_truncated_image_and_one_of_another_size_are_no_images(
    sphere_unit, storage: FolderStorage, tmp_path: Path
):
    good = render(assigned(sphere_unit()), storage)
    image = storage.path(f"{layout.output(JOB)}/{good.image}")
    half = tmp_path / "half.png"
    half.write_bytes(image.read_bytes()[: good.image_bytes // 2])
    copy_half = fake_povray(tmp_path, f"cp {half} output/frame_1.png")
    with pytest.raises(RenderError, match="not a whole image"):
        render(assigned(sphere_unit()), storage, copy_half)
    larger = assigned(sphere_unit())
    larger = replace(larger, settings=replace(larger.settings, width=64))
    copy_whole = fake_povray(tmp_path, f"cp {image} output/frame_1.png")
    with pytest.raises(RenderError, match="is 32x24 pixels, not 64x24"):
        render(larger, storage, copy_whole)


def test_a_process_that_takes_too_long_is_killed_with_its_children(
    sphere_unit, storage: FolderStorage, tmp_path: Path
):
    pids = tmp_path / "pids"
    slow = fake_povray(tmp_path, f"sleep 600 & echo $! > {pids}; wait")
    with pytest.raises(RenderError, match=r"stopped after 0\.5 s"):
        render(assigned(sphere_unit()), storage, slow, timeout=0.5)
    child = Path("/proc") / pids.read_text().strip() / "stat"
    assert not child.exists() or child.read_text().rsplit(")", 1)[1].split()[0] == "Z"


def test_no_workspace_is_left_behind(
    sphere_unit, storage: FolderStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(tmp_path.iterdir())
    render(assigned(sphere_unit()), storage)
    with pytest.raises(RenderError):
        render(assigned(sphere_unit(scene="bad")), storage)
    assert {path for path in tmp_path.iterdir() if path.name.startswith("povstorm-")} <= before
