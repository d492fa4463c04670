"""The examples of the README and of the guide work, at a small size."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def test_the_orbit_client_program_makes_its_images_its_video_and_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("POVSTORM_HOME", str(tmp_path / "home"))
    program = EXAMPLES / "orbit" / "render.py"
    done = subprocess.run(
        [sys.executable, program, "--frames", "6", "--width", "64", "--output", tmp_path / "out"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out" / "frames").glob("*.png"))) == 6
    assert (tmp_path / "out" / "orbit.mp4").stat().st_size > 0
    assert "orbit" in (tmp_path / "out" / "report.html").read_text()
    assert "6 of 6 frames" in done.stdout


def test_the_program_of_the_guide_makes_its_images_and_its_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("POVSTORM_HOME", str(tmp_path / "home"))
    guide = (ROOT / "docs" / "client_program.md").read_text()
    program = tmp_path / "bounce.py"
    program.write_text(re.search(r"```python\n(.*?)```", guide, re.DOTALL)[1])

    done = subprocess.run(
        [sys.executable, program], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "bounce" / "frames").glob("*.png"))) == 12
    assert (tmp_path / "bounce" / "bounce.mp4").stat().st_size > 0
    assert "12 of 12 frames" in done.stdout


def test_the_client_program_is_short_to_read():
    assert len((EXAMPLES / "orbit" / "render.py").read_text().splitlines()) <= 60
