"""SegmentDispatcher: starts waves of the segments that wait, and follows them to their end.

The loop of SegmentWaves calls it, and nobody else: it is one thread's.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from povstorm_client.cloud_run.api import CloudRunApi
from povstorm_client.cloud_run.cost import billed_usd
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.stored_plan import add_to_plan, reserve
from povstorm_client.cloud_run.wave_plan import WavePlan
from povstorm_client.cloud_run.wave_share import write_wave
from povstorm_client.errors import CloudError, PovstormError, VideoError
from povstorm_client.quantities import duration, usd
from povstorm_client.run_logger import RunLogger
from povstorm_client.storage import layout
from povstorm_client.storage.parallel import in_parallel
from povstorm_client.storage.protocol import Storage
from render_image.video.segments import Encoding
from tasks.video.cloud_run.lost_segments import LostSegments
from tasks.video.cloud_run.rendering_rest import RenderingRest
from tasks.video.cloud_run.segment_planner import Place, SegmentPlanner, fewer_ahead
from tasks.video.cloud_run.segment_queue import SegmentQueue
from tasks.video.cloud_run.segment_wave import (
    SegmentWave,
    WaitingSegment,
    read_left_wave,
)
from tasks.video.cloud_run.start_ahead import StartAhead
from tasks.waves.bucket_access import NOT_LET_IN, BucketAccess
from tasks.waves.cancel_note import is_cancelled
from tasks.waves.executions import ExecutionPace, Executions, waits_to_begin

# So many segments find out whether the bucket lets containers in, once one was not.
_PROBED = 4

# Of what the job may cost: who tries frames again comes before what has the video only sooner.
_LEFT_TO_FRAMES = 0.1


@dataclass(frozen=True, kw_only=True)
class SegmentPace(ExecutionPace):
    """In seconds; worth: what is encoded here in this time is not worth starting containers for.

    worth_ahead: the same of containers that are started ahead of it, as they are up when it comes;
    patience: for how long each of them waits in all.

    A wave is given up that is at work for longer than it should be by late_factor, and late; and
    one for which there is no room within park_limit, once the video waits for nothing else.
    """

    poll: float = 1.0
    park_first: float = 2.0
    park_most: float = 20.0
    park_limit: float = 120.0
    unbegun: float = 60.0
    finish: float = 10.0
    worth: float = 15.0
    worth_ahead: float = 5.0
    patience: float = 60.0
    late: float = 300.0
    late_factor: float = 10.0


class SegmentDispatcher:
    """api is called once, by another thread, for a video that is worth it.

    rest: told of frames as they come. pixels: of each image of the video. retries: how often a lost
    segment is tried again. logger is told what is not encoded there, and tell what the video waits
    for, in a line, "" for nothing any more.
    """

    def __init__(
        self,
        queue: SegmentQueue,
        rest: RenderingRest,
        pixels: int,
        storage: Storage,
        job_id: str,
        fleet: CloudRunFleet,
        encoding: Encoding,
        api: Callable[[], CloudRunApi],
        logger: RunLogger,
        tell: Callable[[str], None],
        *,
        retries: int,
        pace: SegmentPace,
    ) -> None:
        self._queue = queue
        self._storage = storage
        self._job_id = job_id
        self._fleet = fleet
        self._encoding = encoding
        self._open_api = api
        self._log = logger
        self._tell_people = tell
        self._told = ""
        # Since when the video waits for nothing but room, on the event loop's clock.
        self._alone: float | None = None
        self._attempts = retries + 1
        self._pace = pace
        self._planner = SegmentPlanner(
            fleet, encoding.ending, queue.segments, pace.worth, encoding.options
        )
        self._pixels = pixels
        self._ahead = StartAhead(rest, queue, storage, job_id, fleet)
        self._access = BucketAccess(pace.grants)
        self._executions: Executions | None = None
        # On their way: those that are being launched, and those whose execution has not ended.
        self._waves: list[SegmentWave] = []
        self._launches: dict[asyncio.Task[None], SegmentWave] = {}
        self._run_id = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    @property
    def is_idle(self) -> bool:
        """Whether no wave is on its way."""
        return not self._waves and not self._launches

    def waiting(self) -> list[WaitingSegment]:
        """The segments in waves that have no result yet."""
        return [segment for wave in self._waves for segment in wave.waiting.values()]

    async def start_due(self) -> None:
        """Start waves of what has gathered, once there is enough or nothing more to come.

        And one ahead of the last segments, which is given what comes. Raises CloudError once no
        container was let in often enough.
        """
        if self._is_ahead_due():
            await self._start_ahead()
        await self._drop_what_starts_too_late()
        if await self._give_what_is_there() or self._is_for_those_ahead():
            return
        is_all = self._queue.all_came
        due = self._queue.pending()
        place = self._place(due, is_all=is_all)
        if place == "nowhere yet" or (place == "containers" and await self._is_held_back()):
            return
        due = self._not_stored(due)
        place = self._place(due, is_all=is_all)
        if place == "here":
            self._give_up(due, VideoError("that is soon done"))
        if place != "containers":
            return
        is_first = self._executions is None
        executions = await self._opened()
        if is_first and any(wave.open for wave in self._waves):
            return  # containers of an earlier run wait for these: at the next look
        left = {segment.name for segment in self.waiting()}
        due = [segment for segment in due if segment.name not in left]
        if self._access.is_in_doubt:
            due = due[:_PROBED]
        for size, segments in self._planner.by_size(due, self._pixels).items():
            plan = self._planner.plan(segments, self._pixels, size)
            self._start_wave(executions, segments, plan, size)

    def _place(self, segments: Sequence[WaitingSegment], *, is_all: bool) -> Place:
        return self._planner.place(segments, self._pixels, is_all=is_all)

    def _not_stored(self, segments: Sequence[WaitingSegment]) -> list[WaitingSegment]:
        """Those of these that are not stored; of the others that is the end."""
        found = in_parallel(self._queue.find, segments)
        return [each for each, is_there in zip(segments, found, strict=True) if not is_there]

    def _is_ahead_due(self) -> bool:
        return self._is_worth_ahead() and self._ahead.is_due(_now())

    def _is_for_those_ahead(self) -> bool:
        """Whether what waits is to wait for containers that are soon started ahead of the rest."""
        return self._is_worth_ahead() and self._ahead.is_near(_now())

    def _is_worth_ahead(self) -> bool:
        frames = sum(self._queue.left())
        return self._planner.seconds(frames, self._pixels) >= self._pace.worth_ahead

    async def _start_ahead(self) -> None:
        """Start containers for what is left, which wait for it."""
        if await self._is_held_back():
            return
        self._ahead.give_up()
        self._not_stored(self._queue.pending())
        executions = await self._opened()
        if any(wave.open for wave in self._waves):
            return  # an earlier run of the job has started some
        if not (left := self._queue.left()):
            return  # an earlier run of the job has all of them encoded
        plan, size = self._planner.plan_ahead(left, self._pixels, self._pace.patience)
        wave = self._planned([[] for _ in range(plan.tasks)], plan, size)
        wave.patience = self._pace.patience
        wave.open = dict.fromkeys(range(plan.tasks), 0)
        wave.most_each = plan.frames_per_task
        spent = self._reserve(wave, left_over=_LEFT_TO_FRAMES)
        if spent is None:
            self._begin_launch(executions, wave)
        else:
            self._log.info(
                "no containers wait for the last segments: they may cost %s, after %s",
                usd(plan.usd),
                usd(spent),
            )

    async def _drop_what_starts_too_late(self) -> None:
        """Start what is left as any other, if containers ahead of it have found no room so far."""
        late = [
            (launch, wave)
            for launch, wave in self._launches.items()
            if wave.open and self._queue.all_came and not launch.done()
        ]
        for launch, wave in late:
            launch.cancel()
            await asyncio.wait({launch})
            del self._launches[launch]
            if wave.execution is None and self._executions is not None:
                # It may have been started by a call that had no answer.
                await self._executions.stop(wave)
                self._waves.remove(wave)
                if wave.execution is None and not wave.is_unanswered:
                    self._costs_nothing(wave)

    async def _give_what_is_there(self) -> bool:
        """Give waiting containers what they wait for; whether whatever comes is for them."""
        is_all = self._queue.all_came
        for wave in self._waves:
            if not wave.open:
                continue
            if wave.execution is None:
                return True  # in a moment
            known = {segment.name for segment in self.waiting()}
            due = [
                segment
                for segment in self._queue.pending()
                if segment.size <= wave.size and segment.name not in known
            ]
            if due := self._not_stored(due):
                self._queue.clear_unfinished(due)
                # If few tasks have found room, or waited until now: others encode the rest sooner.
                is_little = self._place(due, is_all=True) == "here"
                most = None if is_all and is_little else wave.most_each
                self._queue.take(wave.give(self._storage, due, self._encoding, most))
            if is_all:
                wave.end_tasks(self._storage)
        return False

    async def _is_held_back(self) -> bool:
        """Whether no wave is to start now: the job is to stop, or the bucket lets nobody in.

        Of that a few segments find out, while the others wait for what becomes of them.
        """
        if self._access.is_in_doubt:
            if self._waves:
                return True
            self._access.check()
        return self._access.holds_back(_now()) or await self._is_to_stop()

    async def _is_to_stop(self) -> bool:
        return await is_cancelled(self._storage, self._job_id)

    async def _opened(self) -> Executions:
        """Takes over, at first, what an earlier run of the job has left running."""
        if self._executions is None:
            waves_uri = f"{self._storage.uri}/{layout.wave(self._job_id, '')}"
            api = await asyncio.to_thread(self._open_api)
            self._executions = Executions(api, self._fleet, waves_uri, self._pace, self._log)
            self._waves += await self._executions.left_running(
                layout.is_segment_wave,
                lambda wave_id, size: read_left_wave(
                    self._storage, self._job_id, self._encoding, wave_id, size
                ),
            )
            self._queue.take(self.waiting())
        return self._executions

    def _start_wave(
        self, executions: Executions, segments: list[WaitingSegment], plan: WavePlan, size: int
    ) -> None:
        shares = [segments[task :: plan.tasks] for task in range(plan.tasks)]
        wave = self._planned(shares, plan, size)
        spent = self._reserve(wave)
        if spent is not None:
            words = f"containers for them would cost {usd(plan.usd)}, after {usd(spent)}"
            most = f"and the most is ${self._fleet.max_usd:g}"
            self._give_up(segments, CloudError(f"{words}, {most}", "refused"))
            return
        self._queue.take(segments)
        self._begin_launch(executions, wave)

    def _planned(
        self, shares: list[list[WaitingSegment]], plan: WavePlan, size: int
    ) -> SegmentWave:
        wave_id = self._next_id()
        return SegmentWave(
            wave_id,
            layout.wave(self._job_id, wave_id),
            [[segment.name for segment in share] for share in shares],
            size,
            submitted=time.time(),
            launched=_now(),
            plan=plan,
            waiting={
                segment.name: replace(segment, size=size) for share in shares for segment in share
            },
        )

    def _reserve(self, wave: SegmentWave, left_over: float = 0.0) -> float | None:
        """Write it down before it costs anything; what others cost, if with it that is too much.

        Whoever starts another wave, or goes on with the job, counts it. left_over: the share of
        what the job may cost that is then still to be there.
        """
        record = wave.record()
        assert record is not None, "it has a plan"  # noqa: S101 - a mistake of ours
        most = self._fleet.max_usd
        left = None if most is None else most * (1.0 - left_over)
        return reserve(self._storage, self._job_id, record, left)

    def _next_id(self) -> str:
        return f"v{next(self._numbers):04d}-{self._run_id}"

    def _begin_launch(self, executions: Executions, wave: SegmentWave) -> None:
        """Launch a wave that is written down, while others are followed."""
        self._waves.append(wave)
        self._launches[asyncio.create_task(self._launch(executions, wave))] = wave

    async def _launch(self, executions: Executions, wave: SegmentWave) -> None:
        """Store and start it, or leave its segments to encode_video."""
        try:
            self._queue.clear_unfinished(wave.waiting.values())
            self._store(wave)
            await executions.start(
                wave,
                lambda: self._make_smaller(executions, wave),
                lambda: self._waited_long_for(wave),
            )
        except PovstormError as error:
            if isinstance(error, CloudError) and error.kind == "unclear":
                # It may have been started after all, and cost something.
                await executions.stop(wave)
            else:
                self._costs_nothing(wave)
            self._waves.remove(wave)
            self._give_up(list(wave.waiting.values()), error)
        else:
            words = f"{sum(map(len, wave.shares))} segments of the video"
            if wave.patience is not None:
                words = "ahead of the video's last segments"
            self._log.info("wave %s: %s, %s", wave.wave_id, words, wave.plan)

    def _store(self, wave: SegmentWave) -> None:
        write_wave(self._storage, wave.prefix, wave.waiting_shares(self._encoding))

    async def _make_smaller(self, executions: Executions, wave: SegmentWave) -> bool:
        """Have half of a wave's tasks wait for room as a wave of their own, if that can help."""
        if not wave.can_be_split(self._waves):
            return False
        if wave.patience is not None and wave.plan is not None:
            # Fewer tasks are given all that comes.
            wave.shrink(fewer_ahead(wave.plan, wave.tasks // 2, wave.patience))
            self._store(wave)
            self._write_down(wave)
            return True
        wave_id = self._next_id()
        rest = wave.split(wave_id, layout.wave(self._job_id, wave_id))
        self._store(wave)
        # Both at once: together they are what was written down of the wave.
        self._write_down(wave, rest)
        self._begin_launch(executions, rest)
        return True

    def _look_at_launches(self) -> None:
        """Raises what nobody has thought of."""
        for launch in [each for each in self._launches if each.done()]:
            del self._launches[launch]
            launch.result()

    def _tell(self) -> None:
        """Say what the video waits for once all of its frames are there, if it is another thing."""
        line = ""
        if self._queue.is_stopped:
            waits = (wave.waits_for for wave in self._waves if wave.waits_for)
            line = next(waits, "") or self._access.waits_for(_now())
        if line != self._told:
            self._told = line
            self._tell_people(line)

    def _write_down(self, *waves: SegmentWave) -> None:
        records = [record for wave in waves if (record := wave.record()) is not None]
        if records:
            add_to_plan(self._storage, self._job_id, records)

    def _costs_nothing(self, wave: SegmentWave) -> None:
        wave.billed_usd = 0.0
        self._write_down(wave)

    async def look(self) -> None:
        """Take in what was stored since the last look, and do what the waves' states ask for."""
        self._look_at_launches()
        self._note_whether_alone()
        executions = self._executions
        if executions is not None and self._waves:
            launching = set(self._launches.values())
            started = [wave for wave in self._waves if wave not in launching]
            for wave in started:
                wave.state = await executions.look(wave)
                self._note_begin(wave)
            # Listed after the states: what a task stored before it ended is in it.
            self._collect()
            for wave in started:
                await self._follow(executions, wave)
        self._tell()

    def _note_begin(self, wave: SegmentWave) -> None:
        if wave.begun is not None:
            return
        if wave.state is not None and wave.state.has_begun:
            wave.begun, wave.waits_for = _now(), ""
        elif _now() - wave.launched >= self._pace.unbegun:
            wave.waits_for = waits_to_begin(wave, self._pace)

    def _note_whether_alone(self) -> None:
        """Neither frames nor other segments are at work, whose room could be waited for."""
        if not self._queue.is_stopped or any(wave.begun is not None for wave in self._waves):
            self._alone = None
        elif self._alone is None:
            self._alone = _now()

    def _waited_long_for(self, wave: SegmentWave) -> bool:
        """Whether the video has waited for this wave's room, and nothing else, long enough."""
        if self._alone is None:
            return False
        return _now() - max(wave.launched, self._alone) >= self._pace.park_limit

    def _collect(self) -> None:
        """Take in the segments that were stored since the last look."""
        segments = layout.segments(self._job_id)
        there = {entry.key for entry in self._storage.list(segments)}
        for wave in self._waves:
            stored = [
                segment
                for name, segment in wave.waiting.items()
                if layout.segment_record(segments, name) in there
            ]
            for segment, is_whole in zip(
                stored, in_parallel(self._queue.find, stored), strict=True
            ):
                if is_whole:
                    del wave.waiting[segment.name]
                    self._access.granted()

    async def _follow(self, executions: Executions, wave: SegmentWave) -> None:
        """Do what the state of a wave's execution asks for."""
        state = wave.state
        if state is None:
            return
        is_over, lost = state.completed is not None, state.failed + state.cancelled
        if wave.patience is not None:
            lost += state.succeeded  # may have waited in vain for what it was given just then
        if is_over or lost > wave.lost_tasks:
            if wave.waiting and await self._is_to_stop():
                return
            wave.lost_tasks = lost
            await self._settle(executions, wave, is_over=is_over)
        if is_over:
            self._waves.remove(wave)
        elif not wave.waiting and not wave.open:
            # What it took is known when it has ended.
            wave.stored = wave.stored or _now()
            if _now() - wave.stored > self._pace.finish:
                self._waves.remove(wave)
                await executions.stop(wave)
        # While Google has no room for a task, nothing is late, and nothing is billed.
        elif wave.begun is not None and wave.waiting:
            expected = wave.plan.seconds if wave.plan else 0.0
            if _now() - wave.begun > self._late(expected):
                await executions.cancel(wave)
        elif wave.begun is None and self._waited_long_for(wave):
            await self._give_up_waiting(executions, wave)

    async def _give_up_waiting(self, executions: Executions, wave: SegmentWave) -> None:
        """Encode here what Google has no room for, now that nothing else is waited for."""
        await executions.cancel(wave)
        self._waves.remove(wave)
        self._costs_nothing(wave)
        waited = duration(self._pace.park_limit)
        words = f"Google Cloud has begun none of {wave.tasks} tasks for {waited}"
        self._give_up(list(wave.waiting.values()), CloudError(words, "room"))

    def _late(self, expected: float) -> float:
        """The seconds after which a wave that should take so many is given up."""
        return self._pace.late + self._pace.late_factor * expected

    async def _settle(self, executions: Executions, wave: SegmentWave, *, is_over: bool) -> None:
        """Try again what ended tasks have lost, with more memory if that was the reason."""
        states = await executions.tasks(wave)
        # Again: a task may have stored its last segment since they were listed, and ended.
        self._collect()
        ended = {state.index for state in states if state.has_ended}
        for index in list(wave.open):
            if is_over or index in ended:
                del wave.open[index]
        found = LostSegments.of(wave, states, self._fleet, self._attempts, is_over=is_over)
        for name in found.names:
            del wave.waiting[name]
        if is_over and wave.plan is not None:
            wave.billed_usd = billed_usd(states, wave.plan.job)
            self._write_down(wave)
        if any(state.not_let_in for state in states):
            # Also of those that were given nothing yet.
            self._access.refused(wave.launched, _now())
            self._log.warning("%d segments of the video wait: %s", len(found.refused), NOT_LET_IN)
        self._queue.again([*found.unseen, *found.refused, *found.again])
        self._give_up(found.given_up, VideoError(found.reason))
        if found.again:
            words = "%d segments of the video are tried again: %s"
            self._log.warning(words, len(found.again), found.reason)

    async def stop(self) -> None:
        """Stop what nobody waits for any more."""
        for launch in self._launches:
            launch.cancel()
        await asyncio.gather(*self._launches, return_exceptions=True)
        if self._executions is not None:
            for wave in self._waves:
                await self._executions.stop(wave)
        self._write_down(*self._waves)
        if self._told:
            self._told = ""
            self._tell_people("")

    def _give_up(self, segments: Sequence[WaitingSegment], error: Exception) -> None:
        """Leave segments to encode_video."""
        tell_given_up(len(segments), error, self._log)
        self._queue.give_up(segments, error)


def tell_given_up(segments: int, error: Exception, logger: RunLogger) -> None:
    """Log that so many segments are left to encode_video, if any are, and why."""
    if segments:
        logger.info("%d segments of the video are encoded here: %s", segments, error)


def _now() -> float:
    """Seconds of the event loop's clock."""
    return asyncio.get_running_loop().time()
