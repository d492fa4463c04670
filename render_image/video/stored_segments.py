"""Where a video's segments are kept, in parts of a bounded size, with a record of what each has.

Whoever encodes them stores them here, and the join (tasks/video) takes them from here. A segment
is named by what it is made of, so that one that is there need not be made again, by nobody.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Annotated

from msgspec import Meta

from povstorm_client.errors import StorageError
from povstorm_client.storage import layout
from povstorm_client.storage.checksum import crc32c_of
from povstorm_client.storage.protocol import Storage
from povstorm_client.storage.records import Count, decode, readable
from render_image.video.fragments import FrameTable

# What is held of a segment, at most, before it is stored.
_PART_BYTES = 8 << 20
# What follows its name in the keys of a segment.
_NAME = re.compile("[-.]")
_Pixels = Annotated[int, Meta(ge=1, le=2**31 - 1)]


@dataclass(frozen=True)
class Part:
    """A stored piece of data; crc32c as Google Cloud Storage writes it."""

    key: str
    size: int
    crc32c: str


@dataclass(frozen=True)
class StoredSegment:
    """A segment that is there, whole.

    frames: how many, counted by decoding them. width, height: of its images, in pixels; codec: as
    ffprobe calls it. has_alpha: whether it was encoded with transparency; some_have_alpha: whether
    any of its images has. ffmpeg: the version that encoded it. table: for the index of an MP4 or
    MOV, None for other formats.
    """

    name: str
    frames: int
    width: int
    height: int
    codec: str
    has_alpha: bool
    some_have_alpha: bool
    ffmpeg: str
    parts: tuple[Part, ...]
    table: FrameTable | None


@dataclass(frozen=True)
class _StoredTable:
    sizes: tuple[Annotated[int, Meta(ge=1, le=2**32 - 1)], ...]
    shown: tuple[Count, ...]
    whole: tuple[Count, ...]
    template: str


@dataclass(frozen=True)
class _StoredPart:
    size: Count
    crc32c: str


@dataclass(frozen=True)
class _Record:
    """Its parts are named by its own name."""

    frames: Count
    width: _Pixels
    height: _Pixels
    codec: str
    has_alpha: bool
    some_have_alpha: bool
    ffmpeg: str
    parts: tuple[_StoredPart, ...]
    table: _StoredTable | None


class PartWriter:
    """Stores data that come piece by piece, in parts of a bounded size."""

    def __init__(self, store: SegmentStore, name: str) -> None:
        self._store = store
        self._name = name
        self._waiting = bytearray()
        self._parts: list[Part] = []

    def add(self, data: bytes) -> None:
        """Take the next piece."""
        self._waiting += data
        while len(self._waiting) >= _PART_BYTES:
            self._write(bytes(self._waiting[:_PART_BYTES]))
            del self._waiting[:_PART_BYTES]

    def end(self) -> tuple[Part, ...]:
        """All parts, when all is there."""
        if self._waiting:
            self._write(bytes(self._waiting))
            self._waiting.clear()
        return tuple(self._parts)

    def drop(self) -> None:
        """Delete what was stored: it is not wanted; what may not be deleted stays."""
        for part in self._parts:
            with suppress(StorageError):
                self._store.storage.remove(part.key)

    def _write(self, data: bytes) -> None:
        key = layout.segment_part(self._store.prefix, self._name, len(self._parts))
        self._store.put(key, data)
        self._parts.append(Part(key, len(data), crc32c_of(data)))


class SegmentStore:
    """The segments below a prefix of a storage."""

    def __init__(self, storage: Storage, prefix: str) -> None:
        self.storage = storage
        self.prefix = prefix

    def writer(self, name: str) -> PartWriter:
        """What stores the data of the segment of this name, as they come."""
        return PartWriter(self, name)

    def commit(self, segment: StoredSegment) -> None:
        """Store the record of a segment whose parts are stored."""
        table = segment.table
        record = _Record(
            **{
                name: getattr(segment, name)
                for name in ("frames", "width", "height", "codec", "has_alpha", "ffmpeg")
            },
            some_have_alpha=segment.some_have_alpha,
            parts=tuple(_StoredPart(part.size, part.crc32c) for part in segment.parts),
            table=None
            if table is None
            else _StoredTable(
                table.sizes,
                table.shown,
                table.whole,
                base64.b64encode(table.template).decode("ascii"),
            ),
        )
        key = layout.segment_record(self.prefix, segment.name)
        self.put(key, json.dumps(asdict(record), separators=(",", ":")).encode())

    def find(self, name: str) -> StoredSegment | None:
        """The segment of this name, if its record and all its parts are there, as it says."""
        key = layout.segment_record(self.prefix, name)
        try:
            data = self.storage.find(key)
            if data is None:
                return None
            record = decode(data, _Record, key, self.storage)
            segment = _segment(record, name, self.prefix)
        except StorageError:
            # It is made again.
            return None
        return segment if all(self._is_there(part) for part in segment.parts) else None

    def read(self, segment: StoredSegment) -> Iterator[bytes]:
        """A segment's data, a part at a time; StorageError for one that is not what was stored."""
        for part in segment.parts:
            data = self.storage.read(part.key)
            if crc32c_of(data) != part.crc32c:
                raise StorageError(f"{part.key} is not what was stored there: render again")
            yield data

    def remove(self, segment: StoredSegment) -> None:
        """Delete a segment that is not wanted."""
        self.storage.remove(layout.segment_record(self.prefix, segment.name))
        for part in segment.parts:
            self.storage.remove(part.key)

    def clear_unfinished(self, names: Collection[str]) -> None:
        """Delete what is there of these segments, none of which is whole.

        A container may create objects and replace none: what was broken off with another version
        of ffmpeg, or is damaged, would be in its way.
        """
        for entry in self.storage.list(self.prefix):
            if _NAME.split(entry.key.rpartition("/")[2], 1)[0] in names:
                self.storage.remove(entry.key)

    def clear(self) -> None:
        """Delete all that is kept here."""
        self.storage.delete(self.prefix)

    def put(self, key: str, data: bytes) -> None:
        """Store an object; nothing is replaced that is the same already."""
        if not self.storage.create(key, data):
            # Of another that was broken off, or by another version of ffmpeg.
            self.storage.write(key, data)

    def _is_there(self, part: Part) -> bool:
        stored = self.storage.stat(part.key)
        return stored is not None and (stored.size, stored.crc32c or part.crc32c) == (
            part.size,
            part.crc32c,
        )


def _segment(record: _Record, name: str, prefix: str) -> StoredSegment:
    table = record.table
    with readable(layout.segment_record(prefix, name)):
        return StoredSegment(
            name=name,
            frames=record.frames,
            width=record.width,
            height=record.height,
            codec=record.codec,
            has_alpha=record.has_alpha,
            some_have_alpha=record.some_have_alpha,
            ffmpeg=record.ffmpeg,
            parts=tuple(
                Part(layout.segment_part(prefix, name, number), part.size, part.crc32c)
                for number, part in enumerate(record.parts)
            ),
            table=None
            if table is None
            else FrameTable(
                table.sizes,
                table.shown,
                table.whole,
                base64.b64decode(table.template, validate=True),
            ),
        )
