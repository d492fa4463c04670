"""The argument by which commands take a stored job; a shell completes it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from povstorm_client.cluster import Cluster
from povstorm_client.errors import PovstormError
from povstorm_client.jobs.summary import job_ids

_MOST_OFFERED = 500


def complete_job(context: typer.Context, incomplete: str) -> list[str]:
    """The ids of this machine's jobs that begin so; of a bucket's none, which would take a while.

    There is nobody to tell an error while the user presses Tab: the command will.
    """
    root: Any = context.find_root()
    if root.params.get("cluster") is not None:
        return []
    try:
        found = sorted(job_ids(Cluster.local().storage), reverse=True)
    except (PovstormError, OSError):
        return []
    return [job_id for job_id in found if job_id.startswith(incomplete)][:_MOST_OFFERED]


JobArgument = Annotated[
    str,
    typer.Argument(
        metavar="JOB", help="The job's id, as `povstorm jobs` lists it", autocompletion=complete_job
    ),
]
