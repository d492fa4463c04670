"""``povstorm jobs``: the stored jobs, the newest first."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from povstorm_client.commands.chosen_cluster import chosen_cluster
from povstorm_client.commands.job_table import print_jobs

_USUAL = 20


def jobs(
    context: typer.Context,
    last: Annotated[
        int, typer.Option(metavar="N", min=1, help="How many, the newest first")
    ] = _USUAL,
    everything: Annotated[bool, typer.Option("--all", help="All of them")] = False,
    size: Annotated[
        bool, typer.Option("--size", help="What each takes in the storage; lists all its objects")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for scripts")] = False,
) -> None:
    """List the stored jobs, the newest first."""
    cluster = chosen_cluster(context)
    found = cluster.jobs(None if everything else last + 1, sizes=size)
    more = not everything and len(found) > last
    shown = found[:last] if more else found
    if as_json:
        print(json.dumps([job.to_json() for job in shown], indent=2))
        return
    if not shown:
        print(f"there are no jobs in {cluster.storage_uri}")
        return
    print_jobs(shown)
    if more:
        print("there are more: --last N, or --all")
