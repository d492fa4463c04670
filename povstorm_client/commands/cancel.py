"""``povstorm cancel``: stop a job wherever it runs."""

from __future__ import annotations

import typer

from povstorm_client.commands.chosen_cluster import chosen_cluster
from povstorm_client.commands.job_argument import JobArgument
from povstorm_client.job import Job


def cancel(
    context: typer.Context,
    job_id: JobArgument,
) -> None:
    """Stop a job: its flow, and its Cloud Run executions; finished frames stay."""
    cluster = chosen_cluster(context)
    job = Job.open(cluster, job_id)
    state = job.state()
    if state is not None and state.ended:
        print(f"job {job_id} has ended already: {state.phase}")
        return
    for execution in cluster.cancel(job_id):
        print(f"stopped  {execution.short_name}, {execution.running} of its tasks were running")
    print(f"job {job_id} stops within seconds; go on later with: povstorm retry {job_id}")
