"""Wave: frames that one Cloud Run execution renders together, as its dispatcher keeps them.

A wave is stored before its execution starts: a share for each array task, and an index by which
another run of the job can take over an execution that its own orchestrator left behind.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property

from povstorm_client.cloud_run.api import ExecutionState
from povstorm_client.cloud_run.stored_plan import StoredWave
from povstorm_client.cloud_run.wave_claim import DISPATCHER, Claim, claim, first_open, read_claim
from povstorm_client.cloud_run.wave_plan import WavePlan
from povstorm_client.cloud_run.wave_share import WaveFrame, WaveShare, write_wave
from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.storage import layout
from povstorm_client.storage.parallel import in_parallel
from povstorm_client.storage.protocol import Storage


@dataclass(eq=False)
class WaitingFrame:
    """A frame that a render_frame task waits for.

    since: when it came, in seconds of the event loop's clock; arrived: the same in Unix seconds.
    """

    unit: WorkUnit
    attempt: int
    final_attempt: bool
    since: float
    arrived: float
    result: asyncio.Future[FrameResult]


@dataclass(eq=False)
class Wave:
    """A wave on its way.

    shares: unit ids by task. size: index of the render job in the fleet. plan: None for a wave
    that another run of the job started. submitted: Unix seconds; launched: the same on
    the event loop's clock; begun: once a task was seen at work. waits_for: a line for people while
    none is. waiting: the frames that have no result yet, by unit id. lost_tasks: how many tasks had
    failed or were cancelled at the last look. billed_usd: what the tasks took, None before they
    have ended.
    """

    wave_id: str
    prefix: str
    shares: list[list[str]]
    size: int
    submitted: float
    launched: float
    begun: float | None = None
    waits_for: str = ""
    plan: WavePlan | None = None
    execution: str | None = None
    waiting: dict[str, WaitingFrame] = field(default_factory=dict)
    lost_tasks: int = 0
    state: ExecutionState | None = None
    billed_usd: float | None = None

    @cached_property
    def units(self) -> frozenset[str]:
        """All unit ids."""
        return frozenset(unit_id for share in self.shares for unit_id in share)

    @property
    def tasks(self) -> int:
        """The number of array tasks."""
        return len(self.shares)

    def record(self) -> StoredWave | None:
        """What plan.json says of it; None for a wave that another run of the job has planned."""
        if self.plan is None:
            return None
        return StoredWave(
            wave=self.wave_id,
            execution=self.execution,
            render_job=self.plan.job.name,
            tasks=self.plan.tasks,
            frames=self.plan.frames,
            submitted=self.submitted,
            completed=self.state.completed if self.state else None,
            failed_tasks=self.state.failed if self.state else 0,
            predicted_seconds=self.plan.seconds,
            predicted_usd=self.plan.usd,
            billed_usd=self.billed_usd,
        )


def store_wave(
    storage: Storage,
    prefix: str,
    shares: list[list[WaitingFrame]],
    settings: JobSettings,
) -> None:
    """Store the share of each task, by which its execution renders."""
    stored = []
    for share in shares:
        frames = tuple(
            WaveFrame(frame.unit, frame.attempt, frame.final_attempt, frame.arrived)
            for frame in share
        )
        stored.append(WaveShare.of_job(frames, settings))
    write_wave(storage, prefix, stored)


def lost_frames(
    storage: Storage, wave: Wave, ended: set[int], waiting: set[str]
) -> dict[int, list[str]]:
    """Units that no task will render any more: those that wait for one which has ended, by task.

    waiting: the units without a result. An open frame belongs to whoever has claimed it; of an
    ended task, those that nobody has are claimed here, so that nobody takes them late.
    """
    claimed = {entry.key for entry in storage.list(layout.wave_claims(wave.prefix))}

    def holder(place: tuple[int, str, bool]) -> int:
        task, unit_id, is_open = place
        if not is_open:
            return task
        is_claimed = layout.wave_claim(wave.prefix, unit_id) in claimed
        if not is_claimed and (
            task not in ended or claim(storage, wave.prefix, unit_id, Claim(DISPATCHER))
        ):
            return task
        taken = read_claim(storage, wave.prefix, unit_id)
        return task if taken is None or taken.task == DISPATCHER else taken.task

    places = [
        (task, unit_id, place >= first_open(len(share)))
        for task, share in enumerate(wave.shares)
        for place, unit_id in enumerate(share)
        if unit_id in waiting
    ]
    lost: dict[int, list[str]] = defaultdict(list)
    for (_, unit_id, _), task in zip(places, in_parallel(holder, places), strict=True):
        if task in ended:
            lost[task].append(unit_id)
    return lost
