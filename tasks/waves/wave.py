"""Wave: what one Cloud Run execution does; FrameWave and SegmentWave say what that is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Self, TypeVar

from povstorm_client.cloud_run.api import ExecutionState
from povstorm_client.cloud_run.stored_plan import StoredWave
from povstorm_client.cloud_run.wave_plan import WavePlan
from povstorm_client.storage import layout

_Waiting = TypeVar("_Waiting")


@dataclass(eq=False)
class Wave(Generic[_Waiting]):
    """A wave on its way.

    prefix: its place in the storage. shares: by task, the unit ids of its frames, or the names of
    its segments; waiting: those that have no result yet, by the same. size: index of the render job
    in the fleet. submitted: Unix seconds; launched: the same on the event loop's clock; begun:
    likewise, once a task was seen at work. plan: None for a wave that another run of the job
    started. execution: its name at Google, None until it is known to be started. is_unanswered:
    whether it was asked for, and nothing tells whether it is started. waits_for: a line
    for people while none of its tasks is at work. state: of the execution, at the last look.
    lost_tasks: how many tasks had failed or were cancelled when it was last asked which.
    billed_usd: what the tasks took, None before they have ended.
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
    is_unanswered: bool = False
    waits_for: str = ""
    state: ExecutionState | None = None
    lost_tasks: int = 0
    billed_usd: float | None = None
    waiting: dict[str, _Waiting] = field(default_factory=dict)

    @property
    def tasks(self) -> int:
        """The number of array tasks."""
        return len(self.shares)

    def host(self, task: int) -> str:
        """The name of the container of the task with this index."""
        return f"{(self.execution or '').rpartition('/')[2]}/task-{task}"

    def can_be_split(self, others: Iterable[Wave[Any]]) -> bool:
        """Whether half of its tasks may wait for room as a wave of their own, if that can help.

        Whether Google refuses an execution that has room for some of its tasks only is not
        documented: then the half that is asked for next may have it. While a smaller one of the
        others, of the same size, waits to be started, a larger one need not be tried in parts.
        """
        return self.tasks > 1 and not any(
            each.execution is None and each.size == self.size and each.tasks < self.tasks
            for each in others
        )

    def split(self, wave_id: str, prefix: str) -> Self:
        """Take the later half of its tasks from a wave that has not started, as a wave of these."""
        kept = self.tasks // 2
        shares, self.shares = self.shares[kept:], self.shares[:kept]
        gone = {name for share in shares for name in share}
        waiting = {name: each for name, each in self.waiting.items() if name in gone}
        rest = replace(self, wave_id=wave_id, prefix=prefix, shares=shares, waiting=waiting)
        self.waiting = {name: each for name, each in self.waiting.items() if name not in gone}
        for wave in (self, rest):
            if wave.plan is not None:
                wave.plan = wave.plan.part(sum(map(len, wave.shares)), wave.tasks)
        return rest

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
