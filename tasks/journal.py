"""The journal of a run on this machine: what its frames and steps did, in the order in which.

local_run has it written while the job runs; record_run reads it from its beginning, meanwhile or
afterwards, and tells Prefect. It imports no Prefect.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from typing import BinaryIO, Literal, TypeAlias

import msgspec

from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.state import Phase

Step = Literal["stage_shared_resources", "stitch_video", "collect_statistics", "make_report"]
# How a frame came to be rendered: by this run, from the cache, or by an earlier run of the job.
How = Literal["rendered", "cached", "stored"]
# What a run without Prefect logs to.
LOGGER = "povstorm"
_UNIT = "work_unit"
_READ_BYTES = 1 << 16


class _Event(msgspec.Struct, frozen=True, tag=True):
    """Something that happened; a line of the journal."""


class FrameBegun(_Event, frozen=True):
    """An attempt, from 1, to render a frame (a work unit's id) has begun."""

    unit: str
    attempt: int = 1


class FrameTold(_Event, frozen=True):
    """Something was logged of a frame; level: as of logging."""

    unit: str
    level: int
    text: str


class FrameEnded(_Event, frozen=True):
    """A frame's attempt has ended; error: why it failed, "" if not; again: another follows.

    host: where it was rendered.
    """

    unit: str
    error: str = ""
    again: bool = False
    how: How = "rendered"
    host: str = ""


class StepBegun(_Event, frozen=True):
    """A step of the job, that is no frame, has begun."""

    step: Step


class StepEnded(_Event, frozen=True):
    """A step has ended; error: why it failed, "" if not.

    told: what its log says, and after that, of make_report, its StoredReport's other fields.
    """

    step: Step
    error: str = ""
    told: tuple[str, ...] = ()


class Told(_Event, frozen=True):
    """Something was logged of the run; level: as of logging."""

    level: int
    text: str


class JobEnded(_Event, frozen=True):
    """The job has ended, so and for this reason."""

    phase: Phase
    message: str


Event: TypeAlias = FrameBegun | FrameTold | FrameEnded | StepBegun | StepEnded | Told | JobEnded


class Journal:
    """Writes events to a file, by any thread, and waits for no reader; None for a file: nowhere.

    on_frame is called with each attempt that begins. broken: why not all could be written, "" as
    long as it could.
    """

    def __init__(self, file: BinaryIO | None, on_frame: Callable[[], None] | None = None) -> None:
        self.broken = ""
        self._file = file
        self._on_frame = on_frame
        self._encoder = msgspec.json.Encoder()
        self._writing = threading.Lock()

    def write(self, event: Event) -> None:
        """Write down what has happened."""
        if self._on_frame is not None and isinstance(event, FrameBegun):
            self._on_frame()
        if self._file is None or self.broken:
            return
        # Alone, as encoders of msgspec are not made for several threads either.
        with self._writing:
            try:
                self._file.write(self._encoder.encode(event) + b"\n")
                self._file.flush()
            except OSError as error:
                # The record of the job is not worth the job.
                self.broken = f"its journal cannot be written ({error.strerror or error})"


class JournalReader:
    """Reads a journal that may still be written, by a descriptor that others may use too."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._offset = 0
        self._rest = b""
        self._decoder = msgspec.json.Decoder(Event)

    def new(self) -> Iterator[Event]:
        """What was written since the last call; a line that is not whole yet waits."""
        while data := os.pread(self._descriptor, _READ_BYTES, self._offset):
            self._offset += len(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            yield from map(self._decoder.decode, lines)


class JournalHandler(logging.Handler):
    """Has what a run logs in its journal; with its traceback, if it has one."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.INFO)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record down, as the frame's that frame_logger was made for."""
        unit, text = getattr(record, _UNIT, ""), self.format(record)
        self._journal.write(
            FrameTold(unit, record.levelno, text) if unit else Told(record.levelno, text)
        )


def frame_logger(unit: WorkUnit) -> logging.LoggerAdapter[logging.Logger]:
    """A logger for what belongs to one frame."""
    return logging.LoggerAdapter(logging.getLogger(LOGGER), {_UNIT: unit.work_unit_id})
