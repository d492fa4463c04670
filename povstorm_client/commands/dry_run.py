"""What ``povstorm render --dry-run`` prints: frames, files, command, and what that would take."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.frame_memory import frame_bytes, job_with_room
from povstorm_client.cloud_run.scene_estimate import Estimate, read_estimate, scene_digest
from povstorm_client.cloud_run.wave_plan import plan_wave
from povstorm_client.cluster import Cluster
from povstorm_client.commands.prospect import time_here
from povstorm_client.frames.job_settings import PREFERENCES
from povstorm_client.frames.ranges import frame_ranges
from povstorm_client.frames.render_settings import RenderSettings
from povstorm_client.frames.video_losses import announce_losses
from povstorm_client.job import Job
from povstorm_client.jobs.kept_prediction import kept_prediction
from povstorm_client.jobs.prediction import Prediction
from povstorm_client.programs.cores import whole_cores
from povstorm_client.quantities import duration
from povstorm_client.scene.load_scene import Scene


def print_plan(scene: Scene, job: Job) -> None:
    """Print the plan of a scene's job; nothing is rendered or stored."""
    settings = scene.settings
    print(f"scene    {scene.name}, {settings.width}x{settings.height}")
    print(f"frames   {len(scene.frames)}: {frame_ranges(scene.frames)}")
    print("files    in the workspace, from this machine")
    for name, path in sorted(scene.files.items()):
        print(f"         {name}  <-  {path}")
    print(f"command  {' '.join(job.work_units[0].cmd)}")
    announce_losses(job.settings, settings)
    _print_estimate(job)


def _print_estimate(job: Job) -> None:
    """Print what rendering all frames of the job would take; frames from the cache cost nothing."""
    settings = job.work_units[0].settings
    estimate = Estimate()
    prediction = None
    if _is_there(job.cluster):
        storage = job.cluster.storage
        estimate = read_estimate(storage, scene_digest(job.name, settings))
        prediction = kept_prediction(storage, job.name, job.work_units)
    if job.fleet is None:
        _print_time_here(len(job.work_units), estimate, prediction)
    else:
        _print_cloud_plan(job, job.fleet, settings, estimate)


def _is_there(cluster: Cluster) -> bool:
    """Whether there is a storage to ask: looking at a folder's would make it."""
    uri = urlsplit(cluster.storage_uri)
    return uri.scheme != "file" or Path(unquote(uri.path)).is_dir()


def _print_time_here(frames: int, estimate: Estimate, prediction: Prediction | None) -> None:
    each, cores = estimate.cpu_seconds, whole_cores()
    if each is None and prediction is not None:
        print(
            f"plan     about {time_here(prediction, cores)} here, on {cores} cores, as its preview "
            "said"
        )
        return
    if each is None:
        print("plan     no run of this scene and size is known: --preview says what it would take")
        return
    print(
        f"plan     {each:.2f} CPU seconds a frame, as in its last run: about "
        f"{duration(frames * each / cores)} here, on {cores} cores"
    )


def _print_cloud_plan(
    job: Job, fleet: CloudRunFleet, settings: RenderSettings, estimate: Estimate
) -> None:
    seconds, source = fleet.seconds_per_frame, "as given"
    if seconds is None:
        seconds, source = estimate.cpu_seconds, "as in its last run"
    if seconds is None:
        print(
            "plan     no run of this scene is known: a first wave of a few frames will measure it, "
            "then the rest is planned; --seconds-per-frame S plans it now"
        )
        return
    held = frame_bytes(settings.width, settings.height, estimate.peak_memory_bytes)
    size = fleet.jobs[job_with_room(fleet.jobs, held)]
    print(f"plan     {seconds:.2f} CPU seconds a frame, {source}")
    for prefer in PREFERENCES:
        plan = plan_wave(len(job.work_units), seconds, job=size, prefer=prefer)
        print(f"         {'*' if prefer == fleet.prefer else ' '} {prefer:8}  {plan}")
