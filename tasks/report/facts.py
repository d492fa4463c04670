"""What a report tells, as plain data: gather.py makes it, the plots and the page show it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from povstorm_client.cloud_run.stored_plan import StoredWave
from povstorm_client.frames.result import is_parse_error
from povstorm_client.jobs.prediction import Prediction

FrameState = Literal["rendered", "cached", "failed", "missing"]
# "retried": an attempt that failed and was followed by another; "lost": its container was lost;
# "cached": taken from an earlier job, at one moment.
Outcome = Literal["rendered", "cached", "retried", "lost", "failed"]


@dataclass(frozen=True)
class FrameFacts:
    """One frame of the job.

    clock: as the scene saw it; at: seconds from the start of the video. seconds, cpu_seconds and
    peak_memory_bytes are those of its POV-Ray process, None where nothing was rendered; of a
    cached frame, those of the job that rendered it. variant: what is declared in it, where a job
    has several variants, e.g. ``"NumStones=3"``. image: below the job's ``output/``. error and
    log_tail: POV-Ray's own line, and its last lines, of a failed frame.
    """

    frame: int
    clock: float
    at: float
    state: FrameState
    attempts: int = 0
    seconds: float | None = None
    cpu_seconds: float | None = None
    peak_memory_bytes: int | None = None
    host: str = ""
    image: str = ""
    error: str = ""
    log_tail: str = ""
    variant: str = ""


@dataclass(frozen=True)
class Span:
    """What a host did for a frame in one attempt; started, ended: Unix seconds."""

    frame: int
    attempt: int
    host: str
    started: float
    ended: float
    outcome: Outcome
    error: str = ""


@dataclass(frozen=True)
class Timing:
    """What rendering took in this run of the job.

    elapsed, cpu_seconds: seconds; own_loop: what POV-Ray's own loop would take, estimated, None if
    that says nothing here; own_loop_waits: for how long of that it would do nothing; cores: of the
    machine, None on Google Cloud. prediction: of a preview that came before, where this run
    rendered all frames.
    """

    started: float
    ended: float
    elapsed: float
    cpu_seconds: float
    own_loop: float | None
    own_loop_waits: float
    retries: int
    peak_memory_bytes: int
    cores: float | None
    prediction: Prediction | None = None

    @property
    def cpu_share(self) -> float | None:
        """The part of the machine's CPU time that POV-Ray used, 0 to 1."""
        if self.cores is None or self.elapsed <= 0:
            return None
        return min(1.0, self.cpu_seconds / (self.elapsed * self.cores))


@dataclass(frozen=True)
class ReportFacts:
    """All that a report tells, apart from pictures.

    completed, message: how the job ended. frames: all that were to be rendered, ascending. spans:
    all attempts that are known, ascending by start. notes: what the report has to do without.
    facts: label → text, about the job. again: the shell command that renders one frame again, with
    ``FRAME`` in place of its number; retry: the one that renders all that is missing; show: the one
    that opens the report. video: its file's name in the storage, "" if there is none.
    """

    job_id: str
    name: str
    completed: bool
    message: str
    width: int
    height: int
    fps: float
    frames: tuple[FrameFacts, ...]
    spans: tuple[Span, ...]
    notes: tuple[str, ...]
    waves: tuple[StoredWave, ...]
    timing: Timing | None
    facts: tuple[tuple[str, str], ...]
    again: str
    retry: str
    show: str
    video: str

    def count(self, state: FrameState) -> int:
        """The number of frames in that state."""
        return Counter(each.state for each in self.frames)[state]

    @property
    def is_still(self) -> bool:
        """Whether there is but one frame: nothing to play, and no range of anything."""
        return len(self.frames) == 1

    @property
    def scene_is_wrong(self) -> bool:
        """Whether frames failed, each for the scene's text: another run of the job fails alike."""
        failed = [each for each in self.frames if each.state == "failed"]
        return bool(failed) and all(is_parse_error(each.error) for each in failed)

    @property
    def with_image(self) -> list[FrameFacts]:
        """The frames that have an image, ascending."""
        return [each for each in self.frames if each.image]

    @property
    def slowest(self) -> list[FrameFacts]:
        """The frames that took longest in this job, the slowest first."""
        timed = [each for each in self.frames if each.state == "rendered" and each.seconds]
        return sorted(timed, key=lambda each: -(each.seconds or 0.0))[:8]
