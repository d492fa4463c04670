"""``povstorm submit``: hand a scene to a deployment, and leave."""

from __future__ import annotations

import typer

from povstorm_client.cluster import DEFAULT_DEPLOYMENT
from povstorm_client.commands.chosen_cluster import chosen_cluster
from povstorm_client.commands.idle_options import warn_of_idle_options
from povstorm_client.commands.scene_options import (
    Declare,
    Frames,
    Include,
    InOrder,
    MotionBlur,
    Preview,
    SceneArgument,
    Shutter,
    Size,
    Switches,
    Threads,
    Trace,
    with_job_options,
)
from povstorm_client.commands.warn import tell_trace, warn
from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.jobs.kept_prediction import kept_prediction
from povstorm_client.scene_job import read_scene, scene_job


@with_job_options
def submit(
    context: typer.Context,
    scene: SceneArgument,
    switches: Switches = None,
    frames: Frames = None,
    size: Size = None,
    include: Include = None,
    preview: Preview = False,
    threads: Threads = None,
    trace: Trace = False,
    in_order: InOrder = False,
    declare: Declare = None,
    motion_blur: MotionBlur = None,
    shutter: Shutter = 180.0,
    *,
    settings: JobSettings,
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
        always_trace=trace,
        declare=declare,
        motion_blur=motion_blur or 0,
        shutter=shutter,
        refuse_unparsable=cluster.outputs is not None,
    )
    tell_trace(loaded)
    job = scene_job(cluster, loaded, settings, in_order=in_order)
    warn_of_idle_options(context, loaded, job, settings)
    cluster.require_deployment()
    cluster.require_prefect_server()
    job.bisected = preview
    if not preview:
        job.prediction = kept_prediction(job.cluster.storage, job.name, job.work_units)
    job.submit()
    flow = cluster.submit(job.job_id)
    print(f"job     {job.job_id}")
    print(f"frames  {len(job.work_units)}")
    print(f"flow    {flow.log}")
    print(f"look    povstorm status {job.job_id}")
    print(f"fetch   povstorm fetch {job.job_id}")
