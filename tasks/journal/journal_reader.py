"""JournalReader: the events of a journal that may still be written; recorded_job reads them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import msgspec

from povstorm_client.errors import RecordError
from tasks.journal.events import Event

_READ_BYTES = 1 << 16
# Far more than an event takes, with the longest message that povstorm writes.
_MOST_LINE_BYTES = 1 << 22


class JournalReader:
    """Reads a journal that may still be written, by a descriptor that others may use too.

    unknown: how many lines are of events that this version of povstorm does not know, and were
    passed over: the one that wrote the journal may be another.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._offset = 0
        self._rest = b""
        self._decoder = msgspec.json.Decoder(Event)
        self.unknown = 0

    def new(self) -> Iterator[Event]:
        """What was written since the last call; a line that is not whole yet waits.

        Raises RecordError for what is no journal: a machine that went down may leave zeros.
        """
        while data := os.pread(self._descriptor, _READ_BYTES, self._offset):
            self._offset += len(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            if len(self._rest) > _MOST_LINE_BYTES:
                raise RecordError("the run's journal is damaged: it has a line without an end")
            for line in lines:
                event = self._event(line)
                if event is not None:
                    yield event

    def _event(self, line: bytes) -> Event | None:
        """What a line tells of, None where that is another version's."""
        try:
            event: Event = self._decoder.decode(line)
            return event
        except msgspec.DecodeError as error:
            if not _is_tagged(line):
                raise RecordError(f"the run's journal is damaged: {error}") from error
        self.unknown += 1
        return None


class _Tagged(msgspec.Struct):
    """What events of all versions have."""

    type: str


def _is_tagged(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=_Tagged)
    except msgspec.DecodeError:
        return False
    return True
