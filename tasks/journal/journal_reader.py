"""JournalReader: the events of a journal that may still be written; recorded_job reads them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import msgspec

from tasks.journal.events import Event

_READ_BYTES = 1 << 16


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
