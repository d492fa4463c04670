"""A scene, as its options describe it, and the job that renders it; for the CLI and schedules."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from povstorm_client.argument_checks import check_number
from povstorm_client.cloud_run.prices_and_limits import STARTUP_SECONDS
from povstorm_client.cluster import Cluster
from povstorm_client.errors import FieldError, InputError
from povstorm_client.frames.job_settings import STALL_SECONDS, JobSettings, preference
from povstorm_client.job import Job
from povstorm_client.jobs.manifest import Tracing
from povstorm_client.jobs.progress_bar import parsing_bar
from povstorm_client.launch.trace_process import trace_scene
from povstorm_client.programs.cores import whole_cores
from povstorm_client.programs.sandbox_mode import SandboxMode
from povstorm_client.quantities import duration
from povstorm_client.scene.load_scene import Scene, load_scene
from povstorm_client.scene.moments import at_all_moments
from povstorm_client.scene.trace import Trace, TraceRequest
from povstorm_client.scene.unused_names import unused_names
from povstorm_client.scene.variants import merged_variants, read_variants


def read_scene(
    scene: str,
    *,
    switches: list[str] | None,
    frames: str | None,
    size: str | None,
    preview: bool,
    include: list[Path] | None,
    threads: int | None,
    warn: Callable[[str], None],
    cwd: Path | None = None,
    sandbox: SandboxMode | None = None,
    always_trace: bool = False,
    refuse_unparsable: bool = False,
    declare: list[str] | None = None,
    motion_blur: int = 0,
    shutter: float = 180.0,
    stop_trace: threading.Event | None = None,
) -> Scene:
    """The scene with its options; warn is told what it should know. InputError: what is wrong.

    cwd: POV-Ray's current folder; where the program runs if None. sandbox, always_trace: for
    running the scene to see what it does with files, which happens where that has to be.
    refuse_unparsable: whether a frame that cannot be parsed then is an error; elsewhere it will
    fail, and others are rendered, where they can be. declare: values to render it with, as
    read_variants has them. motion_blur, shutter: as RenderSettings has them. stop_trace: as
    trace_scene has it.
    """
    for word in switches or ():
        if word.startswith("--"):
            raise InputError(f"there is no option {word}: `povstorm render --help` lists them")

    def tracer(request: TraceRequest) -> Trace:
        traced = partial(trace_scene, request, sandbox=sandbox, stop=stop_trace)
        # Of numbered scenes, a process each, several run at once; who can stop one has a page.
        if len(request.frames) == 1 or stop_trace is not None:
            return traced()
        with parsing_bar(request.scene.stem) as show:
            return traced(on_parsed=show)

    load = partial(
        load_scene,
        scene,
        frames=frames,
        size=_size(size) if size else None,
        preview=preview,
        includes=tuple(include or ()),
        cwd=cwd,
        tracer=at_all_moments(tracer, motion_blur, shutter) if motion_blur else tracer,
        always_trace=always_trace,
        refuse_unparsable=refuse_unparsable,
    )
    given = tuple(switches or ())
    # Of Declares of one name POV-Ray keeps the first.
    options_of_all = read_variants(declare or ())
    variants = [load(switches=(*options, *given)) for options in options_of_all]
    loaded = variants[0] if len(variants) == 1 else merged_variants(variants)
    for warning in loaded.warnings:
        warn(warning)
    names = [option.split("=")[1] for option in options_of_all[0]]
    for line in unused_names(names, loaded.files.values()):
        warn(f"--declare: {line}")
    return _with_changes(loaded, threads, warn, motion_blur=motion_blur, shutter=shutter)


def settings_of_options(
    *,
    video: str,
    frame_memory: float | None,
    prefer: str,
    lean: str,
    max_cost: float | None,
    frame_timeout: float | str | None = None,
    stall_timeout: float | str | None = STALL_SECONDS,
    default_preference: str = "balanced",
    **same: Any,  # noqa: ANN401 - JobSettings checks them
) -> JobSettings:
    """The settings, as options and flow parameters put them; FieldError for what cannot be meant.

    video: may be "none". frame_memory: GiB. lean: prefer's older name, "" where it is not said.
    max_cost: US dollars. frame_timeout, stall_timeout: seconds, also as a text, or "off". same: the
    fields that options have as they are.
    """
    return JobSettings(
        video=None if video == "none" else video,
        frame_memory=_bytes(frame_memory),
        prefer=preference(prefer, lean, default_preference),
        max_usd=max_cost,
        frame_timeout=_seconds("frame_timeout", frame_timeout),
        stall_timeout=_seconds("stall_timeout", stall_timeout),
        **same,
    )


def scene_job(
    cluster: Cluster,
    scene: Scene,
    settings: JobSettings,
    *,
    sandbox: SandboxMode | None = None,
    in_order: bool = False,
) -> Job:
    """The job that renders all frames of a scene; a still makes no video, nor do variants of it.

    in_order: whether frames that have to be rendered one after another may be so in containers,
    which takes long. Raises InputError where they may not.
    """
    if scene.newer and cluster.outputs is not None:
        raise InputError(
            f"{scene.newer} is of POV-Ray 3.8, and the render container has 3.7: remove it, or "
            "render on this machine (leave out --cluster)"
        )
    if scene.links and cluster.outputs is not None and not in_order:
        count = len(scene.links)
        raise InputError(
            f"the {count} frames of this scene go on from each other's images, and have to be "
            "rendered one after another, each in a container of its own: at least "
            f"{duration(count * STARTUP_SECONDS)} beside what the frames take, and {count} billed "
            "minutes. Render them on one machine (leave out --cluster), or accept that with "
            "--in-order"
        )
    if len(scene.frames) == 1 or (scene.own_settings and not scene.settings.is_animation):
        settings = replace(settings, video=None)
    job = Job.with_settings(cluster, scene.name, settings, sandbox=sandbox)
    if scene.trace is not None:
        job.tracing = Tracing(scene.trace.frames, scene.trace.seconds)
    job.add_shared_files(scene.files)
    for unit in scene.work_units():
        job.add_work_unit(unit, scene.uses.get(unit.frame))
    return job


def _with_changes(
    scene: Scene,
    threads: int | None,
    warn: Callable[[str], None],
    *,
    motion_blur: int,
    shutter: float,
) -> Scene:
    """One thread gives the same pixels on every run; a still would leave other cores idle."""
    if threads is None:
        are_many = scene.settings.is_animation or bool(scene.own_settings)
        threads = 1 if are_many else whole_cores()
        if threads > 1:
            warn(
                f"a still: rendering with {threads} threads. With radiosity or jittered lights its "
                "pixels can differ between runs; --threads 1 makes them repeatable"
            )
    changed = partial(replace, threads=threads, motion_blur=motion_blur, shutter=shutter)
    return replace(
        scene,
        settings=changed(scene.settings),
        own_settings={frame: changed(own) for frame, own in scene.own_settings.items()},
    )


def _bytes(gib: float | None) -> int | None:
    check_number("frame_memory", gib, or_none=True)
    # Exactly, as JobSettings is to refuse what is too large, and a float ends before that.
    return None if gib is None else int(Fraction(gib) * (1 << 30))


def _seconds(name: str, given: float | str | None) -> float | None:
    """Seconds as an option or a flow's parameter says them; None for "off"."""
    if given == "off":
        return None
    if not isinstance(given, str):
        return given
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise FieldError(name, f"is {given!r}: give seconds above 0, or off")
    return seconds


def _size(text: str) -> tuple[int, int]:
    width, separator, height = text.lower().partition("x")
    if not (separator and width.isdecimal() and height.isdecimal()):
        raise InputError(f"size {text!r} is not WIDTHxHEIGHT: give for example 1920x1080")
    return int(width), int(height)
