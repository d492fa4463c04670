"""Options that do nothing beside others, or for the scene or place that they are given with.

``povstorm render`` and ``submit`` tell of each before any work: it may be a slip of the finger.
"""

from __future__ import annotations

from collections.abc import Iterator

import typer

from povstorm_client.commands.warn import warn
from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.job import Job
from povstorm_client.scene.load_scene import Scene

_OF_A_VIDEO = ("fps", "codec", "crf", "allow_missing_frames")
_OF_THE_CLOUD = ("prefer", "lean", "max_cost", "seconds_per_frame", "in_order")
_OF_THIS_MACHINE = ("frame_memory",)


def warn_of_idle_options(
    context: typer.Context, scene: Scene, job: Job, settings: JobSettings
) -> None:
    """A warning for each option that was given and does nothing.

    settings: as they were asked for; the job's have no video where the scene makes none.
    """
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = [name for name, source in sources.items() if source and source.name == "COMMANDLINE"]
    for name, why in _idle(given, context, scene, job, settings):
        warn(f"--{name.replace('_', '-')} does nothing: {why}")


def _idle(
    given: list[str], context: typer.Context, scene: Scene, job: Job, settings: JobSettings
) -> Iterator[tuple[str, str]]:
    """Each option, and why."""
    is_cloud = job.cluster.outputs is not None
    is_preview = bool(context.params.get("preview"))
    of_a_video = _OF_A_VIDEO if settings.video is None else (*_OF_A_VIDEO, "video")
    for name in given:
        if name in of_a_video and job.video is None:
            yield name, _no_video(settings)
        elif name == "shutter" and not context.params["motion_blur"]:
            yield name, "it is for motion blur; give --motion-blur N too"
        elif name == "no_open" and not context.params["live"]:
            yield name, "it is for the live page; give --live too"
        elif name in _OF_THE_CLOUD and not is_cloud and not (name == "prefer" and is_preview):
            yield name, "it is for Google Cloud, and this machine renders"
        elif name in _OF_THIS_MACHINE and is_cloud:
            yield name, "it is for this machine, and Google Cloud renders"
        elif name == "sandbox" and is_cloud and scene.trace is None:
            yield name, "it is for this machine, and the render container has its own"


def _no_video(settings: JobSettings) -> str:
    if settings.video is None:
        return "the job makes no video, as --video none asks"
    return "stills make no video"
