"""What runs with POV-Ray's rights gets nothing of the machine stored, and fails its own frame only.

A shell script stands for a POV-Ray that was taken over, without a sandbox, where it can do all that
the frame's user can: what it leaves in its folders is looked at from outside all the same.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from PIL import Image

from povstorm_client import RenderError, WorkUnit
from povstorm_client.frames.result import FrameResult
from povstorm_client.programs.tools import PovRay, require_povray
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from render_image import render_unit as module
from render_image.frame_limits import Limits
from render_image.render_unit import render_unit
from tests.conftest import SPHERE

JOB = "job"


@pytest.fixture
def unit(sphere_unit) -> WorkUnit:
    return sphere_unit().assigned(job_id=JOB, shared_prefix="", offload_prefix=layout.output(JOB))


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A folder of the user's, with an image that could be taken for the frame's."""
    folder = tmp_path / "host"
    folder.mkdir()
    Image.new("RGB", (32, 24)).save(folder / "frame_1.png", pnginfo=None)
    (folder / "letter.txt").write_text("private")
    return folder


def run_instead(script: str, unit: WorkUnit, storage: FolderStorage, folder: Path, **options):
    program = folder / "povray"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    povray = PovRay(program, "3.7.0.test")
    return asyncio.run(render_unit(unit, storage, povray, sandbox="off", **options))


def stored_outputs(storage: FolderStorage) -> list[str]:
    return [entry.key for entry in storage.list(layout.output(JOB))]


def result_of(storage: FolderStorage, unit: WorkUnit) -> FrameResult:
    return FrameResult.from_json(json.loads(storage.read(layout.result(JOB, unit.work_unit_id))))


def test_an_output_folder_that_was_made_a_link_leads_nowhere(
    unit: WorkUnit, storage: FolderStorage, host: Path, tmp_path: Path
):
    before = (host / "frame_1.png").read_bytes()
    with pytest.raises(RenderError, match=r"wrote no frame_1\.png"):
        run_instead(f"rmdir output; ln -s {host} output", unit, storage, tmp_path)
    assert stored_outputs(storage) == []
    assert (host / "frame_1.png").read_bytes() == before


@pytest.mark.parametrize(
    ("deed", "words"),
    [
        ("ln -s {host}/frame_1.png output/frame_1.png", "frame_1.png, which is a link"),
        ("ln {host}/frame_1.png output/frame_1.png", "several names"),
        ("cp {host}/frame_1.png output; ln -s {host} output/more", "more, which is a link"),
        ("cp {host}/frame_1.png output; ln -s {host}/letter.txt output/a", "a, which is a link"),
        ("cp {host}/frame_1.png output; mkfifo output/a", "a, which is no file"),
        ("mkfifo output/frame_1.png", "frame_1.png, which is no file"),
    ],
)
def test_links_and_pipes_among_the_outputs_fail_the_frame(
    deed: str, words: str, unit: WorkUnit, storage: FolderStorage, host: Path, tmp_path: Path
):
    before = (host / "frame_1.png").read_bytes()
    with pytest.raises(RenderError, match=words) as error:
        run_instead(deed.format(host=host), unit, storage, tmp_path)
    assert not error.value.retryable
    assert stored_outputs(storage) == []
    assert (host / "frame_1.png").read_bytes() == before


def test_a_log_that_was_made_a_link_is_not_read(
    unit: WorkUnit, storage: FolderStorage, host: Path, tmp_path: Path
):
    script = f"echo mine; rm ../povray.txt; ln -s {host}/letter.txt ../povray.txt; exit 1"
    with pytest.raises(RenderError):
        run_instead(script, unit, storage, tmp_path)
    assert storage.read(layout.log(JOB, unit.work_unit_id)) == b"mine\n"


NESTED = "cd output; i=0; while [ $i -lt 1100 ]; do mkdir d && cd d || exit; i=$((i+1)); done"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (f"{NESTED}; exit 0", "nested more than 64 folders"),
        ("cd output; seq 1 300 | xargs mkdir", "more than 200 files and folders"),
        ("truncate -s 2000M output/frame_1.png 2>/dev/null || exit 1; exit 0", "file of|exited"),
    ],
)
def test_folders_without_end_fail_the_frame_and_nothing_stays(
    script: str,
    words: str,
    unit: WorkUnit,
    storage: FolderStorage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    with pytest.raises(RenderError, match=words):
        run_instead(script, unit, storage, tmp_path, limits=Limits(files=200))
    assert list(scratch.iterdir()) == []


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_what_was_left_running_in_its_group_ends_before_its_files_are_looked_at(
    unit: WorkUnit, storage: FolderStorage, host: Path, tmp_path: Path
):
    pid = tmp_path / "pid"
    script = f"cp {host}/frame_1.png output; sleep 600 & echo $! > {pid}"
    assert run_instead(script, unit, storage, tmp_path).state == "rendered"
    # It was killed; a kernel that is busy takes a moment to take it away.
    until = time.monotonic() + 60
    while not has_ended(int(pid.read_text())):
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize(
    "line", ["  Trace Time: x (1.2.3 seconds)", f"Rays: {'9' * 5000}", "\x1b[2J Samples: 1e9"]
)
def test_a_scene_that_prints_what_povray_does_not_is_rendered(
    line: str, sphere_unit, storage: FolderStorage
):
    pieces = ", ".join(f'"{line[at : at + 200]}"' for at in range(0, len(line), 200))
    scene = f'{SPHERE}\n#debug concat("\\n", {pieces}, "\\n")\n'
    made = sphere_unit(scene=scene).assigned(
        job_id=JOB, shared_prefix="", offload_prefix=layout.output(JOB)
    )
    result = asyncio.run(render_unit(made, storage, require_povray()))
    assert result.state == "rendered"
    assert result.statistics.trace_seconds < 60


@pytest.mark.parametrize("broken", ["check_image", "prepare_environment", "_statistics"])
def test_an_error_of_ours_is_that_frames_failure_with_the_traceback_in_its_log(
    broken: str, unit: WorkUnit, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object) -> None:
        raise TypeError("nobody thought\nof this")

    monkeypatch.setattr(module, broken, fail)
    with pytest.raises(RenderError) as error:
        asyncio.run(render_unit(unit, storage, require_povray(), final_attempt=False))

    assert not error.value.retryable
    line = str(error.value).splitlines()[0]
    assert line.startswith("frame 1: povstorm itself failed on this frame (TypeError: nobody")
    result = result_of(storage, unit)
    assert (result.state, result.frame) == ("failed", 1)
    assert "TypeError: nobody thought of this" in result.error
    log = storage.read(layout.log(JOB, unit.work_unit_id)).decode()
    assert "Traceback (most recent call last)" in log
    assert broken in log or "in fail" in log
    assert stored_outputs(storage) == []


def test_a_machine_that_is_short_of_something_is_asked_again(
    unit: WorkUnit, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(module, "check_image", fail)
    with pytest.raises(RenderError, match="Too many open files") as error:
        asyncio.run(render_unit(unit, storage, require_povray(), final_attempt=False))
    assert error.value.retryable
    assert result_of(storage, unit).state == "retrying"
