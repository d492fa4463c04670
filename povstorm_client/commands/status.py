"""``povstorm status``: how far a job is, frame by frame, and its Cloud Run executions."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, TypeVar

import typer
from rich.console import RenderableType
from rich.live import Live

from povstorm_client.cloud_run.api import ExecutionState
from povstorm_client.cloud_run.stored_plan import read_plan
from povstorm_client.commands.chosen_cluster import chosen_cluster
from povstorm_client.commands.job_argument import JobArgument
from povstorm_client.commands.notification import Notify, tell_end, teller
from povstorm_client.commands.status_page import StatusPage
from povstorm_client.errors import InputError, RecordError, StorageError
from povstorm_client.job import Job
from povstorm_client.jobs.overview import FrameOverview, FrameWatch
from povstorm_client.jobs.state import JobState
from povstorm_client.launch.kept_journals import Teller, teller_of
from povstorm_client.storage import layout
from povstorm_client.storage.job_address import job_uri
from povstorm_client.storage.povstorm_home import home_folder
from povstorm_client.terminal import plain_console

T = TypeVar("T")

# Listing costs a call for each thousand objects, and so much is waited between two at least.
_SECONDS_PER_FRAME = 0.002
_EXECUTION_SECONDS = 10.0


def status(
    context: typer.Context,
    job_id: JobArgument,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep looking until the job has ended")
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Compare images and further outputs with their checksums; in a folder, reads all",
        ),
    ] = False,
    notify: Notify = None,
) -> None:
    """Show a job's phase, a map of its frames, its failures, and its Cloud Run executions."""
    if notify is not None and not watch:
        raise InputError("--notify tells of a job's end: give --watch too, which waits for it")
    if check and watch:
        raise InputError("--check compares what is stored now: give it without --watch")
    tell = None if notify is None else teller(notify)
    job = Job.open(chosen_cluster(context), job_id)
    console = plain_console()
    ascii_only = console.options.ascii_only

    def shown(page: StatusPage) -> RenderableType:
        return page.render(columns=console.width, ascii_only=ascii_only)

    pages = _Pages(job)
    if not watch:
        page = pages.turn()
        if check:
            page = replace(page, overview=page.overview.with_damage(job.damage()))
        console.print(shown(page))
        return
    if not console.is_terminal:
        # What is written to a file or a pipe stays: the end, and not each look at it.
        while (page := pages.turn()).state is None or not page.state.ended:
            time.sleep(2 * job.cluster.storage.poll_seconds)
        console.print(shown(page))
        tell_end(job, tell)
        return
    page = pages.turn()
    with Live(shown(page), console=console, auto_refresh=False) as live:
        while page.state is None or not page.state.ended:
            time.sleep(2 * job.cluster.storage.poll_seconds)
            page = pages.turn()
            live.update(shown(page), refresh=True)
    tell_end(job, tell)


class _Pages:
    """One page after the other; what is dear to ask for is kept for a while."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._watch = FrameWatch(job.cluster.storage, job.job_id, job.work_units)
        self._overview: FrameOverview | None = None
        self._looked = 0.0
        self._executions: Sequence[ExecutionState] = ()
        self._asked = 0.0

    def turn(self) -> StatusPage:
        """The page as of now."""
        job = self._job
        notes: list[str] = []
        state = _if_readable(job.state, notes)
        ended = state is not None and state.ended
        now = time.monotonic()
        if ended or self._overview is None or now >= self._looked:
            self._overview = self._watch.look(state)
            self._looked = now + _SECONDS_PER_FRAME * len(job.work_units)
        if ended or now >= self._asked:
            self._executions = job.cluster.executions(job.job_id)
            self._asked = now + _EXECUTION_SECONDS
        return StatusPage(
            job.job_id,
            state,
            self._overview,
            time.time(),
            teller=self._teller(state),
            executions=self._executions,
            slowest=(_if_readable(lambda: _slowest(job), notes) or ()) if ended else (),
            usd=_if_readable(lambda: _usd(job), notes),
            notes=notes,
        )

    def _teller(self, state: JobState | None) -> Teller:
        if state is None or not state.recording:
            return "unknown"
        uri = job_uri(self._job.cluster.storage, self._job.job_id)
        return teller_of(home_folder(), uri, state.run)


def _if_readable(read: Callable[[], T], notes: list[str]) -> T | None:
    try:
        return read()
    except RecordError as error:
        notes.append(str(error))
        return None


def _slowest(job: Job) -> list[tuple[int, float]]:
    storage = job.cluster.storage
    if storage.stat(layout.statistics(job.job_id)) is None:
        return []
    try:
        statistics = job.statistics()
    except StorageError:
        return []  # another version's: all else that there is to see is as good
    seconds = {line.frame: line.wall_seconds or 0.0 for line in statistics.frames}
    return [(frame, seconds[frame]) for frame in statistics.slowest_frames if frame in seconds]


def _usd(job: Job) -> tuple[float, float] | None:
    """Planned and billed, of all waves so far."""
    plan = read_plan(job.cluster.storage, job.job_id) if job.fleet is not None else None
    return None if plan is None else (plan.usd, plan.billed_usd)
