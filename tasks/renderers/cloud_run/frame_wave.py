"""FrameWave: frames that one Cloud Run execution renders together, as its dispatcher keeps them.

A wave is stored before its execution starts: a share for each array task, and an index by which
another run of the job can take over an execution that its own orchestrator left behind.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

from povstorm_client.cloud_run.wave_claim import DISPATCHER, Claim, claim, first_open, read_claims
from povstorm_client.cloud_run.wave_share import WaveFrame, WaveShare, read_index
from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.storage import layout
from povstorm_client.storage.parallel import in_parallel
from povstorm_client.storage.protocol import Storage
from tasks.waves.wave import Wave


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
class FrameWave(Wave[WaitingFrame]):
    """A wave of frames; frame_bytes: of memory that one is expected to hold, 0 where not known."""

    frame_bytes: int = 0

    @cached_property
    def units(self) -> frozenset[str]:
        """All unit ids."""
        return frozenset(unit_id for share in self.shares for unit_id in share)

    def split(self, wave_id: str, prefix: str) -> FrameWave:
        """As any wave; what units were, they are no more."""
        self.__dict__.pop("units", None)
        return super().split(wave_id, prefix)

    def waiting_shares(self, settings: JobSettings, container_image: str) -> list[WaveShare]:
        """The share of each task, of what somebody waits for: by these its execution renders.

        container_image: the one that it runs.
        """
        return [
            WaveShare.of_job(
                tuple(
                    WaveFrame(frame.unit, frame.attempt, frame.final_attempt, frame.arrived)
                    for frame in map(self.waiting.get, share)
                    if frame is not None and not frame.result.done()
                ),
                settings,
                frame_bytes=self.frame_bytes,
                container_image=container_image,
            )
            for share in self.shares
        ]


def read_left_wave(storage: Storage, job_id: str, wave_id: str, size: int) -> FrameWave:
    """A wave that an earlier run of the job has stored; RecordError if it is not readable."""
    prefix = layout.wave(job_id, wave_id)
    now = time.time()
    return FrameWave(wave_id, prefix, read_index(storage, prefix), size, now, launched=0.0)


def lost_frames(
    storage: Storage, wave: FrameWave, ended: set[int], waiting: set[str]
) -> dict[int, list[str]]:
    """Units that no task will render any more: those that wait for one which has ended, by task.

    waiting: the units without a result. An open frame belongs to whoever has claimed it; of an
    ended task, those that nobody has are claimed here, so that nobody takes them late.
    """
    claims = read_claims(storage, wave.prefix, waiting)

    def holder(place: tuple[int, str, bool]) -> int:
        task, unit_id, is_open = place
        if not is_open:
            return task
        taken = claims.get(unit_id)
        if taken is None:
            if task not in ended:
                return task
            taken = claim(storage, wave.prefix, unit_id, Claim(DISPATCHER))
        return task if taken.task == DISPATCHER else taken.task

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
