"""Journal: what a run on this machine did, written down in the order in which it did.

local_run has it written while the job runs; record_run reads it from its beginning, meanwhile or
afterwards, and tells Prefect.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import BinaryIO

import msgspec

from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.quantities import byte_size
from tasks.journal.events import Event, FrameBegun, FrameLogged, JobEnded, RunLogged

# What a run without Prefect logs to.
LOGGER = "povstorm"
_UNIT = "work_unit"
# What is kept on the disk until it is told: some 400,000 frames that POV-Ray says nothing of.
MOST_BYTES = 256 << 20


class Journal:
    """Writes events to a file, by any thread, and waits for no reader; None for a file: nowhere.

    on_frame is called with each attempt that begins. broken: why not all could be written, "" as
    long as it could.
    """

    def __init__(self, file: BinaryIO | None, on_frame: Callable[[], None] | None = None) -> None:
        self.broken = ""
        self._file = file
        self._bytes = 0
        self._on_frame = on_frame
        self._encoder = msgspec.json.Encoder()
        self._writing = threading.Lock()

    def write(self, event: Event) -> None:
        """Write down what has happened."""
        if self._on_frame is not None and isinstance(event, FrameBegun):
            self._on_frame()
        if self._file is None or (self.broken and not isinstance(event, JobEnded)):
            return
        # Alone, as encoders of msgspec are not made for several threads either.
        with self._writing:
            try:
                line = self._encoder.encode(event) + b"\n"
                self._file.write(line)
                self._file.flush()
                self._bytes += len(line)
                if self._bytes > MOST_BYTES:
                    self.broken = f"its journal is longer than {byte_size(MOST_BYTES)}"
            except OSError as error:
                # The record of the job is not worth the job.
                self.broken = f"its journal cannot be written ({error.strerror or error})"


class JournalHandler(logging.Handler):
    """Has what a run logs in its journal; with its traceback, if it has one."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.INFO)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record down, as the frame's that frame_logger was made for."""
        unit, text = getattr(record, _UNIT, ""), self.format(record)
        self._journal.write(
            FrameLogged(unit, record.levelno, text) if unit else RunLogged(record.levelno, text)
        )


def frame_logger(unit: WorkUnit) -> logging.LoggerAdapter[logging.Logger]:
    """A logger for what belongs to one frame."""
    return logging.LoggerAdapter(logging.getLogger(LOGGER), {_UNIT: unit.work_unit_id})
