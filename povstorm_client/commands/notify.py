"""``povstorm notify``: have the Prefect server tell of each job that ends, whoever started it."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from povstorm_client.commands.ui import server_of_runs
from povstorm_client.errors import InputError
from povstorm_client.launch.prefect_notification import tell, tell_nobody, told


def notify(
    target: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it at run time
        typer.Argument(
            metavar="URL|BLOCK",
            help="A https:// address, which gets JSON, or a notification block of Prefect's, such "
            "as slack-webhook/team; without it, say who is told",
        ),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Tell nobody any more")] = False,
) -> None:
    """Have the Prefect server tell of each job that completes or fails, also of scheduled ones."""
    if off and target is not None:
        raise InputError("--off tells nobody any more: give it without an address")
    server = server_of_runs()
    print(f"server  {server.url}")
    if off:
        print("told    nobody" if tell_nobody(server) else "told    nobody, as before")
        return
    if target is not None:
        tell(server, target)
    block = told(server)
    print(f"told    {block}, of each job that ends; --off ends that" if block else "told    nobody")
