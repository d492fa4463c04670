"""StartAhead: when containers are started ahead of the video's last segments; once in a run.

An instance takes some ten seconds until its container runs, and is billed for a minute at least. So
it is started before the last frames are there, and given their segments while it runs.
SegmentDispatcher asks. Of the rendering it knows what RenderingRest tells, and plan.json until the
first frame is there.
"""

from __future__ import annotations

from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.stored_plan import read_plan
from povstorm_client.errors import RecordError
from povstorm_client.storage.protocol import Storage
from tasks.video.cloud_run.rendering_rest import RenderingRest
from tasks.video.cloud_run.segment_queue import SegmentQueue

# Seconds before the last frame is expected: what containers need to start, and as much again, as
# frames take longer and shorter than others. What they wait is within the minute that is billed.
_LEAD = 25.0
# So long before it segments wait for these containers: other ones would take as long.
_NEAR = 60.0


class StartAhead:
    """rest: told of frames as they come; queue: of the same job."""

    def __init__(
        self,
        rest: RenderingRest,
        queue: SegmentQueue,
        storage: Storage,
        job_id: str,
        fleet: CloudRunFleet,
    ) -> None:
        self._rest = rest
        self._queue = queue
        self._storage = storage
        self._job_id = job_id
        self._cpus = {job.name: job.vcpus for job in fleet.jobs}
        self._missing: int | None = None
        self._at_once = 0.0
        self._planned_end: float | None = None
        self._is_over = False

    def is_due(self, now: float) -> bool:
        """Whether to start now. now: seconds of the event loop's clock."""
        return self._is_within(_LEAD, now)

    def is_near(self, now: float) -> bool:
        """Whether it is soon due."""
        return self._is_within(_NEAR, now)

    def give_up(self) -> None:
        """It was started, or cannot be: not again in this run."""
        self._is_over = True

    def _is_within(self, seconds: float, now: float) -> bool:
        missing = self._queue.missing
        if self._is_over or self._queue.is_stopped or not missing:
            return False
        if missing != self._missing or not self._at_once:
            # Only then: it is a call to the storage.
            self._missing = missing
            self._read_plan(now)
        left = self._rest.seconds_left(missing, self._at_once, now)
        if left is None and self._planned_end is not None:
            left = self._planned_end - now
        return left is not None and left <= seconds

    def _read_plan(self, now: float) -> None:
        """How many frames the running tasks render at a time, one each vCPU, and until when."""
        try:
            plan = read_plan(self._storage, self._job_id)
        except RecordError:
            plan = None
        waves = [
            wave
            for wave in (plan.waves if plan is not None else ())
            if not wave.segments and wave.completed is None
        ]
        self._at_once = sum(wave.tasks * self._cpus.get(wave.render_job, 1.0) for wave in waves)
        is_known = plan is not None and plan.seconds_per_frame is not None
        if waves and is_known and self._planned_end is None:
            self._planned_end = now + max(wave.predicted_seconds for wave in waves)
