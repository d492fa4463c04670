"""What a job on Cloud Run has cost so far and will cost in all, from its tasks and waves.

Waves that have ended are billed, as who started them reckons; of those at work, and of frames that
no wave has yet, it is predicted. The live page shows it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from povstorm_client.cloud_run import prices_and_limits
from povstorm_client.cloud_run.api import TaskState
from povstorm_client.cloud_run.stored_plan import StoredPlan, StoredWave
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob


@dataclass(frozen=True)
class JobCost:
    """USD: spent until now (of waves at work, as far as can be told), and of the whole job.

    billed: of the waves that have ended, as Cloud Run bills them.
    """

    billed: float
    so_far: float
    whole: float


def billed_usd(tasks: Iterable[TaskState], job: CloudRunJob) -> float:
    """What the tasks of an ended execution of a render job cost."""
    seconds = sum(
        max(prices_and_limits.LEAST_BILLED_SECONDS, task.ran_seconds)
        for task in tasks
        if task.started is not None
    )
    return prices_and_limits.usd(seconds, vcpus=job.vcpus, memory_mib=job.memory_mib)


def job_cost(plan: StoredPlan, frames_left: int, now: float) -> JobCost:
    """The cost of a job; frames_left: that are not rendered; now: Unix seconds."""
    billed = sum(wave.billed_usd or 0.0 for wave in plan.waves)
    at_work = [wave for wave in plan.waves if wave.completed is None]
    spent = sum(_spent(wave, now) for wave in at_work)
    waiting = max(0, frames_left - sum(wave.frames for wave in at_work))
    planned = sum(wave.frames for wave in plan.waves)
    a_frame = sum(wave.predicted_usd for wave in plan.waves) / planned if planned else 0.0
    running = sum(max(wave.predicted_usd, _spent(wave, now)) for wave in at_work)
    return JobCost(billed, billed + spent, billed + running + waiting * a_frame)


def _spent(wave: StoredWave, now: float) -> float:
    """Tasks bill from their start, so by time; a wave that takes longer costs more."""
    if wave.predicted_seconds <= 0:
        return wave.predicted_usd
    return wave.predicted_usd * max(0.0, now - wave.submitted) / wave.predicted_seconds
