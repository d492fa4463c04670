"""``povstorm fetch``: save what a job has made so far, or all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from povstorm_client import layout
from povstorm_client.commands.chosen_cluster import chosen_cluster
from povstorm_client.commands.output_folder import require_writable
from povstorm_client.commands.warn import warn
from povstorm_client.errors import JobError, RecordError
from povstorm_client.frame_ranges import frame_ranges
from povstorm_client.job import Job


def fetch(
    context: typer.Context,
    job_id: Annotated[str, typer.Argument(help="The job's id, as `povstorm submit` printed it")],
    output: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it at run time
        typer.Option(metavar="FOLDER", help="Where to put the results; NAME_render by default"),
    ] = None,
) -> None:
    """Save a job's images, video and report; of a job that still runs, what is there."""
    job = Job.open(chosen_cluster(context), job_id)
    target = output or Path(f"{job.name}_render")
    require_writable(target)
    damaged: JobError | None = None
    try:
        images = job.save_images(target / "frames")
        print(f"images  {len(images)} of {len(job.work_units)} in {target / 'frames'}")
    except JobError as error:
        damaged = error
        left_out = frame_ranges(error.failed_frames)
        print(f"images  in {target / 'frames'}, without frames that are damaged: {left_out}")
    storage = job.cluster.storage
    if storage.stat(layout.statistics(job_id)) is not None:
        storage.download(layout.statistics(job_id), target / "statistics.json")
        try:
            print(job.statistics())
        except RecordError as error:
            warn(str(error))
    if job.video and storage.stat(layout.video(job_id, job.video)) is not None:
        print(f"video   {job.save_video(target / f'{job.name}.{job.video}')}")
    if job.has_report():
        print(f"report  {job.save_report(target / 'report.html')}")
    state = job.readable_state()
    if state is None or not state.ended:
        print(f"the job has not ended: {state.phase if state else 'waiting for its flow'}")
    if damaged is not None:
        raise damaged
