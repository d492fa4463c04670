"""What is left is predicted by the frames' own trend, with bounds that mostly hold."""

from __future__ import annotations

import math
import random

import pytest

from povstorm_client.jobs.forecast import forecast


def test_without_a_timed_frame_or_a_frame_that_is_left_nothing_is_said():
    assert forecast({}, [1, 2]) is None
    assert forecast({1: 1.0}, []) is None


def test_frames_that_are_alike_go_on_like_that():
    found = forecast(dict.fromkeys(range(1, 21), 2.0), range(21, 61))

    assert found is not None
    assert found.seconds == pytest.approx(80.0)
    assert 50 < found.low < found.seconds < found.high < 130


def test_frames_that_become_slower_go_on_becoming_slower_for_a_while():
    found = forecast({frame: 1 + 0.05 * frame for frame in range(1, 31)}, range(31, 51))

    truth = sum(1 + 0.05 * frame for frame in range(31, 51))
    assert found is not None
    assert found.seconds > 20 * (1 + 0.05 * 30)
    assert found.low < truth < found.high
    assert found.seconds == pytest.approx(truth, rel=0.1)


def test_between_two_frames_lies_what_is_between_theirs():
    found = forecast({1: 1.0, 5: 3.0, 9: 1.0}, [3, 7])

    assert found is not None
    assert found.seconds == pytest.approx(4.0)


def test_one_odd_frame_moves_no_trend():
    took = dict.fromkeys(range(1, 25), 1.0) | {24: 60.0}

    found = forecast(took, range(25, 35))

    assert found is not None
    assert found.seconds == pytest.approx(10.0, rel=0.1)


def test_a_trend_never_leads_below_nothing():
    took = {frame: 3 - 0.1 * frame for frame in range(1, 29)}

    found = forecast(took, range(29, 500))

    assert found is not None
    assert 0 < found.low < found.seconds < found.high


def test_the_fewer_frames_are_known_the_wider_are_the_bounds():
    chance = random.Random(4)  # noqa: S311
    took = {frame: 1 + 0.5 * chance.random() for frame in range(1, 81)}

    widths = []
    for known in (1, 3, 10, 80):
        found = forecast(dict(list(took.items())[:known]), range(81, 161))
        assert found is not None
        widths.append(found.high / found.low)
    assert widths == sorted(widths, reverse=True)


def test_the_bounds_hold_about_four_times_out_of_five():
    """Over smooth animations of many shapes, of which the first third is known."""
    chance = random.Random(11)  # noqa: S311
    held = 0
    for _ in range(300):
        wave, slope, noise = chance.random(), chance.uniform(-0.6, 1.5), chance.random() * 0.3
        phase = chance.random() * 6
        truth = {
            frame: (1 + wave * 0.8 * math.sin(phase + frame / 20) + max(-0.5, slope) * frame / 90)
            * math.exp(chance.gauss(0, noise))
            for frame in range(1, 91)
        }
        truth = {frame: max(0.05, seconds) for frame, seconds in truth.items()}
        found = forecast({frame: truth[frame] for frame in range(1, 31)}, range(31, 91))
        assert found is not None
        held += found.low <= sum(truth[frame] for frame in range(31, 91)) <= found.high
    assert 0.7 <= held / 300 <= 0.9, held
