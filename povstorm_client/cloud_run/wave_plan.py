"""The plan of a wave: over how many array tasks its frames are spread, for what time and money.

Pure arithmetic; the dispatcher plans each wave with it, and ``--dry-run`` shows what it says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from povstorm_client.cloud_run import prices_and_limits
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob
from povstorm_client.quantities import duration, usd

# How far above the least possible cost a plan may go to be faster.
_COST_FACTORS = {"fastest": math.inf, "balanced": 1.5, "cheapest": 1.05}
# Of plans that are as fast, to this factor, the cheapest is taken.
_AS_FAST = 1.02
# A task is planned to end well before Cloud Run would stop it.
_TIMEOUT_SHARE = 0.7


@dataclass(frozen=True)
class WavePlan:
    """frames in so many tasks of a render job: predicted seconds to the last image, and USD."""

    job: CloudRunJob
    frames: int
    tasks: int
    seconds: float
    usd: float

    @property
    def frames_per_task(self) -> int:
        """Frames of the fullest task."""
        return math.ceil(self.frames / self.tasks)

    def part(self, frames: int, tasks: int) -> WavePlan:
        """What so many of its frames and tasks take, which are as long at work as all."""
        return replace(self, frames=frames, tasks=tasks, usd=self.usd * tasks / self.tasks)

    def __str__(self) -> str:
        """One line for people."""
        return (
            f"{self.frames} frames in {self.tasks} tasks of {self.job.name} "
            f"({self.frames_per_task} a task): about {duration(self.seconds)}, {usd(self.usd)}"
        )


def plan_wave(
    frames: int,
    seconds_per_frame: float,
    *,
    job: CloudRunJob,
    prefer: str,
    slots: int | None = None,
    startup_seconds: float = prices_and_limits.STARTUP_SECONDS,
    transfer_seconds: float = prices_and_limits.TRANSFER_SECONDS,
) -> WavePlan:
    """The best plan for so many frames (1 or more), each of so many CPU seconds.

    prefer: as in JobSettings. slots: tasks that can run at once now; the job's parallelism by
    default. Each task pays its start and at least a minute, so few long tasks are cheap and many
    short ones are fast: of all task counts, the fastest whose cost is within what ``prefer`` allows
    above the cheapest.
    """
    at_once = max(1, min(slots or job.parallelism, job.parallelism))

    def task_seconds(share: int) -> float:
        rendering = max(share * seconds_per_frame / job.vcpus, seconds_per_frame)
        return startup_seconds + rendering + share * transfer_seconds

    def plan(tasks: int) -> WavePlan:
        small = frames // tasks
        full = frames - small * tasks
        billed = full * max(prices_and_limits.LEAST_BILLED_SECONDS, task_seconds(small + 1)) + (
            tasks - full
        ) * max(prices_and_limits.LEAST_BILLED_SECONDS, task_seconds(small))
        rounds = math.ceil(tasks / at_once)
        return WavePlan(
            job=job,
            frames=frames,
            tasks=tasks,
            seconds=rounds * task_seconds(math.ceil(frames / tasks)),
            usd=prices_and_limits.usd(billed, vcpus=job.vcpus, memory_mib=job.memory_mib),
        )

    most = min(frames, prices_and_limits.MOST_TASKS_PER_EXECUTION)
    plans = [plan(tasks) for tasks in range(1, most + 1)]
    in_time = [
        each
        for each in plans
        if task_seconds(each.frames_per_task) <= job.task_timeout_seconds * _TIMEOUT_SHARE
    ]
    candidates = in_time or plans[-1:]
    affordable = min(each.usd for each in candidates) * _COST_FACTORS[prefer]
    candidates = [each for each in candidates if each.usd <= affordable]
    fast = min(each.seconds for each in candidates) * _AS_FAST
    return min(
        (each for each in candidates if each.seconds <= fast),
        key=lambda each: (each.usd, each.seconds),
    )
