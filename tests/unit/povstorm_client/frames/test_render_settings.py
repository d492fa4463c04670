"""What RenderSettings tell of a frame, beside its command."""

from __future__ import annotations

import pytest

from povstorm_client import RenderSettings


@pytest.mark.parametrize(
    ("settings", "frame", "expected"),
    [
        ({"initial_frame": 1, "final_frame": 5}, 1, 0.0),
        ({"initial_frame": 1, "final_frame": 5}, 4, 0.75),
        ({"initial_frame": 1, "final_frame": 4, "cyclic": True}, 4, 0.75),
        (
            {"initial_frame": 10, "final_frame": 20, "initial_clock": 2.0, "final_clock": 4.0},
            *(15, 3.0),
        ),
        ({"initial_frame": 7, "final_frame": 7, "initial_clock": 0.5}, 7, 0.5),
        ({"clock": 0.3}, 1, 0.3),
        ({"final_frame": 5, "clock": 0.3}, 4, 0.75),
        ({"initial_clock": 0.5}, 1, 0.0),
    ],
)
def test_the_clock_is_the_one_that_the_scene_saw(settings, frame: int, expected: float):
    assert RenderSettings("a.pov", **settings).clock_of(frame) == pytest.approx(expected)
