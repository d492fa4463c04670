"""What a run writes into its journal is read in its order, while it is written and afterwards."""

from __future__ import annotations

import errno
import io
import logging
import os
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

import pytest

from povstorm_client.errors import RecordError
from tasks.journal.events import (
    Event,
    FrameBegun,
    FrameEnded,
    FrameLogged,
    JobEnded,
    RunLogged,
    StepBegun,
    StepEnded,
)
from tasks.journal.journal import Journal, JournalHandler, frame_logger
from tasks.journal.journal_reader import JournalReader
from tasks.steps.step import Step
from tests.synthetic_job import make_units

EVENTS: list[Event] = [
    StepBegun(Step.STAGE),
    StepEnded(Step.STAGE, shown=("shared/abc",)),
    FrameBegun("a"),
    FrameLogged("a", logging.ERROR, "two\nlines"),
    FrameEnded("a", "no light", again=True),
    FrameBegun("a", attempt=2),
    FrameEnded("a", host="here"),
    RunLogged(logging.INFO, "ümlaut"),
    JobEnded("completed", "1 of 1 frames"),
]


@pytest.fixture
def file() -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile() as file:
        yield file


def test_events_are_read_as_they_were_written(file: BinaryIO):
    journal = Journal(file)
    for event in EVENTS:
        journal.write(event)

    assert list(JournalReader(file.fileno()).new()) == EVENTS


@pytest.mark.parametrize(
    ("data", "words"), [(bytes(5 << 20), "a line without an end"), (b"{}\n", "is damaged: Obj")]
)
def test_what_a_machine_that_went_down_has_left_is_told_to_be_damaged(
    file: BinaryIO, data: bytes, words: str
):
    file.write(data)
    file.flush()

    with pytest.raises(RecordError, match=words):
        list(JournalReader(file.fileno()).new())


def test_what_only_another_version_knows_is_passed_over_and_counted(file: BinaryIO):
    journal, reader = Journal(file), JournalReader(file.fileno())
    journal.write(EVENTS[0])
    file.write(b'{"type":"PixelBegun","pixel":3}\n{"type":"FrameBegun","frame":3}\n')
    journal.write(EVENTS[1])

    assert list(reader.new()) == EVENTS[:2]
    assert reader.unknown == 2


def test_a_reader_goes_on_where_it_was(file: BinaryIO):
    journal, reader = Journal(file), JournalReader(file.fileno())
    read = []
    for event in EVENTS:
        journal.write(event)
        read.append(list(reader.new()))

    assert read == [[event] for event in EVENTS]
    assert list(reader.new()) == []


def test_a_line_that_is_not_whole_yet_waits(file: BinaryIO):
    whole = io.BytesIO()
    Journal(whole).write(FrameBegun("a"))
    reader = JournalReader(file.fileno())

    os.write(file.fileno(), whole.getvalue()[:5])
    assert list(reader.new()) == []
    os.write(file.fileno(), whole.getvalue()[5:])
    assert list(reader.new()) == [FrameBegun("a")]


def test_what_is_logged_of_a_frame_is_the_frames(file: BinaryIO):
    (unit,) = make_units("orbit-1", 1)
    journal = Journal(file)
    logger, handler = logging.getLogger("povstorm"), JournalHandler(journal)
    logger.addHandler(handler)
    try:
        frame_logger(unit).error("its %s", "own")
        logger.warning("the run's")
    finally:
        logger.removeHandler(handler)

    assert list(JournalReader(file.fileno()).new()) == [
        FrameLogged(unit.work_unit_id, logging.ERROR, "its own"),
        RunLogged(logging.WARNING, "the run's"),
    ]


class FullDisk(io.BytesIO):
    """A file that takes nothing."""

    def write(self, data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_journal_that_cannot_be_written_costs_the_run_nothing():
    journal = Journal(FullDisk())
    journal.write(FrameBegun("a"))
    journal.write(FrameEnded("a"))

    assert journal.broken == "its journal cannot be written (No space left on device)"


def test_a_run_is_told_of_each_attempt_that_begins_also_without_a_file():
    begun = []
    journal = Journal(None, lambda: begun.append("frame"))
    for event in EVENTS:
        journal.write(event)

    assert begun == ["frame", "frame"]
