"""The render-job flow of a run that goes on, or went, without Prefect: told by its journal.

record_run calls recorded_job. Its task runs have the names, states, retries and logs that they
would have on a worker, and its artifacts; but their times are those of the telling.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterName,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES, State, TaskRun
from prefect.logging.handlers import APILogHandler
from prefect.runtime import flow_run
from prefect.states import Completed, Crashed
from prefect.tasks import Task
from prefect.utilities.annotations import quote

from flows.outcome import Outcome
from flows.prefect_cancellation import cancelled_in_prefect
from flows.render_job import FLOW, job_id_of_run, state_of
from flows.run_label import label_run
from povstorm_client.errors import PovstormError, RenderError
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.jobs.manifest import read_manifest, read_work_units
from povstorm_client.jobs.state import JobState
from povstorm_client.launch.run_page import RUN_LABEL
from povstorm_client.storage.credentials import google_credentials
from povstorm_client.storage.job_address import open_job
from povstorm_client.storage.protocol import Storage
from tasks.artifacts.job_artifacts import publish_frames, publish_report
from tasks.artifacts.progress_artifact import progress_artifact
from tasks.frames.task_runs import forget_results
from tasks.journal.events import (
    Event,
    FrameBegun,
    FrameEnded,
    FrameLogged,
    JobEnded,
    RunLogged,
    StepBegun,
    StepEnded,
)
from tasks.journal.journal_reader import JournalReader
from tasks.render_frame import render_frame
from tasks.steps.frame_attempt import tell_output
from tasks.steps.step import Step

_LOOK_SECONDS = 0.2
# Runs that are told at once of what has ended; they hold memory.
_CATCHING_UP = 16


class RunRecord:
    """What Prefect knows of a run by its journal, to which nothing is written once has_ended.

    run: the JobState's; flow_run: its id, once it has begun; events: how many were told;
    task_runs: how many have ended; lost: why the rest could not be told, "" if it could.
    """

    def __init__(
        self,
        journal: int,
        has_ended: Callable[[], bool],
        ask_to_stop: Callable[[], None],
        run: str = "",
    ) -> None:
        self.run = run
        self.flow_run: uuid.UUID | None = None
        self.events = 0
        self.task_runs = 0
        self.lost = ""
        self.ask_to_stop = ask_to_stop
        self._reader = JournalReader(journal)
        self._has_ended = has_ended

    @property
    def unknown(self) -> int:
        """How many events so far are another version's, and were passed over."""
        return self._reader.unknown

    async def to_tell(self) -> AsyncIterator[Event]:
        """All of them, as they come."""
        while True:
            # Asked before: what is written until a run's end is read.
            ended = self._has_ended()
            for event in self._reader.new():
                yield event
                self.events += 1
            if ended:
                return
            await asyncio.sleep(_LOOK_SECONDS)


async def forget_half_told(job_id: str, run: str) -> None:
    """Delete what Prefect knows of a run of which who told of it did not come to the end.

    It is told of anew: else it would be Running for ever. run: the JobState's.
    """
    of_job = FlowRunFilter(name=FlowRunFilterName(any_=[job_id]))
    async with get_client() as client:
        for found in await client.read_flow_runs(flow_run_filter=of_job):
            if found.labels.get(RUN_LABEL) == run:
                await client.delete_flow_run(found.id)


async def recorded_run(record: RunRecord, job_uri: str, gcp_credentials: str) -> str:
    """Have Prefect know of a run to its end, and keep it; what it does not, in a line, or ""."""
    current_record.set(record)
    state = await recorded_job(job_uri, gcp_credentials, return_state=True)
    if record.flow_run is None:
        return state.message or state.name or "its flow run did not begin"
    if not record.lost:
        await until_kept(record)
        await APILogHandler.aflush()
    return record.lost


async def until_kept(record: RunRecord) -> None:
    """Wait until the server has kept the ends of all task runs: it queues what it is told of them.

    A server that is stopped before would leave them Running for ever.
    """
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[record.flow_run] if record.flow_run else []))
    ended = TaskRunFilter(
        state=TaskRunFilterState(type=TaskRunFilterStateType(any_=list(TERMINAL_STATES)))
    )
    async with get_client() as client:
        while record.task_runs and not await client.read_task_runs(
            flow_run_filter=of_run, task_run_filter=ended, offset=record.task_runs - 1, limit=1
        ):
            await asyncio.sleep(_LOOK_SECONDS)


current_record: ContextVar[RunRecord] = ContextVar("current_record")


@flow(name=FLOW, flow_run_name=job_id_of_run, persist_result=False)
async def recorded_job(job_uri: str, gcp_credentials: str = "") -> State[None]:
    """Tell of a job's run; the parameters are render_job's."""
    record = current_record.get()
    record.flow_run = uuid.UUID(flow_run.get_id())
    await label_run(record.flow_run, record.run)
    storage, job_id = open_job(
        job_uri, await asyncio.to_thread(google_credentials, gcp_credentials)
    )
    manifest = await asyncio.to_thread(read_manifest, storage, job_id)
    units = await asyncio.to_thread(read_work_units, storage, job_id)
    task_runs = _TaskRuns(record, storage, units, manifest.settings.retries, len(manifest.frames))
    stop = asyncio.Event()
    asking = asyncio.ensure_future(_pass_on(stop, record))
    try:
        async with (
            cancelled_in_prefect(stop, get_run_logger()),
            progress_artifact(lambda: task_runs.state),
        ):
            async for event in record.to_tell():
                await task_runs.tell(event)
                if isinstance(event, JobEnded):
                    break
            await task_runs.end()
    except Exception as error:
        record.lost = f"{type(error).__name__}: {error}"
        raise
    finally:
        asking.cancel()
    if task_runs.outcome is None:
        # Of a journal that cannot be read to its end it is not known how the run ended.
        unknown = "its journal does not tell how the run ended: another version wrote it"
        ended = "the process of the run has ended before the job did"
        return Crashed(message=unknown if record.unknown else ended)
    return await state_of(task_runs.outcome, storage, manifest)


