"""``povstorm render`` and ``povstorm retry``: run a job to its end, and save what it made."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from povstorm_client.commands.chosen_cluster import chosen_cluster
from povstorm_client.commands.output_folder import require_writable
from povstorm_client.commands.render_plan import print_plan
from povstorm_client.commands.scene_options import (
    AllowMissingFrames,
    DryRun,
    Fps,
    FrameMemory,
    Frames,
    FrameTimeout,
    Include,
    LeanOption,
    MaxCost,
    Output,
    Preview,
    Retries,
    Sandbox,
    SceneArgument,
    SecondsPerFrame,
    Size,
    StallTimeout,
    Switches,
    Threads,
    Video,
    sandbox_mode,
)
from povstorm_client.commands.warn import warn
from povstorm_client.errors import JobError
from povstorm_client.frame_ranges import frame_ranges
from povstorm_client.job import Job
from povstorm_client.job_manifest import STALL_SECONDS
from povstorm_client.scene_job import read_scene, scene_job
from povstorm_client.stored_frames import damage_lines


def render(
    context: typer.Context,
    scene: SceneArgument,
    switches: Switches = None,
    frames: Frames = None,
    size: Size = None,
    fps: Fps = "24",
    output: Output = None,
    video: Video = "mp4",
    include: Include = None,
    preview: Preview = False,
    dry_run: DryRun = False,
    allow_missing_frames: AllowMissingFrames = False,
    retries: Retries = 3,
    frame_timeout: FrameTimeout = None,
    stall_timeout: StallTimeout = STALL_SECONDS,
    frame_memory: FrameMemory = None,
    sandbox: Sandbox = None,
    threads: Threads = None,
    lean: LeanOption = "balanced",
    max_cost: MaxCost = None,
    seconds_per_frame: SecondsPerFrame = None,
) -> None:
    """Render a scene: an ini file's animation, or a .pov file, without any change to it."""
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
        chosen_cluster(context),
        loaded,
        fps=fps,
        video=video,
        allow_missing_frames=allow_missing_frames,
        retries=retries,
        frame_timeout=frame_timeout,
        stall_timeout=stall_timeout,
        frame_memory=frame_memory,
        sandbox=sandbox_mode(sandbox),
        lean=lean,
        max_usd=max_cost,
        seconds_per_frame=seconds_per_frame,
    )
    if dry_run:
        print_plan(loaded, job)
        return
    target = output or Path(f"{loaded.name}_render")
    require_writable(target)
    _run_and_save(job, target)


def retry(
    context: typer.Context,
    job_id: Annotated[str, typer.Argument(help="The job's id, as `povstorm render` printed it")],
    output: Output = None,
    sandbox: Sandbox = None,
) -> None:
    """Run a stored job again: renders only the frames that are not there yet."""
    job = Job.open(chosen_cluster(context), job_id, sandbox=sandbox_mode(sandbox))
    target = output or Path(f"{job.name}_render")
    require_writable(target)
    frames = [unit.frame for unit in job.work_units]
    damage = job.damage()
    for line in damage_lines(damage):
        warn(line)
    rendered = {result.frame for result in job.results() if result.state == "rendered"}
    missing = [frame for frame in frames if frame not in rendered or frame in damage]
    print(
        f"povstorm: {len(frames) - len(missing)} of {len(frames)} frames are there"
        + (f"; rendering {frame_ranges(missing)}" if missing else ""),
        file=sys.stderr,
    )
    _run_and_save(job, target)


def _run_and_save(job: Job, target: Path) -> None:
    try:
        job.run()
    except KeyboardInterrupt:
        print(
            f"povstorm: stopped; finished frames are kept. Go on with: povstorm retry {job.job_id}",
            file=sys.stderr,
        )
        raise
    except JobError:
        try:
            job.save_images(target / "frames")
        except JobError as damaged:
            warn(str(damaged))
        _save_report(job, target)
        print(
            f"povstorm: what was rendered is in {target}. "
            f"Try the rest again with: povstorm retry {job.job_id}",
            file=sys.stderr,
        )
        raise
    images = job.save_images(target / "frames")
    print(job.statistics())
    print(f"job     {job.job_id}")
    print(f"images  {images[0]}" + (f" … {images[-1].name}" if len(images) > 1 else ""))
    if job.video:
        print(f"video   {job.save_video(target / f'{job.name}.{job.video}')}")
    _save_report(job, target)


def _save_report(job: Job, target: Path) -> None:
    # A job is no less complete for want of one; the flow's message says why there is none.
    state = job.state()
    if job.has_report():
        print(f"report  {job.save_report(target / 'report.html')}")
    elif state is not None and state.phase == "completed":
        print(f"report  none: {state.message}")
