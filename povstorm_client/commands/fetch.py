"""``povstorm fetch``: save what a job has made so far, or all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from povstorm_client.commands.chosen_cluster import chosen_cluster
from povstorm_client.commands.job_argument import JobArgument
from povstorm_client.commands.output_folder import destination_of_stored, reserved, warn_of_kept
from povstorm_client.commands.scene_options import Audio, output_path
from povstorm_client.commands.warn import warn
from povstorm_client.errors import RecordError
from povstorm_client.frames.ranges import frame_ranges
from povstorm_client.job import Job
from povstorm_client.jobs.progress_bar import saving_bar
from povstorm_client.jobs.stored_frames import damaged_error
from povstorm_client.saving.frame_saver import FrameSaver
from povstorm_client.saving.output_memory import (
    Destination,
    remember_destination,
    remembered_destination,
)
from povstorm_client.saving.results_folder import FRAMES, ResultsFolder
from povstorm_client.saving.sound import check_sound


def fetch(
    context: typer.Context,
    job_id: JobArgument,
    output: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it at run time
        typer.Option(
            metavar="FOLDER",
            parser=output_path,
            help="Where to put the results; by default where they went before, or NAME_render; "
            "elsewhere they are a copy",
        ),
    ] = None,
    audio: Audio = None,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Follow a job that runs, and save its frames as they come."),
    ] = False,
) -> None:
    """Save a job's images, video and report; of a job that still runs, what is there.

    What is there already, as it was rendered, is not fetched again.
    """
    job = Job.open(chosen_cluster(context), job_id)
    if audio is not None:
        check_sound(audio, job.video)
    destination = destination_of_stored(job, output)
    with reserved(destination.folder):
        _fetch(job, destination, audio, is_copy=output is not None, watch=watch)


def _fetch(
    job: Job, destination: Destination, audio: Path | None, *, is_copy: bool, watch: bool
) -> None:
    folder = ResultsFolder(destination.folder)
    if watch:
        with FrameSaver(job, folder, destination.rendering) as early:
            job.follow(on_state=early.look)
    with saving_bar(job.name) as show:
        saver = FrameSaver(job, folder, destination.rendering, show)
        images = saver.finish()
    if not is_copy or not _is_at_home(job.job_id):
        remember_destination(job.job_id, destination)
    total = len(job.work_units)
    print(
        f"images  {len(images)} of {total} in {folder.path / FRAMES}"
        if images
        else f"images  0 of {total}: no frame is rendered yet"
    )
    statistics, video = saver.save_statistics(), saver.save_video(audio)
    report = saver.save_report()
    if video is not None:
        print(f"video   {video}")
    if report is not None:
        print(f"report  {report}")
    warn_of_kept(folder, job.job_id)
    state = job.readable_state()
    if state is None or not state.ended:
        print(f"the job has not ended: {state.phase if state else 'waiting for its flow'}")
    if statistics is not None:
        try:
            print(job.statistics())
        except RecordError as error:
            warn(str(error))
    if saver.damage:
        left_out = frame_ranges(sorted(saver.damage))
        print(f"images  without frames that are damaged: {left_out}")
        raise damaged_error(job.job_id, saver.damage)


def _is_at_home(job_id: str) -> bool:
    """Whether its results have a folder, of which another is a copy."""
    known = remembered_destination(job_id)
    return known is not None and ResultsFolder(known.folder).job_id == job_id
