"""WavePlanner: what the next wave looks like, from what the frames so far took and lost.

Arithmetic and memory only; Outcomes tells it what happened, WaveStarts asks it what to start.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from povstorm_client.cloud_run import prices_and_limits
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.frame_memory import frame_bytes, job_with_room
from povstorm_client.cloud_run.frame_times import FrameTimes, least_loaded
from povstorm_client.cloud_run.scene_estimate import Estimate
from povstorm_client.cloud_run.wave_plan import WavePlan, plan_wave
from povstorm_client.errors import CloudError
from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.quantities import usd
from tasks.renderers.cloud_run.frame_wave import WaitingFrame

# From so few frames, spread over the animation, the seconds of all are guessed.
SAMPLE_FRAMES = 16
_SAMPLE_FRAMES_PER_TASK = 4
# A share of the tasks that may always be added, so that a retry need not wait for a whole wave.
_RETRY_SHARE = 0.1
# A frame that was lost with its container so often is rendered in a container of its own.
_LOST_TOGETHER = 2

# What a frame is said to take where that is not known and changes nothing but the prediction.
_UNKNOWN_SECONDS = 5.0


@dataclass(frozen=True)
class Kind:
    """What frames of one wave have in common: the render job's index, one frame a task or more."""

    size: int
    isolated: bool


