"""``povstorm doctor``: is everything there that a render needs, and what to do where it is not."""

from __future__ import annotations

import typer

from povstorm_client.commands.chosen_cluster import chosen_cluster


def doctor(context: typer.Context) -> None:
    """Check the cluster: storage, renderer, project, permissions, versions; exit 1 if any fails."""
    checks = chosen_cluster(context).check()
    said = ""
    for check in checks:
        verdict = "FAILED" if not check.passed else "ok    " if check.known else "?     "
        print(f"{verdict}  {check.name}: {check.finding}")
        if check.remedy and check.remedy != said:
            print(f"        {check.remedy}")
            said = check.remedy
    if not all(check.passed for check in checks):
        raise typer.Exit(1)
