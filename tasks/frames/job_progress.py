"""JobProgress: counts of a running job, published when they change, and every half minute.

The flow and map_frames feed it; it writes ``state.json`` for the client and a progress artifact
for the Prefect UI.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from prefect import get_run_logger
from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact

from povstorm_client.errors import StorageError
from povstorm_client.frames.ranges import first_and_last
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.state import HEARTBEAT_SECONDS, JobState, Phase, write_state
from povstorm_client.storage.protocol import Storage

# Each update of the artifact is an API call, and Prefect Cloud's plans limit those a minute.
_ARTIFACT_SECONDS = 5.0
# Neighbours in an animation take about as long as each other, its two ends may not.
_LATEST = 50
# Of more frames in work the state has the beginnings of so many.
_MOST_BEGUN = 256
# Between attempts to publish how the job ended.
_LAST_DELAYS = (1.0, 2.0, 4.0)


class JobProgress:
    """The state of one run of a job; ``async with`` keeps it published.

    queued: whether a frame in work may still wait for a container.
    """

    def __init__(self, storage: Storage, job_id: str, total: int, *, queued: bool = False) -> None:
        self._storage = storage
        self._job_id = job_id
        self.state = JobState("staging", total, run=str(uuid.uuid4()), queued=queued)
        self._published: JobState | None = None
        self._published_at = 0.0
        # When each frame in work was begun, and how long each took that no longer is; Unix seconds.
        self._working: dict[int, float] = {}
        self._took: dict[int, float] = {}
        self._rendered: set[int] = set()
        self._latest: deque[float] = deque(maxlen=_LATEST)
        self._publishing: asyncio.Task[None] | None = None
        self._artifact: uuid.UUID | None = None
        self._artifact_percent = -1.0
        self._artifact_due = 0.0

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
        # Nobody publishes the last one later, and room, or the network, may come back.
        for seconds in _LAST_DELAYS:
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

    @contextmanager
    def working_on(self, unit: WorkUnit) -> Iterator[None]:
        """Count a frame as running while the block runs."""
        self._working[unit.frame] = time.time()
        self.state = replace(self.state, running=len(self._working))
        try:
            yield
        finally:
            self._took[unit.frame] = time.time() - self._working.pop(unit.frame)
            self.state = replace(self.state, running=len(self._working))

    def rendered(self, unit: WorkUnit, *, cached: bool, now: bool) -> None:
        """Count a frame as done; cached: from an earlier job; now: this run has rendered it."""
        took = self._took.pop(unit.frame, 0.0)
        self._rendered.add(unit.frame)
        state = self.state
        self.state = replace(state, done=state.done + 1, cached=state.cached + int(cached))
        if now:
            self._latest.append(took)
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
        self._took.pop(unit.frame, None)
        self.state = replace(self.state, failed=self.state.failed + 1)

    def encoded(self, frames: int) -> None:
        """Set the number of frames that the video has so far."""
        self.state = replace(self.state, video_frames=frames)

    async def publish_artifact(self) -> None:
        """Bring the progress artifact of the flow run up to date, if Prefect can be reached."""
        state = self.state
        percent = 100.0 * (state.done + state.failed) / max(1, state.total)
        text = f"{state.done} of {state.total} frames, {state.failed} failed"
        try:
            if self._artifact is None:
                self._artifact = await acreate_progress_artifact(percent, description=text)
            elif percent != self._artifact_percent:
                await aupdate_progress_artifact(self._artifact, percent, description=text)
        except Exception as error:
            # Prefect's, mostly, or of its server; the job goes on without being shown.
            self._warn(error)
        else:
            self._artifact_percent = percent

    async def _keep_publishing(self) -> None:
        while True:
            await asyncio.sleep(2 * self._storage.poll_seconds)
            try:
                await self._publish()
            except Exception as error:
                self._warn(error)
            if time.monotonic() >= self._artifact_due:
                await self.publish_artifact()
                self._artifact_due = time.monotonic() + _ARTIFACT_SECONDS

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
                begun=tuple(begun[:: -(-len(begun) // _MOST_BEGUN) or 1]),
            )
            await asyncio.to_thread(write_state, self._storage, self._job_id, stamped)
            self._published = state
            self._published_at = time.monotonic()

    def _warn(self, error: Exception) -> None:
        """Frames matter more than who looks at them: the next publication may work."""
        get_run_logger().warning("the job's progress could not be published: %s", error)
