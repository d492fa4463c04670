"""``povstorm adopt``: say that a folder or bucket is povstorm's, where it does not look so."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from povstorm_client.commands.chosen_cluster import chosen_cluster
from povstorm_client.errors import InputError


def adopt(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask")] = False,
) -> None:
    """Mark $POVSTORM_HOME, or the cluster's bucket, as povstorm's, whatever else is in it.

    Only needed where povstorm refuses a storage of its own. What povstorm would not have written
    stays as it is, also when jobs are deleted.
    """
    cluster = chosen_cluster(context)
    if not yes:
        if not sys.stdin.isatty():
            raise InputError("nobody is there to ask: give --yes")
        if not typer.confirm(f"Is {cluster.storage_uri} povstorm's, to store and delete jobs in?"):
            print("nothing was changed")
            raise typer.Exit(1)
    foreign = cluster.adopt()
    print(f"{cluster.storage_uri} is a povstorm storage now" + (f": {foreign}" if foreign else ""))
