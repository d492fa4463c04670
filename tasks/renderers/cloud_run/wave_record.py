"""What the waves of a job were planned to take and what they took: ``plan.json``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from povstorm_client.cloud_run.fleet import CloudRunFleet
from tasks.renderers.cloud_run.wave import Wave


def wave_record(
    fleet: CloudRunFleet, waves: Sequence[Wave], cpu_seconds: float | None
) -> dict[str, Any]:
    """Plain data: predicted and actual seconds and USD of all waves, and of each.

    Times are Unix seconds; "billed_usd" is None for a wave that has not ended.
    """
    planned = [(wave, wave.plan) for wave in waves if wave.plan is not None]
    return {
        "lean": fleet.lean,
        "seconds_per_frame": cpu_seconds,
        "tasks": sum(plan.tasks for _, plan in planned),
        "frames": sum(plan.frames for _, plan in planned),
        "frames_per_task": max((plan.frames_per_task for _, plan in planned), default=0),
        "seconds": sum(plan.seconds for _, plan in planned),
        "usd": sum(plan.usd for _, plan in planned),
        "billed_usd": sum(wave.billed_usd or 0.0 for wave, _ in planned),
        "waves": [
            {
                "wave": wave.wave_id,
                "execution": wave.execution,
                "render_job": plan.job.name,
                "tasks": plan.tasks,
                "frames": plan.frames,
                "submitted": wave.submitted,
                "completed": wave.state.completed if wave.state else None,
                "failed_tasks": wave.state.failed if wave.state else 0,
                "predicted_seconds": plan.seconds,
                "predicted_usd": plan.usd,
                "billed_usd": wave.billed_usd,
            }
            for wave, plan in planned
        ],
    }
