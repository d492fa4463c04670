"""What a scene's frames will take at full size and quality, from the frames of a small preview.

``povstorm render --preview`` predicts, the manifest of the job that follows keeps it, and the
report of that job compares it with what came of it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from povstorm_client.frames.render_settings import RenderSettings
from povstorm_client.frames.result import FrameResult, FrameStatistics
from povstorm_client.frames.spread import spread
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.forecast import SIGMAS, forecast
from povstorm_client.storage.records import Count, TotalSeconds

# Frames of a preview, and how many of them are rendered small, but with the final quality, half of
# them without antialiasing.
PREVIEWED, _CALIBRATING = 32, 8
# A process of POV-Ray costs so much whatever it renders (measured: 22 ms, more beside others).
_PROCESS_SECONDS = 0.025
_LEAST_SECONDS = 0.001
# Antialiasing works on edges: how many pixels those are grows about as an image's sides do. Where
# all of an image is edges, as in fractals and fine patterns, it grows as the pixels do.
_EDGES_EXPONENT = 0.62
_USUAL_DEPTH = 3
# How wrong pixels and quality scale: a logarithm's standard deviation (benchmarks/prediction.py).
_SCALING_SIGMA = 0.17


@dataclass(frozen=True)
class Prediction:
    """CPU seconds of all frames of a job; the truth lies between low and high four times in five.

    measured: the frames of the preview that it comes from.
    """

    cpu_seconds: TotalSeconds
    low: TotalSeconds
    high: TotalSeconds
    measured: Count


def previewed_frames(frames: Sequence[int]) -> tuple[int, ...]:
    """The frames of a preview: what halving again and again comes to."""
    return tuple(spread(frames, PREVIEWED))


def calibrating_settings(
    frames: Sequence[int], draft: RenderSettings, final: RenderSettings
) -> dict[int, RenderSettings]:
    """Frame → settings of those of a preview that tell what the final quality costs.

    draft: of the preview's other frames.
    """
    small = replace(final, width=draft.width, height=draft.height)
    kinds = [small] if final.antialias is None else [small, replace(small, antialias=None)]
    chosen = spread(frames, _CALIBRATING)
    return {frame: kinds[at % len(kinds)] for at, frame in enumerate(chosen)}


def predict(
    units: Sequence[WorkUnit],
    results: Sequence[FrameResult],
    final: RenderSettings,
    frames: Sequence[int],
) -> tuple[Prediction, Mapping[int, float]] | None:
    """What the frames will take with the final settings, and what the preview's own ones will.

    units, results: of the preview. None if none of its frames with the final quality was rendered.
    """
    settings = {unit.frame: unit.settings for unit in units}
    taken = {
        result.frame: result.statistics
        for result in results
        if result.state == "rendered" and result.statistics is not None
    }
    seconds = {frame: _growing(taken[frame]) for frame in sorted(taken)}
    with_final = _of_quality(seconds, settings, final)
    without_edges = _of_quality(seconds, settings, replace(final, antialias=None))
    drafts = {
        frame: each
        for frame, each in seconds.items()
        if frame not in with_final and frame not in without_edges
    }
    if not with_final:
        return None
    base = drafts or without_edges or with_final
    whole = _times(with_final, base)
    plain = _times(without_edges, base) if without_edges else whole
    factor, plain_factor = statistics.median(whole), statistics.median(plain)
    edges = max(0.0, factor - plain_factor)
    exponent = _edges_exponent(edges / plain_factor, final)
    took = {}
    for frame in seconds:
        small = settings[frame]
        pixels = (final.width * final.height) / (small.width * small.height)
        draft = _beside(base, frame)
        grown = plain_factor * pixels + edges * pixels**exponent
        took[frame] = _fixed(taken[frame]) + draft * grown
    return _with_others(took, frames, whole), took


def _edges_exponent(more: float, final: RenderSettings) -> float:
    """By which power of the pixels the work on edges grows; more: that work, in times the rest."""
    samples = (final.antialias_depth or _USUAL_DEPTH) ** 2
    # Of all that could be edges half is as good as all: not each one takes all samples.
    share = min(1.0, 2 * more / samples)
    return _EDGES_EXPONENT + (1 - _EDGES_EXPONENT) * share**2


def _with_others(
    took: Mapping[int, float], frames: Sequence[int], factors: Sequence[float]
) -> Prediction:
    """Of all frames, from those of the preview, and how far its factors of quality are apart."""
    seconds = math.fsum(took[frame] for frame in frames if frame in took)
    rest = forecast(took, [frame for frame in frames if frame not in took])
    sampling = 0.0
    if rest is not None:
        seconds += rest.seconds
        sampling = math.log(rest.high / rest.seconds) / SIGMAS * rest.seconds / seconds
    quality = statistics.pstdev(map(math.log, factors)) / math.sqrt(len(factors))
    spread_by = math.exp(SIGMAS * math.hypot(sampling, quality, _SCALING_SIGMA))
    return Prediction(seconds, seconds / spread_by, seconds * spread_by, len(took))


def _of_quality(
    seconds: Mapping[int, float], settings: Mapping[int, RenderSettings], wanted: RenderSettings
) -> dict[int, float]:
    """Those of the frames that were rendered with this quality, at whatever size."""
    return {
        frame: each
        for frame, each in seconds.items()
        if _quality(settings[frame]) == _quality(wanted)
    }


def _times(frames: Mapping[int, float], base: Mapping[int, float]) -> list[float]:
    """How many times as much each of the frames takes as the base does around it."""
    return [each / _beside(base, frame) for frame, each in frames.items()]


def _beside(base: Mapping[int, float], frame: int) -> float:
    """What a frame takes by the frames around it; itself, if it is one of them."""
    if frame in base:
        return base[frame]
    found = forecast(base, [frame])
    return max(_LEAST_SECONDS, found.seconds if found is not None else 0.0)


def _quality(settings: RenderSettings) -> RenderSettings:
    """The settings but for the image's size."""
    return replace(settings, width=1, height=1, scene="scene.pov")


def _fixed(taken: FrameStatistics) -> float:
    """CPU seconds that do not grow with the image: the process, and parsing."""
    share = min(1.0, taken.parse_seconds / taken.wall_seconds) if taken.wall_seconds else 0.0
    return min(taken.cpu_seconds, _PROCESS_SECONDS + share * taken.cpu_seconds)


def _growing(taken: FrameStatistics) -> float:
    """CPU seconds that do: of pixels, and of what photons and radiosity do for them."""
    return max(_LEAST_SECONDS, taken.cpu_seconds - _fixed(taken))
