"""CloudRunRenderer: frames as array tasks of Cloud Run jobs, gathered into waves.

One execution a frame would pay start-up and the least billed minute for each, at a rate that
Google limits. So the frames that wait are planned and started together. What became of them is
learned by listing the job's results, and from the state of the execution if a container was lost.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import random
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from povstorm_client.cloud_run import prices_and_limits
from povstorm_client.cloud_run.api import CloudRunApi, TaskState
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.scene_estimate import Estimate
from povstorm_client.cloud_run.wave_plan import WavePlan
from povstorm_client.errors import (
    CloudError,
    PovstormError,
    RecordError,
    RenderError,
    StorageError,
)
from povstorm_client.frames.job_settings import STALL_SECONDS
from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.stored_frames import is_intact
from povstorm_client.storage import layout
from povstorm_client.storage.parallel import in_parallel
from povstorm_client.storage.protocol import Storage, StoredObject
from render_image.render_unit import remove_unless_rendered, store_failure
from render_image.unexpected import unexpected_failure
from render_image.wave_share import read_index
from tasks.renderers.cloud_run.wave import WaitingFrame, Wave, lost_frames, share_out, store_wave
from tasks.renderers.cloud_run.wave_planner import SAMPLE_FRAMES, Kind, WavePlanner, spread
from tasks.renderers.cloud_run.wave_record import wave_record
from tasks.renderers.renderer import SAME_FAILURES
from tasks.stored.stored_results import read_result

Logger = logging.Logger | logging.LoggerAdapter[Any]


@dataclass(frozen=True)
class Pace:
    """How the dispatcher paces itself, in seconds.

    A wave starts when every admitted frame is here, and none has come for gather_quiet, or when
    the first has waited gather_most.
    poll: between looks at results and executions. sample: how long the first frames, from which
    the time of the others is guessed, are waited for. park_first, park_most: before asking again
    when a quota is used up. finish: how long containers that have nothing left to do may take.
    """

    gather_quiet: float = 0.5
    gather_most: float = 15.0
    poll: float = 2.0
    sample: float = 90.0
    park_first: float = 2.0
    park_most: float = 60.0
    finish: float = 20.0


# A started execution is listed within seconds; only then is a submit without an answer repeated.
_LOOKS_FOR_LOST_SUBMIT = 3


class CloudRunRenderer:
    """Renders on Cloud Run; one dispatcher gathers frames, starts waves and collects results."""

    def __init__(
        self,
        storage: Storage,
        job_id: str,
        fleet: CloudRunFleet,
        api: CloudRunApi,
        *,
        estimate: Estimate | None = None,
        frame_timeout: float | None = None,
        stall_timeout: float | None = STALL_SECONDS,
        pace: Pace | None = None,
        logger: Logger | None = None,
    ) -> None:
        self._storage = storage
        self._job_id = job_id
        self._fleet = fleet
        self._api = api
        self._planner = WavePlanner(fleet, estimate or Estimate())
        self._frame_timeout = frame_timeout
        self._stall_timeout = stall_timeout
        self._pace = pace or Pace()
        self._log = logger or logging.getLogger(__name__)
        self._run_id = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._version = ""
        # What one wave can take: more frames would only read Running long before their turn.
        self._admitted = asyncio.Semaphore(prices_and_limits.MOST_TASKS_PER_EXECUTION)
        # Admitted, and neither here yet nor found in the cache: a wave can still take them along.
        self._expected: set[str] = set()
        self._pending: dict[str, WaitingFrame] = {}
        self._last_arrival = 0.0
        self._waves: list[Wave] = []
        self._ended: list[Wave] = []
        self._sample: Wave | None = None
        self._seen: dict[str, tuple[float, int]] = {}
        self._launches: dict[asyncio.Task[None], Wave] = {}
        self._dispatching: asyncio.Task[None] | None = None
        self._fatal: Exception | None = None
        self._any_rendered = False
        self._failures: Counter[str] = Counter()
        self._doubtful_since: float | None = None

    @property
    def version(self) -> str:
        """The image that renders: POV-Ray's version and everything around it."""
        return self._version

    @property
    def measured(self) -> Estimate:
        """What the frames of this run took."""
        return self._planner.measured

    async def __aenter__(self) -> CloudRunRenderer:
        """Ask for the image, and take over what an earlier run of the job has left running.

        Raises CloudError if a render job cannot be reached: nothing was spent then.
        """
        self._seen = {
            entry.key: (entry.changed, entry.size) for entry in await self._stored_results()
        }
        waves_uri = f"{self._storage.uri}/{layout.wave(self._job_id, '')}"
        for size, job in enumerate(self._fleet.jobs):
            path = self._fleet.job_path(job)
            image = await asyncio.to_thread(self._api.image, path)
            self._version = self._version or image
            for execution in await asyncio.to_thread(self._api.executions, path):
                if execution.completed is None and execution.wave_uri.startswith(waves_uri):
                    await self._take_over(execution.name, execution.wave_uri, size)
        self._dispatching = asyncio.create_task(self._dispatch())
        return self

    async def __aexit__(self, *exception: object) -> None:
        """End the dispatcher, and stop executions with frames that nobody waits for any more."""
        dispatcher = [self._dispatching] if self._dispatching is not None else []
        for task in [*dispatcher, *self._launches]:
            task.cancel()
        await asyncio.gather(*dispatcher, *self._launches, return_exceptions=True)
        if exception[0] is None and self._fatal is None:
            await self._let_containers_end()
        await asyncio.gather(*(self._stop(wave) for wave in self._waves))
        await self._write_record()

    @asynccontextmanager
    async def admission(self, unit: WorkUnit) -> AsyncIterator[None]:
        """Wait until one more frame fits into what a wave can take."""
        async with self._admitted:
            self._expected.add(unit.work_unit_id)
            try:
                yield
            finally:
                self._expected.discard(unit.work_unit_id)

    async def render(self, unit: WorkUnit, *, attempt: int, final_attempt: bool) -> FrameResult:
        """Have one frame rendered; RenderError if it fails, CloudError if none can be."""
        if self._fatal is not None:
            raise self._fatal
        loop = asyncio.get_running_loop()
        unit_id = unit.work_unit_id
        self._expected.discard(unit_id)
        frame = WaitingFrame(
            unit, attempt, final_attempt, loop.time(), time.time(), loop.create_future()
        )
        taken_over = (wave for wave in self._waves if wave.plan is None and unit_id in wave.units)
        wave = next(taken_over, None)
        if wave is None:
            self._pending[unit_id] = frame
            self._last_arrival = loop.time()
        else:
            wave.waiting[unit_id] = frame
        try:
            return await frame.result
        finally:
            if self._pending.get(unit_id) is frame:
                del self._pending[unit_id]

    async def has_parsed(self) -> None:
        """The first wave is a sample, where the rest does not start with it."""

    async def _dispatch(self) -> None:
        """Start waves and collect results until cancelled; an error is every frame's error."""
        try:
            while True:
                idle = not self._waves
                await asyncio.sleep(self._pace.gather_quiet / 2 if idle else self._pace.poll)
                self._look_at_launches()
                await self._start_waves()
                if any(wave.execution for wave in self._waves):
                    await self._poll()
        except Exception as error:
            self._fatal = error
            waiting = [frame for wave in self._waves for frame in wave.waiting.values()]
            for frame in [*self._pending.values(), *waiting]:
                if not frame.result.done():
                    frame.result.set_exception(error)
            if not isinstance(error, PovstormError):
                self._log.exception("the dispatcher of the waves has failed")

    def _look_at_launches(self) -> None:
        """What went wrong with a wave's start is its frames' error; a refusal is that of all."""
        for launch in [each for each in self._launches if each.done()]:
            wave = self._launches.pop(launch)
            error = launch.exception()
            if isinstance(error, CloudError):
                raise error
            if error is not None:
                self._waves.remove(wave)
                for frame in wave.waiting.values():
                    if not frame.result.done():
                        frame.result.set_exception(error)
                # If it was the sample, nobody waits for it.
                wave.waiting.clear()

    async def _take_over(self, execution: str, wave_uri: str, size: int) -> None:
        wave_id = wave_uri.rpartition("/")[2]
        prefix = layout.wave(self._job_id, wave_id)
        try:
            shares = await asyncio.to_thread(read_index, self._storage, prefix)
        except RecordError as error:
            # What it renders is rendered a second time, which does no harm.
            self._log.warning("%s is not taken over: %s", execution, error)
            return
        now = asyncio.get_running_loop().time()
        self._waves.append(
            Wave(wave_id, prefix, shares, size, time.time(), now, execution=execution)
        )
        self._log.info("taking over %s, which an earlier run of the job started", execution)

    async def _start_waves(self) -> None:
        """Start a wave for each kind of frame among those that have gathered."""
        if not self._pending or not self._has_gathered():
            return
        sample = self._sample
        if sample is not None and (not self._sample_is_in(sample) or self._is_doubtful()):
            return
        if await self._is_to_stop():
            return
        self._sample = None
        frames = [frame for frame in self._pending.values() if not frame.result.done()]
        sampling = self._planner.needs_sample
        if sampling:
            frames = spread(frames, SAMPLE_FRAMES)
        started: list[Wave] = []
        for kind, group in self._planner.by_kind(frames).items():
            used = sum(wave.tasks for wave in self._waves if wave.size == kind.size)
            plan = self._planner.plan(len(group), kind, used_tasks=used)
            self._planner.check_budget(plan, self._started_usd())
            started.append(self._launch(group, kind, plan))
        if sampling and started:
            self._sample = max(started, key=lambda wave: len(wave.units))

    async def _is_to_stop(self) -> bool:
        """Whether the job was cancelled: the flow, which looks now and then, ends in a moment.

        Until then nothing is to be started that would be billed, and what was stopped has not
        failed. If another run of the job takes the note back first, this one goes on.
        """
        note = layout.cancel_request(self._job_id)
        return await asyncio.to_thread(self._storage.stat, note) is not None

    def _has_gathered(self) -> bool:
        now = asyncio.get_running_loop().time()
        first = min(frame.since for frame in self._pending.values())
        all_here = not self._expected and now - self._last_arrival >= self._pace.gather_quiet
        return all_here or now - first >= self._pace.gather_most

    def _sample_is_in(self, sample: Wave) -> bool:
        """Whether half of the sample has a result, or it has been waited for long enough."""
        if sample in self._ended or len(sample.waiting) <= len(sample.units) / 2:
            return True
        waited = asyncio.get_running_loop().time() - sample.launched
        if sample.execution is None or waited < self._pace.sample:
            return False
        self._planner.no_frame_within(self._pace.sample)
        return True

    def _is_doubtful(self) -> bool:
        """Whether the sample says that the scene is wrong: then the job ends in a moment.

        It is map_frames that ends it; if it sees more than is seen here, the waves go on.
        """
        alike = len(self._failures) == 1 and self._failures.total() >= SAME_FAILURES
        if self._any_rendered or not alike:
            return False
        now = asyncio.get_running_loop().time()
        self._doubtful_since = self._doubtful_since or now
        return now - self._doubtful_since < self._pace.gather_most

    def _started_usd(self) -> float:
        """What the waves so far were billed, or are expected to be."""
        waves = [*self._waves, *self._ended]
        return sum(
            wave.plan.usd if wave.billed_usd is None else wave.billed_usd
            for wave in waves
            if wave.plan is not None
        )

    def _launch(self, frames: list[WaitingFrame], kind: Kind, plan: WavePlan) -> Wave:
        wave_id = f"w{next(self._numbers):04d}-{self._run_id}"
        shares = share_out(frames, plan.tasks)
        wave = Wave(
            wave_id=wave_id,
            prefix=layout.wave(self._job_id, wave_id),
            shares=[[frame.unit.work_unit_id for frame in share] for share in shares],
            size=kind.size,
            submitted=time.time(),
            launched=asyncio.get_running_loop().time(),
            plan=plan,
            waiting={frame.unit.work_unit_id: frame for frame in frames},
        )
        for unit_id in wave.waiting:
            del self._pending[unit_id]
        self._waves.append(wave)
        self._launches[asyncio.create_task(self._submit(wave, shares))] = wave
        self._log.info("wave %s: %s", wave_id, plan)
        return wave

    async def _submit(self, wave: Wave, shares: list[list[WaitingFrame]]) -> None:
        """Store the wave and start its execution, once, however often Google has to be asked."""
        for result in await asyncio.to_thread(self._clear_earlier_attempts, wave):
            self._resolve(wave, wave.waiting[result.work_unit_id], result)
        if not wave.waiting:
            self._waves.remove(wave)
            return
        left = [[each for each in share if not each.result.done()] for share in shares]
        await asyncio.to_thread(
            store_wave,
            self._storage,
            wave.prefix,
            left,
            frame_timeout=self._frame_timeout,
            stall_timeout=self._stall_timeout,
        )
        delay = self._pace.park_first
        while wave.execution is None:
            try:
                await self._run(wave)
            except CloudError as error:
                if error.kind == "refused":
                    raise
                if error.kind == "unclear":
                    wave.execution = await self._find_execution(wave, _LOOKS_FOR_LOST_SUBMIT)
                if wave.execution is None:
                    self._log.warning("wave %s waits %.0f s: %s", wave.wave_id, delay, error)
                    jitter = random.uniform(0.75, 1.25)  # noqa: S311 - no secret
                    await asyncio.sleep(delay * jitter)
                    delay = min(2 * delay, self._pace.park_most)

    def _clear_earlier_attempts(self, wave: Wave) -> list[FrameResult]:
        """Delete what earlier attempts stored: the container may create objects, not replace them.

        So its account needs no right to delete anything. Returns the frames that need no further
        attempt: another run of the job, or a container that was thought lost, has rendered them.
        """

        def clear(unit: WorkUnit) -> FrameResult | None:
            key = layout.result(unit.job_id, unit.work_unit_id)
            rendered = remove_unless_rendered(self._storage, key)
            if rendered is not None:
                if is_intact(self._storage, rendered):
                    return rendered
                self._storage.remove(key)
            self._storage.remove(layout.log(unit.job_id, unit.work_unit_id))
            self._storage.remove(f"{unit.offload_gcs_prefix}/{unit.image_name}")
            return None

        stale = [frame.unit for frame in wave.waiting.values() if frame.key in self._seen]
        return [result for result in in_parallel(clear, stale) if result is not None]

    async def _run(self, wave: Wave) -> None:
        asking = asyncio.ensure_future(
            asyncio.to_thread(
                self._api.run, self._job_path(wave), wave_uri=self._uri(wave), tasks=wave.tasks
            )
        )
        try:
            wave.execution = await asyncio.shield(asking)
        except asyncio.CancelledError:
            # What was asked for cannot be taken back: its answer says what to stop.
            await asyncio.wait({asking})
            if asking.exception() is None:
                wave.execution = asking.result()
            raise
        wave.submitted = time.time()
        wave.launched = asyncio.get_running_loop().time()

    async def _find_execution(self, wave: Wave, looks: int) -> str | None:
        """The execution that a submit without an answer started after all."""
        for look in range(looks):
            if look:
                await asyncio.sleep(self._pace.poll)
            for execution in await asyncio.to_thread(self._api.executions, self._job_path(wave)):
                if execution.wave_uri == self._uri(wave):
                    self._log.info("found %s, whose start had no answer", execution.name)
                    return execution.name
        return None

    def _job_path(self, wave: Wave) -> str:
        return self._fleet.job_path(self._fleet.jobs[wave.size])

    def _uri(self, wave: Wave) -> str:
        return f"{self._storage.uri}/{wave.prefix}"

    async def _poll(self) -> None:
        """Take in new results, then what became of executions and of the frames they lost."""
        waves = [wave for wave in self._waves if wave.execution is not None]
        for wave in waves:
            wave.state = await asyncio.to_thread(self._api.execution, wave.execution or "")
        # Listed after the states: what a task stored before it ended is in it.
        await self._collect_results()
        for wave in waves:
            state = wave.state
            if state is None:
                continue
            lost = state.failed + state.cancelled
            if state.completed is not None or lost > wave.lost_tasks:
                if wave.waiting and await self._is_to_stop():
                    continue
                wave.lost_tasks = lost
                await self._settle(wave, is_over=state.completed is not None)
            if state.completed is not None:
                self._waves.remove(wave)
                self._ended.append(wave)
                await self._write_record()

    async def _collect_results(self) -> None:
        waiting = {
            frame.key: (wave, frame) for wave in self._waves for frame in wave.waiting.values()
        }
        new: list[tuple[Wave, WaitingFrame]] = []
        for entry in await self._stored_results():
            version = (entry.changed, entry.size)
            if self._seen.get(entry.key) != version:
                self._seen[entry.key] = version
                if entry.key in waiting:
                    new.append(waiting[entry.key])
        results = await asyncio.gather(
            *(asyncio.to_thread(read_result, self._storage, frame.unit) for _, frame in new)
        )
        for (wave, frame), result in zip(new, results, strict=True):
            # A failure of an earlier attempt, such as _lose stores, says nothing about this one.
            if result is not None and (
                result.state == "rendered" or result.attempt == frame.attempt
            ):
                try:
                    self._resolve(wave, frame, result)
                except Exception as error:
                    # Whatever is wrong with it, the other frames' results are fine.
                    self._log.exception("the result of frame %d cannot be used", frame.unit.frame)
                    wave.waiting.pop(frame.unit.work_unit_id, None)
                    if not frame.result.done():
                        frame.result.set_exception(unexpected_failure(error))

    async def _stored_results(self) -> list[StoredObject]:
        prefix = layout.results(self._job_id)
        return await asyncio.to_thread(lambda: list(self._storage.list(prefix)))

    def _resolve(self, wave: Wave, frame: WaitingFrame, result: FrameResult) -> None:
        if (result.job_id, result.work_unit_id) != (self._job_id, frame.unit.work_unit_id):
            raise StorageError(f"{frame.key} is the result of another frame: delete it")
        wave.waiting.pop(frame.unit.work_unit_id, None)
        self._planner.saw(result)
        if result.state == "rendered":
            self._any_rendered = True
        elif result.state == "failed":
            self._failures[result.error] += 1
        if result.out_of_memory:
            # The kernel took POV-Ray and left the container, whose other frames go on.
            (share,) = (share for share in wave.shares if result.work_unit_id in share)
            alone = len(share) == 1
            self._planner.ran_out_of_memory(frame.unit, wave.size, alone=alone)
        if frame.result.done():
            return  # nobody waits for it any more
        if result.state == "rendered":
            frame.result.set_result(result)
        else:
            frame.result.set_exception(
                RenderError(
                    f"frame {frame.unit.frame}: {result.error}",
                    retryable=result.state == "retrying",
                    log_tail=result.log_tail,
                )
            )

    async def _settle(self, wave: Wave, *, is_over: bool) -> None:
        """Fail the frames whose task has ended without storing a result for them."""
        states = await asyncio.to_thread(self._api.tasks, wave.execution or "")
        # Again: a task may have stored its last frames since the results were listed, and ended.
        await self._collect_results()
        tasks = {state.index: state for state in states}
        ended = {state.index for state in states if state.has_ended}
        if is_over:
            ended.update(range(wave.tasks))
        lost = await asyncio.to_thread(lost_frames, self._storage, wave, ended, set(wave.waiting))
        for index, unit_ids in lost.items():
            frames = [wave.waiting[unit_id] for unit_id in unit_ids if unit_id in wave.waiting]
            for frame in frames:
                await self._lose(wave, frame, tasks.get(index), index, alone=len(frames) == 1)
        if is_over and wave.plan is not None:
            job = wave.plan.job
            billed = sum(
                max(prices_and_limits.LEAST_BILLED_SECONDS, state.ran_seconds)
                for state in states
                if state.started is not None
            )
            wave.billed_usd = prices_and_limits.usd(
                billed, vcpus=job.vcpus, memory_mib=job.memory_mib
            )

    async def _lose(
        self, wave: Wave, frame: WaitingFrame, task: TaskState | None, index: int, *, alone: bool
    ) -> None:
        """Make a lost container a failure of this frame, stored like any other."""
        unit = frame.unit
        wave.waiting.pop(unit.work_unit_id)
        if frame.result.done():
            return
        self._planner.lost(unit)
        retryable = True
        if task is not None and task.out_of_memory:
            retryable = self._planner.ran_out_of_memory(unit, wave.size, alone=alone)
        memory = self._fleet.jobs[wave.size].memory_mib
        host = f"{(wave.execution or '').rpartition('/')[2]}/task-{index}"
        error = f"its container {host} {_what_happened(task, memory)}"
        if not retryable:
            error += ": give terraform's render_jobs one with more memory"
        result = FrameResult(
            work_unit_id=unit.work_unit_id,
            job_id=self._job_id,
            frame=unit.frame,
            state="retrying" if retryable and not frame.final_attempt else "failed",
            attempt=frame.attempt,
            host=host,
            started=(task.started if task else None) or wave.submitted,
            ended=(task.completed if task else None) or time.time(),
            error=error,
        )
        stored = await asyncio.to_thread(store_failure, self._storage, result)
        if frame.result.done():
            return
        if stored.state == "rendered":
            frame.result.set_result(stored)
        else:
            frame.result.set_exception(
                RenderError(f"frame {unit.frame}: {error}", retryable=retryable)
            )

    async def _let_containers_end(self) -> None:
        """Wait, for a while, for containers that have stored all their frames."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._pace.finish
        try:
            while any(not wave.waiting for wave in self._waves) and loop.time() < deadline:
                await self._poll()
                await asyncio.sleep(self._pace.poll / 2)
        except CloudError as error:
            self._log.warning("the end of the containers was not seen: %s", error)

    async def _stop(self, wave: Wave) -> None:
        """Cancel a wave's execution, also one whose start has not been answered."""
        try:
            execution = wave.execution or await self._find_execution(wave, 1)
            if execution is not None:
                await asyncio.to_thread(self._api.cancel, execution)
                self._log.info("stopped %s", execution)
        except CloudError as error:
            self._log.error("wave %s may be running, stop it by hand: %s", wave.wave_id, error)

    async def _write_record(self) -> None:
        waves = [*self._ended, *self._waves]
        if any(wave.plan for wave in waves):
            record = wave_record(self._fleet, waves, self._planner.cpu_seconds)
            text = json.dumps(record, indent=2).encode()
            await asyncio.to_thread(self._storage.write, layout.plan(self._job_id), text)


def _what_happened(task: TaskState | None, memory_mib: int) -> str:
    if task is None or not task.has_ended:
        return "was not at work when its execution ended"
    if task.outcome == "cancelled":
        return "was cancelled"
    if task.out_of_memory:
        return f"ran out of its {memory_mib} MiB of memory"
    how = f"signal {task.term_signal}" if task.term_signal else f"exit code {task.exit_code}"
    words = f": {task.message}" if task.message else ""
    return f"was lost with {how}{words}"
