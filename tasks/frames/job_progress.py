"""JobProgress: counts of a running job, published when they change, and every half minute.

The steps and map_frames feed it; it writes ``state.json`` for the client. It imports no
Prefect.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from povstorm_client.errors import StorageError
from povstorm_client.frames.ranges import first_and_last
from povstorm_client.frames.spread import spread
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.state import HEARTBEAT_SECONDS, JobState, Phase, write_state
from povstorm_client.run_logger import RunLogger
from povstorm_client.storage.protocol import Storage
from tasks.stored.last_writes import LAST_DELAYS

_log = logging.getLogger("povstorm")
# Neighbours in an animation take about as long as each other, its two ends may not.
_LATEST = 50
# Of more frames in work the state has the beginnings of so many.
_MOST_BEGUN = 256
# Of the frames that were timed the state has the latest, and some from all over the job.
_LATEST_SAMPLED, _MOST_SAMPLED = 24, 64


class JobProgress:
    """The state of one run of a job; ``async with`` keeps it published.

    A frame may be counted by several that work on it, or have it rendered: it counts once. queued:
    whether a frame in work may still wait for a container. logger: is told when the state cannot
    be stored.
    """

    def __init__(
        self,
        storage: Storage,
        job_id: str,
        total: int,
        *,
        queued: bool = False,
        logger: RunLogger = _log,
    ) -> None:
        self._storage = storage
        self._logger = logger
        self._job_id = job_id
        self.state = JobState("staging", total, run=str(uuid.uuid4()), queued=queued)
        self._published: JobState | None = None
        self._published_at = 0.0
        # When each frame in work was begun, and how long each took that no longer is; Unix seconds.
        self._working: dict[int, float] = {}
        self._workers: Counter[int] = Counter()
        self._took: dict[int, float] = {}
        self._rendered: set[int] = set()
        self._failed: set[int] = set()
        self._timed: dict[int, float] = {}
        self._latest: deque[float] = deque(maxlen=_LATEST)
        self._publishing: asyncio.Task[None] | None = None
        self._writing: asyncio.Future[None] | None = None

    async def __aenter__(self) -> JobProgress:
        try:
            await self._publish()
        except StorageError as error:
            self._warn(error)
        self._publishing = asyncio.create_task(self._keep_publishing())
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._publishing is not None:
            self._publishing.cancel()
            await asyncio.wait({self._publishing})
        if self._writing is not None:
            # It goes on in its thread, and would overwrite the last state if it ended after that.
            await asyncio.wait({self._writing})
        # Nobody publishes the last one later, and room, or the network, may come back.
        for seconds in LAST_DELAYS:
            try:
                await self._publish()
            except StorageError as error:
                self._warn(error)
                await asyncio.sleep(seconds)
            else:
                return
        await self._publish()

    def enter(self, phase: Phase, message: str = "") -> None:
        """Go on to another phase."""
        self.state = replace(self.state, phase=phase, message=message)

    def note(self, line: str) -> None:
        """Say something of the phase, "" for nothing any more."""
        self.state = replace(self.state, message=line)

    @contextmanager
    def working_on(self, unit: WorkUnit) -> Iterator[None]:
        """Count a frame as running while the block runs, unless it is done already."""
        self.begin([unit])
        try:
            yield
        finally:
            self.end(unit)

    def begin(self, units: Iterable[WorkUnit]) -> None:
        """Count frames as running until each is ended, unless it is done already."""
        now = time.time()
        for unit in units:
            self._workers[unit.frame] += 1
            if unit.frame not in self._rendered:
                self._working.setdefault(unit.frame, now)
        self.state = replace(self.state, running=len(self._working))

    def end(self, unit: WorkUnit) -> None:
        """Take one back who has begun with a frame; it runs while another is at work on it."""
        self._workers[unit.frame] -= 1
        if not self._workers[unit.frame]:
            del self._workers[unit.frame]
            self._end(unit.frame)

    def _end(self, frame: int) -> None:
        begun = self._working.pop(frame, None)
        if begun is not None:
            self._took[frame] = time.time() - begun
            self.state = replace(self.state, running=len(self._working))

    def rendered(self, unit: WorkUnit, *, cached: bool, now: bool) -> None:
        """Count a frame as done; cached: from an earlier job; now: this run has rendered it."""
        self._end(unit.frame)
        took = self._took.pop(unit.frame, 0.0)
        if unit.frame in self._rendered:
            return
        self._rendered.add(unit.frame)
        state = self.state
        self.state = replace(state, done=state.done + 1, cached=state.cached + int(cached))
        if now:
            self._latest.append(took)
            self._timed[unit.frame] = took
            moment = time.time()
            self.state = replace(
                self.state,
                timed=state.timed + 1,
                frame_seconds=sum(self._latest) / len(self._latest),
                first_end=state.first_end or moment,
                last_end=moment,
            )

    def failed(self, unit: WorkUnit) -> None:
        """Count a frame as failed for good."""
        self._end(unit.frame)
        self._took.pop(unit.frame, None)
        self._failed.add(unit.frame)
        self.state = replace(self.state, failed=len(self._failed))

    def encoded(self, frames: int) -> None:
        """Set the number of frames that the video has so far."""
        self.state = replace(self.state, video_frames=frames)

    def unrecorded(self, line: str) -> None:
        """Say what Prefect has no record of, and why."""
        self.state = replace(self.state, unrecorded=line)

    def recording(self, *, goes_on: bool) -> None:
        """Say whether Prefect is still being told of the run."""
        self.state = replace(self.state, recording=goes_on)

    async def _keep_publishing(self) -> None:
        while True:
            await asyncio.sleep(2 * self._storage.poll_seconds)
            try:
                await self._publish()
            except Exception as error:
                self._warn(error)

    async def _publish(self) -> None:
        state = self.state
        silent = time.monotonic() - self._published_at
        if state != self._published or silent >= HEARTBEAT_SECONDS:
            begun = sorted(self._working.values())
            stamped = replace(
                state,
                updated=time.time(),
                working=tuple(first_and_last(self._working)),
                rendered=tuple(first_and_last(self._rendered)),
                sampled=self._sampled(),
                failed_frames=tuple(first_and_last(self._failed)),
                begun=tuple(begun[:: -(-len(begun) // _MOST_BEGUN) or 1]),
            )
            write = asyncio.to_thread(write_state, self._storage, self._job_id, stamped)
            self._writing = asyncio.ensure_future(write)
            await asyncio.shield(self._writing)
            self._published = state
            self._published_at = time.monotonic()

    def _sampled(self) -> tuple[tuple[int, float], ...]:
        latest = list(self._timed)[-_LATEST_SAMPLED:]
        chosen = {*latest, *spread(sorted(self._timed), _MOST_SAMPLED)}
        return tuple((frame, round(self._timed[frame], 3)) for frame in sorted(chosen))

    def _warn(self, error: Exception) -> None:
        """Frames matter more than who looks at them: the next publication may work."""
        self._logger.warning("the job's progress could not be published: %s", error)
