"""Wave: what one Cloud Run execution does; FrameWave and SegmentWave say what that is."""

from __future__ import annotations

from dataclasses import dataclass

from povstorm_client.cloud_run.api import ExecutionState
from povstorm_client.cloud_run.stored_plan import StoredWave
from povstorm_client.cloud_run.wave_plan import WavePlan
from povstorm_client.storage import layout


@dataclass(eq=False)
class Wave:
    """A wave on its way.

    prefix: its place in the storage. shares: by task, the unit ids of its frames, or the names of
    its segments. size: index of the render job in the fleet. submitted: Unix seconds; launched: the
    same on the event loop's clock; begun: likewise, once a task was seen at work. plan: None for a
    wave that another run of the job started. execution: its name at Google, None until it is known
    to be started. waits_for: a line for people while none of its tasks is at work. state: of the
    execution, at the last look. billed_usd: what the tasks took, None before they have ended.
    """

    wave_id: str
    prefix: str
    shares: list[list[str]]
    size: int
    submitted: float
    launched: float
    begun: float | None = None
    plan: WavePlan | None = None
    execution: str | None = None
    waits_for: str = ""
    state: ExecutionState | None = None
    billed_usd: float | None = None

    @property
    def tasks(self) -> int:
        """The number of array tasks."""
        return len(self.shares)

    def record(self) -> StoredWave | None:
        """What plan.json says of it; None for a wave that another run of the job has planned."""
        if self.plan is None:
            return None
        encodes = layout.is_segment_wave(self.wave_id)
        return StoredWave(
            wave=self.wave_id,
            segments=self.plan.frames if encodes else 0,
            execution=self.execution,
            render_job=self.plan.job.name,
            tasks=self.plan.tasks,
            frames=0 if encodes else self.plan.frames,
            submitted=self.submitted,
            completed=self.state.completed if self.state else None,
            failed_tasks=self.state.failed if self.state else 0,
            predicted_seconds=self.plan.seconds,
            predicted_usd=self.plan.usd,
            billed_usd=self.billed_usd,
        )
