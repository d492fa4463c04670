"""Who tells Prefect of a run reads its journal to the end."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

import pytest

from flows.recorded_job import RunRecord
from tasks.journal.events import Event, FrameBegun, FrameEnded, JobEnded
from tasks.journal.journal import Journal


@pytest.fixture
def file() -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile() as file:
        yield file


def record_of(file: BinaryIO, *, has_ended: bool = True) -> RunRecord:
    return RunRecord(file.fileno(), lambda: has_ended, lambda: None)


def write(file: BinaryIO, *events: Event) -> None:
    for event in events:
        Journal(file).write(event)


async def read(record: RunRecord) -> list[Event]:
    return [event async for event in record.to_tell()]


def test_all_that_a_run_wrote_is_told_in_its_order(file: BinaryIO):
    events = [FrameBegun("a"), FrameEnded("a"), JobEnded("completed", "1 of 1 frames")]
    write(file, *events)
    record = record_of(file)

    assert asyncio.run(read(record)) == events
    assert record.events == 3


def test_what_is_written_while_it_is_read_is_told_too(file: BinaryIO):
    """Whether the run has ended is asked before its journal is read: nothing comes after that."""
    write(file, FrameBegun("a"))
    asked = 0

    def has_ended() -> bool:
        nonlocal asked
        asked += 1
        if asked == 2:
            write(file, FrameEnded("a"), JobEnded("completed", ""))
        return asked == 2

    record = RunRecord(file.fileno(), has_ended, lambda: None)

    assert asyncio.run(read(record)) == [
        FrameBegun("a"),
        FrameEnded("a"),
        JobEnded("completed", ""),
    ]
