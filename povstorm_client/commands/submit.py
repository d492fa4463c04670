"""``povstorm submit``: hand a scene to a deployment, and leave."""

from __future__ import annotations

import typer

from povstorm_client.cluster import DEFAULT_DEPLOYMENT
from povstorm_client.commands.chosen_cluster import chosen_cluster
from povstorm_client.commands.scene_options import (
    AllowMissingFrames,
    Fps,
    FrameMemory,
    Frames,
    FrameTimeout,
    Include,
    LeanOption,
    MaxCost,
    Preview,
    Retries,
    SceneArgument,
    SecondsPerFrame,
    Size,
    StallTimeout,
    Switches,
    Threads,
    Video,
)
from povstorm_client.commands.warn import warn
from povstorm_client.jobs.manifest import STALL_SECONDS
from povstorm_client.scene_job import read_scene, scene_job


def submit(
    context: typer.Context,
    scene: SceneArgument,
    switches: Switches = None,
    frames: Frames = None,
    size: Size = None,
    fps: Fps = "24",
    video: Video = "mp4",
    include: Include = None,
    preview: Preview = False,
    allow_missing_frames: AllowMissingFrames = False,
    retries: Retries = 3,
    frame_timeout: FrameTimeout = None,
    stall_timeout: StallTimeout = STALL_SECONDS,
    frame_memory: FrameMemory = None,
    threads: Threads = None,
    lean: LeanOption = "balanced",
    max_cost: MaxCost = None,
    seconds_per_frame: SecondsPerFrame = None,
) -> None:
    """Submit a scene to a deployment and return at once; look and fetch by the job's id."""
    cluster = chosen_cluster(context)
    if cluster.deployment is None and cluster.outputs is not None:
        cluster = cluster.with_deployment(DEFAULT_DEPLOYMENT)
    loaded = read_scene(
        scene,
        switches=switches,
        frames=frames,
        size=size,
        preview=preview,
        include=include,
        threads=threads,
        warn=warn,
    )
    job = scene_job(
        cluster,
        loaded,
        fps=fps,
        video=video,
        allow_missing_frames=allow_missing_frames,
        retries=retries,
        frame_timeout=frame_timeout,
        stall_timeout=stall_timeout,
        frame_memory=frame_memory,
        sandbox=None,
        lean=lean,
        max_usd=max_cost,
        seconds_per_frame=seconds_per_frame,
    )
    cluster.require_deployment()
    cluster.require_prefect_server()
    job.submit()
    flow = cluster.submit(job.job_id)
    print(f"job     {job.job_id}")
    print(f"frames  {len(job.work_units)}")
    print(f"flow    {flow.log}")
    print(f"look    povstorm status {job.job_id}")
    print(f"fetch   povstorm fetch {job.job_id}")
