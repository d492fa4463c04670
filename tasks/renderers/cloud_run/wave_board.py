"""WaveBoard: the waves of one run, on their way and ended; shared by the dispatcher's parts."""

from __future__ import annotations

from tasks.renderers.cloud_run.frame_wave import FrameWave, WaitingFrame


class WaveBoard:
    """running: waves whose execution has not ended, or not started yet; ended: all others."""

    def __init__(self) -> None:
        self.running: list[FrameWave] = []
        self.ended: list[FrameWave] = []
        # What waves cost that are not here: of earlier runs of the job, and of its video.
        self.others_usd = 0.0

    def end(self, wave: FrameWave) -> None:
        """Take note that the wave's execution is over."""
        self.running.remove(wave)
        self.ended.append(wave)

    def waiting(self) -> list[tuple[FrameWave, WaitingFrame]]:
        """Every frame of a running wave that has no result yet."""
        return [(wave, frame) for wave in self.running for frame in wave.waiting.values()]

    def taken_over(self, unit_id: str) -> FrameWave | None:
        """The running wave of an earlier run of the job that renders the unit, if one does."""
        waves = (wave for wave in self.running if wave.plan is None and unit_id in wave.units)
        return next(waves, None)

    def taken_over_units(self) -> dict[str, FrameWave]:
        """Unit id → the running wave of an earlier run of the job that renders it."""
        left = [wave for wave in self.running if wave.plan is None]
        return {unit_id: wave for wave in reversed(left) for unit_id in wave.units}

    def own_ids(self) -> list[str]:
        """The ids of the waves that this run has planned."""
        return [wave.wave_id for wave in [*self.running, *self.ended] if wave.plan is not None]

    def tasks_at_work(self, size: int) -> int:
        """Tasks of running waves in the fleet's render job of this index."""
        return sum(wave.tasks for wave in self.running if wave.size == size)

    def others_are_at_work(self, wave: FrameWave) -> bool:
        """Whether the execution of another wave has started, and not ended."""
        return any(each.execution is not None for each in self.running if each is not wave)

    def any_has_begun(self) -> bool:
        """Whether a task of any running wave is, or was, at work."""
        return any(each.begun is not None for each in self.running)

    def started_usd(self) -> float:
        """What the waves of the job were billed, or are expected to be."""
        return self.others_usd + sum(
            wave.plan.usd if wave.billed_usd is None else wave.billed_usd
            for wave in [*self.running, *self.ended]
            if wave.plan is not None
        )
