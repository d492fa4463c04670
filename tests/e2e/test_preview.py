"""``povstorm render --preview``: a small sample, what all would take, and then all of it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

POVSTORM = str(Path(sys.executable).with_name("povstorm"))

# What is expected, with its bounds; of so little these may be told in the same words.
TIME = r"\d\S* s(?: \(\d\S* s to \d\S* s\))?"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POVSTORM_HOME", str(tmp_path / "home"))
    (tmp_path / "anim.ini").write_text(
        "Input_File_Name=anim.pov\nFinal_Frame=40\nWidth=640\nHeight=480\nAntialias=on\n"
    )
    (tmp_path / "anim.pov").write_text(
        "#version 3.7; camera { location -4*z look_at 0 } light_source { -9*z rgb 1 }\n"
        "sphere { 0, 0.2 + clock pigment { rgb 1 } }\n"
    )
    return tmp_path


def povstorm(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [POVSTORM, *words], cwd=folder, capture_output=True, text=True, check=False
    )


def test_a_preview_says_what_all_frames_would_take_and_go_renders_them(folder: Path):
    done = povstorm(folder, "render", "anim.ini", "--video", "none", "--preview", "--frames", "1-9")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^whole   9 frames, 640x480, by 9 of them$", done.stdout, re.MULTILINE)
    assert re.search(r"^frame   \S{9}  [\d.]+ to [\d.]+ s of CPU each$", done.stdout, re.MULTILINE)
    assert re.search(rf"^here    about {TIME}, \d+ cores$", done.stdout, re.MULTILINE)
    assert re.search(r"^cloud   about .*, \$[\d.]+.*, in .* of render-", done.stdout, re.MULTILINE)
    assert "go on   povstorm render anim.ini --video none --frames 1-9\n" in done.stdout
    sizes = set()
    for path in (folder / "anim_preview" / "frames").iterdir():
        with Image.open(path) as image:
            sizes.add(image.size)
    assert sizes == {(160, 120)}

    # What it said is known to the command that it printed, too.
    done = povstorm(folder, "render", "anim.ini", "--video", "none", "--frames", "1-9", "--dry-run")
    said = rf"^plan     about {TIME} here, on \d+ cores, as its preview said$"
    assert re.search(said, done.stdout, re.MULTILINE)
    printed = ("render", "anim.ini", "--video", "none", "--frames", "1-9", "--output", "printed")
    done = povstorm(folder, *printed)
    assert done.returncode == 0, done.stderr
    assert "A preview of 9 frames predicted" in (folder / "printed" / "report.html").read_text()

    done = povstorm(
        folder, "render", "anim.ini", "--video", "none", "--preview", "--frames", "11-19", "--go"
    )
    assert done.returncode == 0, done.stderr
    assert "go on" not in done.stdout
    assert len(list((folder / "anim_render" / "frames").iterdir())) == 9
    report = (folder / "anim_render" / "report.html").read_text()
    assert re.search(r"A preview of 9 frames predicted .* of CPU, between .* and .*; it", report)

    # What the scene takes is known from then on.
    done = povstorm(folder, "render", "anim.ini", "--frames", "11-19", "--dry-run")
    assert re.search(
        r"^plan     [\d.]+ CPU seconds a frame, as in its last run: about .* here",
        done.stdout,
        re.MULTILINE,
    )


def test_go_without_a_preview_is_refused(folder: Path):
    done = povstorm(folder, "render", "anim.ini", "--go")
    assert done.returncode == 1
    assert "give it with --preview" in done.stderr
