"""Stored jobs as a table, for ``povstorm jobs`` and ``povstorm clean``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from povstorm_client.jobs.state import LOST_SECONDS, SILENT_SECONDS
from povstorm_client.jobs.summary import JobSummary
from povstorm_client.quantities import byte_size
from povstorm_client.terminal import plain_console

_COLOURS = {"completed": "green", "failed": "red", "unreadable": "red", "cancelled": "yellow"}
# Columns below which the moment of submission is left out: an id has it too.
_NARROW = 76
_WIDE = 1000


def print_jobs(jobs: Iterable[JobSummary]) -> None:
    """Print them as wide as the terminal; into a pipe or a file a line each, however long."""
    console = plain_console()
    if not console.is_terminal and not os.environ.get("COLUMNS"):
        console.width = _WIDE
    console.print(job_table(jobs, time.time(), width=console.width))


def job_table(jobs: Iterable[JobSummary], now: float, *, width: int = 80) -> Table:
    """A line a job; now: Unix seconds, to tell which flows are silent; width: the terminal's."""
    shown = list(jobs)
    narrow = width < _NARROW
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    # An id is there to be copied: rather two lines of it than an ellipsis.
    table.add_column("job", overflow="fold", min_width=12 if narrow else 24)
    if not narrow:
        table.add_column("submitted", no_wrap=True)
    table.add_column("phase")
    table.add_column("frames", justify="right")
    with_sizes = any(job.bytes is not None for job in shown)
    if with_sizes:
        table.add_column("size", justify="right", no_wrap=True)
    for job in shown:
        size = [Text(byte_size(job.bytes or 0))] if with_sizes else []
        submitted = [] if narrow else [Text(_when(job.created))]
        table.add_row(Text(job.job_id), *submitted, _phase(job, now), _frames(job), *size)
    return table


def _when(created: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(created)) if created else "?"


def _phase(job: JobSummary, now: float) -> Text:
    text = Text(job.phase, _COLOURS.get(job.phase, "cyan"))
    if job.problem:
        # The id is beside it already.
        text.append(f": {job.problem}", "default")
    elif not job.ended and job.updated and now - job.updated > LOST_SECONDS:
        text.append(", but silent: lost?", "yellow")
    elif not job.ended and job.updated and now - job.updated > SILENT_SECONDS:
        text.append(", but silent", "yellow")
    return text


def _frames(job: JobSummary) -> Text:
    if not job.frames:
        return Text("")
    text = Text(f"{job.done} of {job.frames}")
    if job.failed:
        text.append(f"\n{job.failed} failed", "red")
    return text
