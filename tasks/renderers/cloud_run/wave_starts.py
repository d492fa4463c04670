"""WaveStarts: which frames form a wave, and when; the dispatcher asks it and starts them.

Arithmetic and memory only: the seconds of the event loop's clock are passed in.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Iterator

from povstorm_client.cloud_run.wave_plan import WavePlan
from povstorm_client.frames.spread import spread
from povstorm_client.storage import layout
from tasks.renderers.cloud_run.frame_wave import FrameWave, WaitingFrame
from tasks.renderers.cloud_run.gathering import Gathering
from tasks.renderers.cloud_run.wave_board import WaveBoard
from tasks.renderers.cloud_run.wave_planner import SAMPLE_FRAMES, Kind, WavePlanner
from tasks.renderers.cloud_run.wave_sample import WaveSample


class WaveStarts:
    """Makes waves of the frames that have gathered, and puts them on the board."""

    def __init__(
        self,
        job_id: str,
        gathering: Gathering,
        sample: WaveSample,
        planner: WavePlanner,
        board: WaveBoard,
    ) -> None:
        self._job_id = job_id
        self._gathering = gathering
        self._sample = sample
        self._planner = planner
        self._board = board
        self._run_id = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    def are_due(self, now: float) -> bool:
        """Whether frames have gathered, and no sample is to be waited for."""
        return self._gathering.is_complete(now) and not self._sample.holds_back(now)

    def next_waves(self, now: float) -> Iterator[FrameWave]:
        """A wave for each kind of frame among those that have gathered.

        Raises CloudError if one would cost more than allowed; those before it are started.
        """
        self._sample.is_in(None)
        pending = self._gathering.pending.values()
        frames = [frame for frame in pending if not frame.result.done()]
        sampling = self._planner.needs_sample
        if sampling:
            # Those that were tried tell first whether the job can be rendered at all.
            tried = sorted(
                (frame for frame in frames if frame.attempt > 1), key=lambda frame: -frame.attempt
            )[:SAMPLE_FRAMES]
            others = [frame for frame in frames if frame.attempt == 1]
            frames = tried + spread(others, SAMPLE_FRAMES - len(tried))
        started: list[FrameWave] = []
        for kind, group in self._planner.by_kind(frames).items():
            used = self._board.tasks_at_work(kind.size)
            plan = self._planner.plan(len(group), kind, used_tasks=used)
            self._planner.check_budget(plan, self._board.started_usd())
            wave = self._wave(group, kind, plan, now)
            self._gathering.take(wave.waiting)
            self._board.running.append(wave)
            started.append(wave)
            yield wave
        if sampling and started:
            self._sample.is_in(max(started, key=lambda wave: len(wave.units)))

    def split(self, wave: FrameWave) -> FrameWave:
        """Half of the tasks of a wave that has not started, as a wave of their own."""
        wave_id = self._next_id()
        rest = wave.split(wave_id, layout.wave(self._job_id, wave_id))
        self._board.running.append(rest)
        return rest

    def _next_id(self) -> str:
        return f"w{next(self._numbers):04d}-{self._run_id}"

    def _wave(
        self, frames: list[WaitingFrame], kind: Kind, plan: WavePlan, now: float
    ) -> FrameWave:
        wave_id = self._next_id()
        shares = self._planner.share_out(frames, plan.tasks)
        return FrameWave(
            wave_id=wave_id,
            prefix=layout.wave(self._job_id, wave_id),
            shares=[[frame.unit.work_unit_id for frame in share] for share in shares],
            size=kind.size,
            submitted=time.time(),
            launched=now,
            plan=plan,
            frame_bytes=max(self._planner.frame_bytes(frame.unit) for frame in frames),
            waiting={frame.unit.work_unit_id: frame for frame in frames},
        )
