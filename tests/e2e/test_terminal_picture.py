"""`povstorm render` on a terminal that shows pictures shows the last frame, as it was rendered."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from PIL import Image

from tests.integration.test_last_frame import TERMINALS, Terminal

POVSTORM = str(Path(sys.executable).with_name("povstorm"))
# Each frame has a colour of its own. The last one computes for seconds: nobody waits for a picture
# at a job's end.
SCENE = "#version 3.7; global_settings { assumed_gamma 1 } camera { location -4*z look_at 0 }\n"
SCENE += "background { srgb <clock, 1 - clock, 0.5> }\n"
SCENE += "#local N = 0; #while (clock = 1 & N < 4e6) #local N = N + 1; #end\n"


def test_the_last_frame_is_shown_while_a_job_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("POVSTORM_HOME", str(tmp_path / "home"))
    (tmp_path / "a.pov").write_text(SCENE)
    words = [
        sys.executable,
        POVSTORM,
        "render",
        str(tmp_path / "a.pov"),
        "+KFF3",
        "--size",
        "64x48",
    ]
    with ExitStack() as stack:
        shown = Terminal(stack, [*words, "--output", str(tmp_path / "out")], TERMINALS["kitty"])
        shown.end()

    assert shown.process.returncode == 0, shown.screen.shown
    rendered = set()
    for path in (tmp_path / "out" / "frames").iterdir():
        with Image.open(path) as image:
            rendered.add(image.convert("RGB").getpixel((0, 0)))
    assert len(rendered) == 3
    assert shown.pictures
    assert {each.image.getpixel((0, 0)) for each in shown.pictures} <= rendered
    assert any("3 of 3 frames" in line for line in shown.screen.shown)
