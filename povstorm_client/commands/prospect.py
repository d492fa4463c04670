"""``povstorm render --preview``: which frames it has, and what all would take, here and there.

render.py calls it before and after the preview's own run.
"""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import typer

from povstorm_client.cloud_run.frame_memory import frame_bytes, job_with_room
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob
from povstorm_client.cloud_run.wave_plan import plan_wave
from povstorm_client.frames.render_settings import RenderSettings
from povstorm_client.job import Job
from povstorm_client.jobs.prediction import (
    Prediction,
    calibrating_settings,
    predict,
    previewed_frames,
)
from povstorm_client.programs.cores import cores as cores_here
from povstorm_client.quantities import core_words, duration, usd
from povstorm_client.scene.load_scene import Scene
from povstorm_client.terminal import plain_console

# What terraform makes without being told otherwise: its sizes, with a new project's quota.
_USUAL_JOBS = (
    CloudRunJob("render-2g", 1, 2048, 20, 0, 3600),
    CloudRunJob("render-8g", 2, 8192, 5, 0, 3600),
)
_STEPS, _ASCII_STEPS = "▁▂▃▄▅▆▇█", ".:-=+*#@"
_COLUMNS = 48
# Of the cores' time POV-Ray gets that much, where nothing else is at work (docs/performance.md).
_BUSY = 0.9


def sample_of(draft: Scene, whole: Scene, *, chosen: bool) -> Scene:
    """The scene with a preview's frames only, some of them with the final quality.

    draft, whole: as a preview reads it, and as all would be rendered. chosen: whether somebody has
    said which frames. A scene that needs its frames in order, or has several settings, stays as
    it is.
    """
    if draft.links or whole.links or draft.own_settings or whole.own_settings:
        return draft
    frames = draft.frames if chosen else previewed_frames(draft.frames)
    calibrating = calibrating_settings(frames, draft.settings, whole.settings)
    return replace(draft, frames=frames, own_settings=calibrating)


def print_prospect(preview: Job, job: Job) -> Prediction | None:
    """Print what the job would take, by the preview that has run; returns the prediction."""
    final = job.work_units[0].settings
    frames = [unit.frame for unit in job.work_units]
    results = preview.results()
    found = predict(preview.work_units, results, final, frames)
    if found is None:
        print(
            "\npovstorm: too few frames were rendered to say what all would take", file=sys.stderr
        )
        return None
    prediction, took = found
    print(f"\nwhole   {len(frames)} frames, {final.width}x{final.height}, by {len(took)} of them")
    print(f"frame   {_heat(list(took.values()))}  {_range(took)} of CPU each")
    cores = preview.statistics().cores or cores_here()
    print(f"here    about {time_here(prediction, cores)}, {core_words(cores)}")
    peak = max(
        (each.statistics.peak_memory_bytes for each in results if each.statistics), default=0
    )
    print(f"cloud   {_cloud(job, final, len(frames), prediction, peak)}")
    return prediction


def time_here(prediction: Prediction, cores: float) -> str:
    """What the job will take on so many cores, with bounds, as words."""
    bounds = (prediction.cpu_seconds, prediction.low, prediction.high)
    return _bounds([seconds / cores / _BUSY for seconds in bounds], duration)


def wants_to_go_on(job: Job, output: Path | None) -> bool:
    """Ask on a terminal; elsewhere print the command.

    output: the folder for all frames, where one was given for the preview's.
    """
    if sys.stdin.isatty() and sys.stdout.isatty():
        return typer.confirm(f"\nRender all {len(job.work_units)} frames now?")
    print(f"go on   povstorm {shlex.join(whole_words(sys.argv[1:], output))}")
    return False


def whole_words(words: Sequence[str], output: Path | None) -> list[str]:
    """The words of a command that renders all, by those of one that previews."""
    kept = [word for word in words if word != "--preview"]
    for place, word in enumerate(kept):
        if word.startswith("--output="):
            kept[place] = f"--output={output}"
        elif place and kept[place - 1] == "--output":
            kept[place] = str(output)
    return kept


def _cloud(
    job: Job, final: RenderSettings, frames: int, prediction: Prediction, peak_bytes: int
) -> str:
    jobs = _USUAL_JOBS if job.fleet is None else job.fleet.jobs
    size = jobs[job_with_room(jobs, frame_bytes(final.width, final.height, peak_bytes))]
    plans = [
        plan_wave(frames, max(0.01, seconds / frames), job=size, prefer=job.settings.prefer)
        for seconds in (prediction.cpu_seconds, prediction.low, prediction.high)
    ]
    time = _bounds([plan.seconds for plan in plans], duration)
    money = _bounds([plan.usd for plan in plans], usd)
    tasks = "a task" if plans[0].tasks == 1 else f"{plans[0].tasks} tasks"
    return f"about {time}, {money}, in {tasks} of {size.name}, {job.settings.prefer}"


def _bounds(values: Sequence[float], words: Callable[[float], str]) -> str:
    """What is expected, and the bounds; a plan for more frames' time may well be the faster one."""
    middle, low, high = words(values[0]), words(min(values)), words(max(values))
    return middle if low == high else f"{middle} ({low} to {high})"


def _range(took: Mapping[int, float]) -> str:
    return f"{min(took.values()):.2f} to {max(took.values()):.2f} s"


def _heat(seconds: Sequence[float]) -> str:
    """A character a frame, or for a few: the higher, the longer it takes."""
    steps = _ASCII_STEPS if plain_console().options.ascii_only else _STEPS
    columns = min(_COLUMNS, len(seconds))
    means = [
        fmean(seconds[len(seconds) * at // columns : len(seconds) * (at + 1) // columns])
        for at in range(columns)
    ]
    most = max(means) or 1.0
    return "".join(
        steps[min(len(steps) - 1, math.floor(len(steps) * mean / most))] for mean in means
    )
