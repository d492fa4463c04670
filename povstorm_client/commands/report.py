"""``povstorm report``: open a job's report in the browser."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated, Optional

import typer

from povstorm_client.commands.chosen_cluster import chosen_cluster
from povstorm_client.commands.job_argument import JobArgument
from povstorm_client.commands.output_folder import destination_of_stored, reserved
from povstorm_client.commands.scene_options import output_path
from povstorm_client.errors import InputError
from povstorm_client.job import Job
from povstorm_client.saving.frame_saver import FrameSaver
from povstorm_client.saving.results_folder import REPORT, ResultsFolder
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage


def report(
    context: typer.Context,
    job_id: JobArgument,
    output: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it at run time
        typer.Option(
            metavar="FILE",
            parser=output_path,
            help="Where to save it; of a job in a bucket, NAME_render/report.html by default",
        ),
    ] = None,
    no_open: Annotated[
        bool, typer.Option("--no-open", help="Save it, or say where it is, and open nothing")
    ] = False,
) -> None:
    """Open a job's report: frames, times, who rendered what, failures, cost. It works offline."""
    job = Job.open(chosen_cluster(context), job_id)
    storage = job.cluster.storage
    if output is None and isinstance(storage, FolderStorage) and job.has_report():
        path = storage.path(layout.report(job_id))
    elif output is None:
        path = _saved_with_results(job)
    else:
        path = job.save_report(output)
    print(f"report  {path}")
    if not no_open and not webbrowser.open(path.absolute().as_uri()):
        print("no browser was found here: open that file in one")


def _saved_with_results(job: Job) -> Path:
    """As fetch saves it, which finds it there, and may replace it."""
    job.require_report()
    destination = destination_of_stored(job, None)
    with reserved(destination.folder):
        folder = ResultsFolder(destination.folder)
        path = FrameSaver(job, folder, destination.rendering).save_report()
    if path is None:
        raise InputError(
            f"{folder.path / REPORT} was made meanwhile, and is not povstorm's: give --output FILE"
        )
    return path