class WavePlanner:
    """Plans the waves of one job."""

    def __init__(
        self, fleet: CloudRunFleet, estimate: Estimate, times: FrameTimes | None = None
    ) -> None:
        self._fleet = fleet
        self._before = estimate
        self._times = times or FrameTimes()
        self._results: list[FrameResult] = []
        self._measured = Estimate()
        self._sizes: dict[str, int] = {}
        self._losses: dict[str, int] = defaultdict(int)
        self._alone: set[str] = set()
        # Whether any container of this run has stored a result, and whether few are to find out if
        # they can.
        self._any_stored = False
        self._is_probing = False
        self._at_least: float | None = None

    @property
    def measured(self) -> Estimate:
        """What the frames of this run took."""
        return self._measured

    @property
    def needs_sample(self) -> bool:
        """Whether a few frames should be measured before the others are planned.

        The fastest plan is the same for all scenes: every task that can run at once. While
        containers can do nothing, few are to find that out.
        """
        if self._is_probing:
            return True
        asks_for_time = self._fleet.prefer != "fastest" or self._fleet.max_usd is not None
        return self.cpu_seconds is None and asks_for_time

    @property
    def cpu_seconds(self) -> float | None:
        """CPU seconds a frame: as measured in this run, else as told, else as in the last run."""
        told = self._fleet.seconds_per_frame
        known = self._measured.cpu_seconds or told or self._before.cpu_seconds
        return known or self._at_least

    def saw(self, result: FrameResult) -> None:
        """Take note of what a frame took."""
        self._any_stored, self._is_probing = True, False
        self._measured = self._measured.with_frame(result)
        if len(self._results) < SAMPLE_FRAMES:
            self._results.append(result)

    def share_out(self, frames: Sequence[WaitingFrame], tasks: int) -> list[list[WaitingFrame]]:
        """Frames by task, those first that are expected to take long.

        Where an earlier run tells what each takes, no task has much more to do than another; the
        frames of a sample tell less of others, and nothing may be known: then each task gets as
        many, every n-th one, since neighbours take alike long.
        """
        before = self._expected(self._times, frames)
        if before is not None:
            return [[frames[index] for index in share] for share in least_loaded(before, tasks)]
        sample = FrameTimes.of(self._results, frames[0].unit.settings)
        if (seconds := self._expected(sample, frames)) is not None:
            order = sorted(range(len(frames)), key=lambda index: -seconds[index])
            frames = [frames[index] for index in order]
        return [list(frames[index::tasks]) for index in range(tasks)]

    def _expected(self, times: FrameTimes, frames: Sequence[WaitingFrame]) -> list[float] | None:
        units = [frame.unit for frame in frames]
        expected = [times.expected(unit.frame, unit.settings) for unit in units]
        known = [seconds for seconds in expected if seconds is not None]
        return known if len(known) == len(units) else None

    def no_frame_within(self, seconds: float) -> None:
        """Take note that the sample has taken this long without any result."""
        self._at_least, self._is_probing = seconds, False

    def lost(self, unit: WorkUnit, *, by_memory: bool = False) -> None:
        """Take note that the container was lost before this frame was stored.

        by_memory: whether it ran out of it, which the next larger one mends.
        """
        self._losses[unit.work_unit_id] += 1
        self._is_probing |= not (self._any_stored or by_memory)

    def not_let_in(self) -> None:
        """Take note that the bucket has let a container not in."""
        self._is_probing = True

    def ran_out_of_memory(self, unit: WorkUnit, size: int, *, alone: bool) -> bool:
        """Take note of a container that did; False if no other attempt can be given more.

        alone: whether this was the only frame left in it, so that the memory was its own.
        """
        largest = len(self._fleet.jobs) - 1
        self._sizes[unit.work_unit_id] = min(size + 1, largest)
        if size < largest:
            return True
        # There is nothing larger, but a container of its own may be enough.
        self._alone.add(unit.work_unit_id)
        return not alone

    def by_kind(self, frames: Iterable[WaitingFrame]) -> dict[Kind, list[WaitingFrame]]:
        """The frames that can share a wave."""
        groups: dict[Kind, list[WaitingFrame]] = defaultdict(list)
        for frame in frames:
            groups[self._kind(frame.unit)].append(frame)
        return groups

    def frame_bytes(self, unit: WorkUnit) -> int:
        """The memory that a frame is expected to hold, by the largest that is known."""
        peak = max(self._before.peak_memory_bytes, self._measured.peak_memory_bytes)
        return frame_bytes(unit.settings.width, unit.settings.height, peak)

    def _kind(self, unit: WorkUnit) -> Kind:
        least = job_with_room(self._fleet.jobs, self.frame_bytes(unit))
        unit_id = unit.work_unit_id
        # Where no container has stored anything, it is not a frame that they are lost for.
        is_suspect = self._any_stored and self._losses.get(unit_id, 0) >= _LOST_TOGETHER
        return Kind(
            size=max(least, self._sizes.get(unit_id, 0)),
            isolated=is_suspect or unit_id in self._alone,
        )

    def plan(self, frames: int, kind: Kind, *, used_tasks: int) -> WavePlan:
        """How to render so many frames, while so many tasks of that size are at work."""
        job = self._fleet.jobs[kind.size]
        if kind.isolated or self.needs_sample:
            tasks = frames if kind.isolated else math.ceil(frames / _SAMPLE_FRAMES_PER_TASK)
            seconds = prices_and_limits.STARTUP_SECONDS + (self.cpu_seconds or 0.0)
            billed = tasks * max(prices_and_limits.LEAST_BILLED_SECONDS, seconds)
            cost = prices_and_limits.usd(billed, vcpus=job.vcpus, memory_mib=job.memory_mib)
            return WavePlan(job, frames, tasks, seconds, cost)
        return plan_wave(
            frames,
            self.cpu_seconds or _UNKNOWN_SECONDS,
            job=job,
            prefer=self._fleet.prefer,
            slots=max(job.parallelism - used_tasks, math.ceil(job.parallelism * _RETRY_SHARE)),
        )

    def check_budget(self, plan: WavePlan, started_usd: float) -> None:
        """CloudError if the plan, with what was started before, would cost more than allowed."""
        most = self._fleet.max_usd
        if most is None or started_usd + plan.usd <= most:
            return
        before = f", after {usd(started_usd)} for what was started before" if started_usd else ""
        raise CloudError(
            f"not started: {plan}{before}; the most it may cost is ${most:g}: allow more "
            "(--max-cost), or make the frames cheaper",
            "refused",
        )
