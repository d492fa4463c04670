"""``povstorm status``: what a job's flow is doing, and its Cloud Run executions."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from povstorm_client.commands.chosen_cluster import chosen_cluster
from povstorm_client.frame_ranges import frame_ranges
from povstorm_client.job import Job


def status(
    context: typer.Context,
    job_id: Annotated[str, typer.Argument(help="The job's id, as `povstorm submit` printed it")],
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep looking until the job has ended")
    ] = False,
) -> None:
    """Show a job's phase, its frames, and on Google Cloud its executions."""
    job = Job.open(chosen_cluster(context), job_id)
    console = Console()
    if not watch:
        console.print(_table(job))
        return
    with Live(_table(job), console=console, auto_refresh=False) as live:
        while (state := job.state()) is None or not state.ended:
            time.sleep(2 * job.cluster.storage.poll_seconds)
            live.update(_table(job), refresh=True)
        live.update(_table(job), refresh=True)


def _table(job: Job) -> Table:
    table = Table(title=job.job_id, show_header=False, title_justify="left")
    state = job.state()
    if state is None:
        table.add_row("phase", "submitted: no flow has begun yet")
        table.add_row("frames", str(len(job.work_units)))
        return table
    seconds = max(0.0, time.time() - state.updated)
    table.add_row("phase", state.phase if state.ended else f"{state.phase} ({seconds:.0f} s ago)")
    done = f"{state.done} of {state.total} rendered"
    cached = f", {state.cached} from the cache" if state.cached else ""
    working = f", {state.running} in work" if state.running and not state.ended else ""
    table.add_row("frames", done + cached + working)
    if state.failed:
        failed = [result for result in job.results() if result.state == "failed"]
        table.add_row("failed", frame_ranges([result.frame for result in failed]))
        for result in failed[:3]:
            table.add_row("", f"frame {result.frame}: {result.error}")
    if state.video_frames:
        table.add_row("video", f"{state.video_frames} frames encoded")
    if state.message:
        table.add_row("", state.message)
    for execution in job.cluster.executions(job.job_id):
        ended = "ended" if execution.completed else f"{execution.running} running"
        counts = f"{execution.succeeded} of {execution.task_count} tasks done, {ended}"
        lost = f", {execution.failed} lost" if execution.failed else ""
        table.add_row(execution.short_name, counts + lost)
    return table
