"""A preview's frames say what all will take, at full size and quality."""

from __future__ import annotations

from dataclasses import replace

import pytest

from povstorm_client import RenderSettings, WorkUnit
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.prediction import calibrating_settings, predict, previewed_frames
from tests.synthetic_job import rendered

FINAL = RenderSettings(scene="a.pov", width=640, height=480, antialias=0.3, final_frame=400)
DRAFT = replace(FINAL, width=160, height=120, antialias=None, quality=8)


def cpu(settings: RenderSettings, frame: int) -> float:
    """Of a made-up scene: a process, parsing, pixels by what is in the frame, and its edges."""
    pixels = settings.width * settings.height
    trace = 2e-6 * pixels * (1 + frame / 200) * (1.0 if settings.quality < 9 else 1.6)
    edges = 2e-4 * pixels**0.62 if settings.antialias is not None else 0.0
    return 0.025 + 0.05 + trace + edges


def result(unit: WorkUnit, **changes: object) -> FrameResult:
    unit = unit.assigned(job_id="a", shared_prefix="", offload_prefix="jobs/a/output")
    seconds = cpu(unit.settings, unit.frame)
    found = rendered(unit, started=1.0, seconds=seconds)
    assert found.statistics is not None
    # Parsing as POV-Ray times it, on a clock that other programs hold up as much as the process.
    times = replace(
        found.statistics,
        cpu_seconds=seconds,
        wall_seconds=3 * seconds,
        parse_seconds=3 * 0.05,
    )
    return replace(found, statistics=times, **changes)


def preview(frames: range) -> list[WorkUnit]:
    shown = previewed_frames(frames)
    own = calibrating_settings(shown, DRAFT, FINAL)
    return [WorkUnit(own.get(frame, DRAFT), frame) for frame in shown]


def test_the_preview_of_a_long_animation_is_a_sample_from_its_first_to_its_last_frame():
    shown = previewed_frames(range(1, 401))

    assert len(shown) == 32
    assert (shown[0], shown[-1]) == (1, 400)
    assert previewed_frames(range(1, 9)) == tuple(range(1, 9))


def test_a_few_of_them_tell_what_quality_costs_and_are_as_small_as_the_others():
    own = calibrating_settings(previewed_frames(range(1, 401)), DRAFT, FINAL)

    assert len(own) == 8
    assert {(each.width, each.height, each.quality) for each in own.values()} == {(160, 120, 9)}
    assert sorted(each.antialias is None for each in own.values()) == [False] * 4 + [True] * 4


def test_all_frames_are_predicted_from_the_preview():
    units = preview(range(1, 401))

    found = predict(units, [result(unit) for unit in units], FINAL, range(1, 401))

    truth = sum(cpu(FINAL, frame) for frame in range(1, 401))
    assert found is not None
    assert found[0].cpu_seconds == pytest.approx(truth, rel=0.05)
    assert found[0].low < truth < found[0].high
    assert found[0].measured == 32
    assert found[1][400] > 1.5 * found[1][1]


def test_without_antialiasing_only_pixels_and_quality_count():
    final = replace(FINAL, antialias=None)
    own = calibrating_settings(range(1, 33), DRAFT, final)
    units = [WorkUnit(own.get(frame, DRAFT), frame) for frame in range(1, 33)]

    found = predict(units, [result(unit) for unit in units], final, range(1, 33))

    truth = sum(cpu(final, frame) for frame in range(1, 33))
    assert found is not None
    assert found[0].cpu_seconds == pytest.approx(truth, rel=0.05)


def test_frames_that_failed_are_left_out_and_with_none_nothing_is_said():
    units = preview(range(1, 401))
    results = [result(unit) for unit in units]
    some = [replace(each, state="failed", statistics=None) for each in results[1::2]]

    found = predict(units, [*results[::2], *some], FINAL, range(1, 401))

    assert found is not None
    assert found[0].measured == 16
    assert predict(units, some, FINAL, range(1, 401)) is None
