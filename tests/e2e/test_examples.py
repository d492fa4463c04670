"""The examples of the README work, at a small size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_orbit_client_program_makes_its_images_its_video_and_its_report(
    tmp_path: Path, on_server: str, monkeypatch: pytest.MonkeyPatch
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


def test_the_client_program_is_short_to_read():
    assert len((EXAMPLES / "orbit" / "render.py").read_text().splitlines()) <= 60
