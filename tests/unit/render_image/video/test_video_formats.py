"""The commands for each video format, before ffmpeg sees them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from povstorm_client.frames.job_settings import VIDEO_ENDINGS
from render_image.video.video_formats import encoding_commands


@pytest.mark.parametrize("ending", VIDEO_ENDINGS)
def test_a_jobs_every_format_is_encoded_from_stdin_at_the_frames_exact_rate(ending: str):
    commands = encoding_commands(
        Path(f"/video.{ending}"),
        fps=Fraction(24000, 1001),
        has_alpha=True,
        size=(32, 24),
        program="ffmpeg",
    )
    for command in commands:
        assert command[command.index("-framerate") + 1] == "24000/1001"
        assert command.index("-framerate") < command.index("pipe:0")
    assert "pipe:1" in commands[-1]


def test_a_gifs_palette_is_found_in_a_pass_of_its_own_so_that_memory_stays_small():
    first, second = encoding_commands(
        Path("/video.gif"), fps=Fraction(10), has_alpha=False, size=(32, 24), program="ffmpeg"
    )
    assert "/palette.png" in first
    assert "/palette.png" in second
    assert not any("palettegen" in argument for argument in second)


@pytest.mark.parametrize(
    ("size", "ahead"), [((320, 240), 40), ((1280, 720), 27), ((1920, 1080), 12), ((3840, 2160), 4)]
)
def test_libx264_looks_as_far_ahead_as_a_small_container_has_memory_for(
    size: tuple[int, int], ahead: int
):
    [command] = encoding_commands(
        Path("/video.mp4"), fps=Fraction(24), has_alpha=False, size=size, program="ffmpeg"
    )
    assert command[command.index("-rc-lookahead") + 1] == str(ahead)
