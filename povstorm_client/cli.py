"""The ``povstorm`` command: scenes and jobs without a client program; commands/ has its parts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from povstorm_client.cluster import DEFAULT_DEPLOYMENT
from povstorm_client.commands.adopt import adopt
from povstorm_client.commands.cancel import cancel
from povstorm_client.commands.chosen_cluster import ClusterChoice
from povstorm_client.commands.clean import clean
from povstorm_client.commands.doctor import doctor
from povstorm_client.commands.fetch import fetch
from povstorm_client.commands.frame import frame
from povstorm_client.commands.jobs import jobs
from povstorm_client.commands.render import render, retry
from povstorm_client.commands.report import report
from povstorm_client.commands.status import status
from povstorm_client.commands.submit import submit
from povstorm_client.errors import InputError, PovstormError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Render POV-Ray animations: frames in parallel, images, video and statistics back.",
)


# POV-Ray's own options, such as +W640, are no options of typer's.
_WITH_SWITCHES = {"ignore_unknown_options": True}

app.command(context_settings=_WITH_SWITCHES)(render)
app.command(context_settings=_WITH_SWITCHES)(submit)
app.command(context_settings=_WITH_SWITCHES)(frame)
app.command()(retry)
app.command()(status)
app.command()(fetch)
app.command()(report)
app.command()(cancel)
app.command()(jobs)
app.command()(clean)
app.command()(adopt)
app.command()(doctor)


@app.callback()
def _povstorm(
    context: typer.Context,
    cluster: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it at run time
        typer.Option(
            metavar="OUTPUTS.JSON",
            envvar="POVSTORM_CLUSTER",
            help="Render on Google Cloud: the file of `terraform output -json`",
        ),
    ] = None,
    deployment: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="FLOW/NAME",
            envvar="POVSTORM_DEPLOYMENT",
            help=f"Run the flow on this Prefect deployment, e.g. {DEFAULT_DEPLOYMENT}",
        ),
    ] = None,
    gcp_credentials: Annotated[
        str,
        typer.Option(
            metavar="BLOCK", help="A GcpCredentials block instead of the application default"
        ),
    ] = "",
) -> None:
    """Render POV-Ray animations: frames in parallel, images, video and statistics back."""
    if deployment is not None and cluster is None:
        raise InputError("--deployment needs --cluster OUTPUTS.JSON, the cluster it renders on")
    context.obj = ClusterChoice(cluster, deployment, gcp_credentials)


def main() -> None:
    """Entry point: errors are one message on stderr and exit code 1, Ctrl-C is 130."""
    try:
        sys.exit(app(standalone_mode=False))
    except PovstormError as error:
        print(f"povstorm: {error}", file=sys.stderr)
        sys.exit(1)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
