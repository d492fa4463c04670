"""A POV-Ray that is named, and one of version 3.8: a program that says so, and renders with 3.7."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from povstorm_client import InputError, ToolError
from povstorm_client.programs import tools
from povstorm_client.programs.bubblewrap import bubblewrap_problem
from povstorm_client.programs.sandbox_mode import SandboxMode
from povstorm_client.programs.tools import POVRAY_VARIABLE, choose_povray, require_povray
from povstorm_client.scene.load_scene import load_scene
from povstorm_client.storage.folder import FolderStorage
from render_image.sandbox import open_sandbox
from tests.fidelity import compare
from tests.fidelity.compare import by_povray, by_povstorm, differences

SCENE = """#version 3.7; global_settings { assumed_gamma 1 }
camera { location -5 * z look_at 0 } light_source { -9 * z 1 }
sphere { <clock, 0, 0>, 1 pigment { rgb <1, 0.4, 0.1> } }
"""
# As much of 3.8 as can be had here: its version, and its options, which it notes.
NEWER = """#!/bin/sh
if [ "$1" = --version ]; then echo "POV-Ray 3.8.0-beta.2" >&2; exit 0; fi
for word; do
    shift
    case "$word" in
        Antialias_Confidence=*|Stochastic_Seed=*|Greyscale_Output=*|+AM3)
            echo "$word" >> "{notes}";;
        *) set -- "$@" "$word";;
    esac
done
exec "{povray}" "$@"
"""


@pytest.fixture
def newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "povray 3.8" / "povray"
    program.parent.mkdir()
    povray = shutil.which("povray")
    program.write_text(NEWER.format(notes=tmp_path / "notes", povray=povray), "utf-8")
    program.chmod(0o755)
    monkeypatch.setenv(POVRAY_VARIABLE, "")
    return program


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "own.pov").write_text(SCENE, "utf-8")
    return folder


OPTIONS = ("+AM3", "+A0.1", "+AC0.95", "Stochastic_Seed=7", "+KFF2", "+W32", "+H24")


def test_options_of_a_newer_povray_are_known_where_it_renders(
    newer: Path,
    home: Path,
    tmp_path: Path,
    storage: FolderStorage,
    monkeypatch: pytest.MonkeyPatch,
):
    # No sandbox has a shell, which the stand-in is written for.
    monkeypatch.setattr(compare, "SANDBOX", "off")
    assert choose_povray(newer).series == (3, 8)
    scene = load_scene("own.pov", switches=OPTIONS, cwd=home)
    ours = by_povstorm(scene, storage)

    assert (tmp_path / "notes").read_text("utf-8").split() == [
        "+AM3",
        "Antialias_Confidence=0.95",
        "Stochastic_Seed=7",
    ] * len(ours)
    theirs = by_povray(home, "own.pov", "+A0.1", "+KFF2", "+W32", "+H24")
    assert differences(ours, theirs) == []


def test_a_scene_of_a_newer_povray_is_taken_where_it_renders(newer: Path, home: Path):
    (home / "own.pov").write_text(SCENE.replace("3.7", "3.8"), "utf-8")
    choose_povray(newer)
    assert load_scene("own.pov", cwd=home).newer.endswith("#version 3.8")
    (home / "own.pov").write_text(SCENE.replace("3.7", "3.9"), "utf-8")
    with pytest.raises(InputError, match=r"#version 3\.9 asks for a newer POV-Ray than 3\.8"):
        load_scene("own.pov", cwd=home)


@pytest.mark.parametrize("word", ["+AC0.95", "Stochastic_Seed=7", "Greyscale_Output=on"])
def test_an_older_povray_has_none_of_them_and_the_remedy_is_told(home: Path, word: str):
    assert require_povray().series == (3, 7)
    with pytest.raises(InputError, match=r"an option of POV-Ray 3\.8.*--povray PATH"):
        load_scene("own.pov", switches=[word], cwd=home)


def test_what_is_no_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(POVRAY_VARIABLE, "")
    with pytest.raises(ToolError, match=r"missing is no program: give --povray"):
        choose_povray(tmp_path / "missing")
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\necho hello\n", "utf-8")
    other.chmod(0o755)
    with pytest.raises(ToolError, match="does not tell its version"):
        choose_povray(other)


@pytest.mark.skipif(bool(bubblewrap_problem()), reason="bubblewrap does not work here")
@pytest.mark.parametrize("mode", ["auto", "required"])
def test_one_that_no_sandbox_can_run_renders_nothing_uncontained_unless_asked_to(
    mode: SandboxMode, newer: Path
):
    povray = choose_povray(newer)
    with pytest.raises(ToolError, match=r"does not run in bubblewrap .*--no-sandbox"):
        open_sandbox(povray, mode)
    assert open_sandbox(povray, "off") is None


@pytest.mark.skipif(bool(bubblewrap_problem()), reason="bubblewrap does not work here")
def test_one_that_lies_where_a_frame_has_its_own_folder_is_told_before_frames_fail(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv(POVRAY_VARIABLE, "")
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        program = Path(shutil.copy(require_povray().path, Path(name) / "povray"))
        povray = choose_povray(program)
        with pytest.raises(ToolError, match="does not run in bubblewrap"):
            open_sandbox(povray, "auto")


def test_the_command_takes_the_path(newer: Path, home: Path, tmp_path: Path):
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("povstorm"), "check", "own.pov", *OPTIONS),
            *("--povray", newer, "--no-sandbox"),
        ],
        cwd=home,
        env={**os.environ, "POVSTORM_HOME": str(tmp_path / "povstorm")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "frames  1-2 can be rendered" in done.stdout
    assert "Stochastic_Seed=7" in (tmp_path / "notes").read_text("utf-8")


def test_a_povray_is_asked_for_its_version_once(newer: Path, monkeypatch: pytest.MonkeyPatch):
    choose_povray(newer)
    monkeypatch.setattr(tools.subprocess, "run", pytest.fail)
    assert require_povray().version.startswith("3.8")
