"""A scene that POV-Ray crashes on, or cannot write for, fails once, and is told what to do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from povstorm_client import RenderError, WorkUnit
from povstorm_client.programs.tools import require_povray
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from render_image.frame_limits import Limits
from render_image.povray_failure import raise_for_exit
from render_image.process import ProcessExit
from render_image.render_unit import render_unit
from tests.conftest import SPHERE

JOB = "job"


def failure(unit: WorkUnit, storage: FolderStorage) -> RenderError:
    made = unit.assigned(job_id=JOB, shared_prefix="", offload_prefix=layout.output(JOB))
    with pytest.raises(RenderError) as error:
        asyncio.run(render_unit(made, storage, require_povray(), final_attempt=False))
    return error.value


def test_a_scene_nested_so_deeply_that_povray_crashes_is_not_tried_again(
    sphere_unit, storage: FolderStorage
):
    error = failure(sphere_unit(scene=f"#declare X = {'(' * 200_000}1;\n"), storage)

    assert "POV-Ray itself crashed on this scene (signal 11" in str(error)
    assert "nested very deeply" in str(error)
    assert not error.retryable


@pytest.mark.parametrize("signal", [4, 6, 7, 8, 11])
@pytest.mark.parametrize(("said", "retryable"), [("", False), ("std::bad_alloc", True)])
def test_a_crash_is_worth_another_attempt_only_if_povray_was_refused_memory(
    signal: int, said: str, retryable: bool, tmp_path: Path
):
    exited = ProcessExit(-signal, 0.1, 0.1, 1, timed_out=False)
    with pytest.raises(RenderError, match=f"crashed on this scene .signal {signal}") as error:
        raise_for_exit(exited, said, None, Limits(), tmp_path)
    assert error.value.retryable is retryable
    assert ("frame_memory" in str(error.value)) is retryable


@pytest.mark.parametrize("mode", ["write", "append"])
def test_a_file_in_a_folder_that_is_not_there_is_answered_with_the_folders_name(
    mode: str, sphere_unit, storage: FolderStorage
):
    scene = f'{SPHERE}\n#fopen F "data/sub/o.txt" {mode}\n#write (F, "x")\n#fclose F\n'
    error = str(failure(sphere_unit(scene=scene), storage)).splitlines()[0]

    assert "Cannot open user file data/sub/o.txt" in error
    assert "there is no folder data/sub" in error
    assert "make it beside the scene" in error
    assert "output/" in error


def test_a_file_that_is_to_be_read_is_no_question_of_folders(sphere_unit, storage: FolderStorage):
    scene = f'{SPHERE}\n#fopen F "data/o.txt" read\n#read (F, X)\n'
    assert "no folder" not in str(failure(sphere_unit(scene=scene), storage)).splitlines()[0]
