"""``povstorm frame``: render one frame of a stored job again, here and into the open."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from povstorm_client.commands.chosen_cluster import chosen_cluster
from povstorm_client.commands.job_argument import JobArgument
from povstorm_client.commands.scene_options import Sandbox, Switches, output_path, sandbox_mode
from povstorm_client.launch.frame_process import render_frame_here


def frame(
    context: typer.Context,
    job_id: JobArgument,
    number: Annotated[int, typer.Argument(metavar="FRAME", help="The frame's number")],
    switches: Switches = None,
    output: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it at run time
        typer.Option(
            metavar="FOLDER",
            parser=output_path,
            help="A new folder; JOB_frame_NUMBER by default",
        ),
    ] = None,
    sandbox: Sandbox = None,
    threads: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="POV-Ray's threads; as in the job by default"),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show all that POV-Ray prints, as it comes")
    ] = False,
) -> None:
    """Render one frame again here, with the job's own files, to see what goes wrong.

    The folder keeps what POV-Ray saw, its output, the image, and the command as a script. The job
    stays as it is.
    """
    status = render_frame_here(
        chosen_cluster(context).storage_uri,
        job_id,
        number,
        output or Path(f"{job_id}_frame_{number:04d}"),
        sandbox=sandbox_mode(sandbox),
        threads=threads,
        switches=switches,
        verbose=verbose,
        gcp_credentials=chosen_cluster(context).gcp_credentials,
    )
    raise typer.Exit(status)