async def _pass_on(stop: asyncio.Event, record: RunRecord) -> None:
    await stop.wait()
    record.ask_to_stop()


class _TaskRun:
    """What is known of one task run, in order; an end ends the attempt, or the run."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.run: asyncio.Task[Any] | None = None


class _TaskRuns:
    """Has a task run for each frame and step that the journal tells of.

    state: how far the job is; outcome: how it ended, once that was told.
    """

    def __init__(
        self, record: RunRecord, storage: Storage, units: list[WorkUnit], retries: int, total: int
    ) -> None:
        self._record = record
        self.state = JobState("rendering", total)
        self.outcome: Outcome | None = None
        self._storage = storage
        self._units = {unit.work_unit_id: unit for unit in units}
        self._frame_task = _frame.with_options(retries=retries)
        self._at_work: dict[str, _TaskRun] = {}
        # Runs that know their end, and only tell it to Prefect.
        self._catching_up: set[asyncio.Task[Any]] = set()

    async def tell(self, event: Event) -> None:
        """Take note of what has happened, and wait while Prefect is far behind."""
        match event:
            case RunLogged():
                get_run_logger().log(event.level, "%s", event.text)
            case FrameBegun(unit=unit, attempt=1):
                self._begin(unit, self._frame_task, self._units[unit])
            case StepBegun(step=step):
                self._begin(step, _step.with_options(name=step), list(self._units.values()))
            case JobEnded():
                self.outcome = Outcome(event.phase, event.message)
        match event:
            case FrameBegun(unit=key) | FrameLogged(unit=key) | FrameEnded(unit=key):
                await self._add(key, event)
            case StepEnded(step=key):
                await self._add(key, event)
        if isinstance(event, FrameEnded) and not event.again:
            done, failed = self.state.done, self.state.failed
            if event.error:
                self.state = replace(self.state, failed=failed + 1)
            else:
                self.state = replace(self.state, done=done + 1)

    def _begin(self, key: str, task: Task[..., Any], about: object) -> None:
        entry = self._at_work[key] = _TaskRun()
        entry.run = asyncio.ensure_future(
            task(quote(about), quote(entry), quote(self._storage), return_state=True)
        )

    async def _add(self, key: str, event: Event) -> None:
        # Of a frame that was taken from the cache and then not, it is the second run's.
        entry = self._at_work.get(key)
        if entry is None or entry.run is None:
            return
        entry.events.put_nowait(event)
        if isinstance(event, FrameEnded | StepEnded) and not getattr(event, "again", False):
            self._record.task_runs += 1
            self._catching_up.add(entry.run)
            del self._at_work[key]
        if len(self._catching_up) >= _CATCHING_UP:
            _, self._catching_up = await asyncio.wait(
                self._catching_up, return_when=asyncio.FIRST_COMPLETED
            )
            forget_results()

    async def end(self) -> None:
        """Wait until all is told; what has no end has none in Prefect either."""
        for entry in self._at_work.values():
            if entry.run is not None:
                entry.run.cancel()
        left = [entry.run for entry in self._at_work.values() if entry.run is not None]
        await asyncio.gather(*left, *self._catching_up, return_exceptions=True)


async def _goes_on(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether the run had another attempt."""
    try:
        await state.aresult()
    except RenderError as error:
        return error.retryable
    except Exception:
        return False
    return False


@task(
    name=render_frame.name,
    task_run_name=render_frame.task_run_name,
    cache_policy=NO_CACHE,
    persist_result=False,
    retry_delay_seconds=0,
    retry_condition_fn=_goes_on,
)
async def _frame(unit: WorkUnit, entry: _TaskRun, storage: Storage) -> State[None] | None:
    """An attempt to render a frame; the next call goes on with the next."""
    logger = get_run_logger()
    while True:
        event = await entry.events.get()
        if isinstance(event, FrameLogged):
            logger.log(event.level, "%s", event.text)
        elif isinstance(event, FrameEnded):
            if event.error:
                raise RenderError(event.error, retryable=event.again)
            if event.how == "cached":
                return Completed(name="Cached", message="taken from the cache")
            if event.how == "rendered":
                await asyncio.to_thread(tell_output, storage, unit, event.host, logger)
            return None


@task(cache_policy=NO_CACHE, persist_result=False)
async def _step(units: list[WorkUnit], entry: _TaskRun, storage: Storage) -> None:
    """A step that is no frame, and what Prefect's pages show of it."""
    event = await entry.events.get()
    assert isinstance(event, StepEnded)  # noqa: S101 - nothing else is told of a step
    for text in event.shown[:1]:
        get_run_logger().log(logging.INFO, "%s", text)
    if event.error:
        raise PovstormError(event.error)
    job_id = units[0].job_id
    if event.step == Step.STATISTICS:
        stored = await asyncio.to_thread(FrameResults(storage, job_id).of, units)
        await publish_frames(job_id, stored.results)
    if event.step == Step.REPORT:
        await publish_report(job_id, *event.shown[1:])
