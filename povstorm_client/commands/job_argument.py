"""The argument by which commands take a stored job: its id or a short form; shells complete it."""

from __future__ import annotations

from typing import Annotated, Any, Optional

import typer

from povstorm_client.cluster import Cluster
from povstorm_client.commands.chosen_cluster import chosen_cluster
from povstorm_client.errors import PovstormError
from povstorm_client.jobs.summary import job_ids, named_job

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


def _full_id(context: typer.Context, given: str | None) -> str | None:
    if given is None or context.resilient_parsing:
        return given
    return named_job(chosen_cluster(context).storage, given)


_JOB: Any = typer.Argument(
    metavar="JOB",
    help="The job's id, as `povstorm jobs` lists it, a beginning of it that no other has, or "
    "`last` for the newest",
    autocompletion=complete_job,
    callback=_full_id,
)
JobArgument = Annotated[str, _JOB]
OptionalJobArgument = Annotated[Optional[str], _JOB]  # noqa: UP045 - typer reads it at run time
