"""The cluster that ``povstorm --cluster outputs.json`` chose, for every command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import typer

from povstorm_client.cluster import Cluster


@dataclass(frozen=True)
class ClusterChoice:
    """What was given before the command's name; outputs None: this machine."""

    outputs: Path | None = None
    deployment: str | None = None
    gcp_credentials: str = ""


def chosen_cluster(context: typer.Context) -> Cluster:
    """The cluster of the running command; InputError for outputs that are not readable."""
    choice = context.find_object(ClusterChoice) or ClusterChoice()
    if choice.outputs is None:
        return Cluster.local().with_deployment(choice.deployment)
    return Cluster.from_terraform_outputs(
        choice.outputs, deployment=choice.deployment, gcp_credentials=choice.gcp_credentials
    )
