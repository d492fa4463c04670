"""WaveSample: whether the frames that went first let the others follow; WaveStarts asks it."""

from __future__ import annotations

from collections import Counter

from povstorm_client.frames.result import FrameResult
from tasks.renderers.cloud_run.frame_wave import FrameWave
from tasks.renderers.cloud_run.wave_board import WaveBoard
from tasks.renderers.cloud_run.wave_planner import WavePlanner
from tasks.renderers.cloud_run.wave_setting import Pace
from tasks.renderers.renderer import SAME_FAILURES


class WaveSample:
    """The wave from which the time of all frames is guessed, and what became of frames so far."""

    def __init__(self, planner: WavePlanner, board: WaveBoard, pace: Pace) -> None:
        self._planner = planner
        self._board = board
        self._pace = pace
        self._wave: FrameWave | None = None
        self._any_rendered = False
        self._failures: Counter[str] = Counter()
        self._doubtful_since: float | None = None

    def is_in(self, wave: FrameWave | None) -> None:
        """The frames that come next wait for this wave; None: for none any more."""
        self._wave = wave

    def saw(self, result: FrameResult) -> None:
        """Take note of what became of a frame."""
        if result.state == "rendered":
            self._any_rendered = True
        elif result.state == "failed":
            self._failures[result.what_failed] += 1

    def holds_back(self, now: float) -> bool:
        """Whether the other frames are to wait, at this second of the event loop's clock."""
        sample = self._wave
        return sample is not None and (not self._is_known(sample, now) or self._is_doubtful(now))

    def _is_known(self, sample: FrameWave, now: float) -> bool:
        """Whether half of the sample has a result, or it has been waited for long enough."""
        if sample in self._board.ended or len(sample.waiting) <= len(sample.units) / 2:
            return True
        # Tasks may wait for a quota: the time before they begin says nothing of frames.
        if sample.begun is None or now - sample.begun < self._pace.sample:
            return False
        self._planner.no_frame_within(self._pace.sample)
        return True

    def _is_doubtful(self, now: float) -> bool:
        """Whether the sample says that the scene is wrong: then the job ends in a moment.

        It is map_frames that ends it; if it sees more than is seen here, the waves go on.
        """
        alike = len(self._failures) == 1 and self._failures.total() >= SAME_FAILURES
        if self._any_rendered or not alike:
            return False
        self._doubtful_since = self._doubtful_since or now
        return now - self._doubtful_since < self._pace.gather_most
