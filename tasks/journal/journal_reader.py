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
    """Reads a journal that may still be written, by a descriptor that others may use too."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._offset = 0
        self._rest = b""
        self._decoder = msgspec.json.Decoder(Event)

    def new(self) -> Iterator[Event]:
        """What was written since the last call; a line that is not whole yet waits.

        Raises RecordError for what is no journal: a machine that went down may leave zeros.
        """
        while data := os.pread(self._descriptor, _READ_BYTES, self._offset):
            self._offset += len(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            if len(self._rest) > _MOST_LINE_BYTES:
                raise RecordError("the run's journal is damaged: it has a line without an end")
            try:
                yield from map(self._decoder.decode, lines)
            except msgspec.DecodeError as error:
                raise RecordError(f"the run's journal is damaged: {error}") from error
