"""``povstorm doctor``: is everything there that a render needs, and what to do where it is not."""

from __future__ import annotations

import typer

from povstorm_client.commands.chosen_cluster import chosen_cluster


def doctor(context: typer.Context) -> None:
    """Check the cluster: its storage, renderer, permissions and versions; exit 1 if any fails."""
    checks = chosen_cluster(context).check()
    for check in checks:
        print(f"{'ok    ' if check.passed else 'FAILED'}  {check.name}: {check.finding}")
        if not check.passed:
            print(f"        {check.remedy}")
    if not all(check.passed for check in checks):
        raise typer.Exit(1)
