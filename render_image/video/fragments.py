"""A segment as ffmpeg streams it, taken apart: its frames' data, and what an index says of them.

ffmpeg writes each frame as a fragment of its own (ISO/IEC 14496-12, 8.8), so neither it nor whoever
reads it here ever holds more than one. segments.py reads it, mp4_index.py makes one index of all.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from render_image.video.stream_reader import StreamReader

# No index of no frame, and no head of one fragment, is larger.
_MOST_HEAD_BYTES = 1 << 20
_HEAD = struct.Struct(">I4s")
_LARGE = struct.Struct(">Q")
# Flags of a fragment's boxes: 14496-12, 8.8.7 and 8.8.8.
_BASE_OFFSET, _DESCRIPTION, _DEFAULT_DURATION, _DEFAULT_SIZE, _DEFAULT_FLAGS = 1, 2, 8, 16, 32
_DATA_OFFSET, _FIRST_FLAGS, _DURATION, _SIZE, _FLAGS, _SHOWN = 1, 4, 0x100, 0x200, 0x400, 0x800
_NOT_SYNC = 0x10000


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The boxes that lie one after another in data: type and content of each.

    Raises ValueError for one that does not end where it says.
    """
    at = 0
    while at < len(data):
        if at + _HEAD.size > len(data):
            raise ValueError("a box is cut off")
        size, kind = _HEAD.unpack_from(data, at)
        if size < _HEAD.size or at + size > len(data):
            raise ValueError(f"the box {kind!r} has {size} bytes")
        yield kind, data[at + _HEAD.size : at + size]
        at += size


def box(kind: bytes, *contents: bytes) -> bytes:
    """A box of this type."""
    return _HEAD.pack(_HEAD.size + sum(map(len, contents)), kind) + b"".join(contents)


def child(data: bytes, *path: bytes) -> bytes:
    """The content of the first box on a path of types; ValueError where there is none."""
    for kind in path:
        found = next((content for name, content in boxes(data) if name == kind), None)
        if found is None:
            raise ValueError(f"there is no box {kind!r}")
        data = found
    return data


@dataclass(frozen=True)
class FrameTable:
    """What an index needs to know of a segment's frames, in the order in which they are decoded.

    sizes: bytes of each. shown: the place of each in the order in which they are shown, from 0.
    whole: the places, in the order of decoding, of those that refer to no other. template: the
    index of the segment alone (the content of its ``moov``), in which no frame is yet.
    """

    sizes: tuple[int, ...]
    shown: tuple[int, ...]
    whole: tuple[int, ...]
    template: bytes


class FragmentReader(StreamReader):
    """Reads the stream piece by piece."""

    _what = "segment of the video"

    def __init__(self) -> None:
        super().__init__()
        self._template = b""
        self._defaults: tuple[int, int, int] = (0, 0, 0)
        self._sizes: list[int] = []
        self._times: list[int] = []
        self._durations: set[int] = set()
        self._whole: list[int] = []
        self._decoded = 0

    @property
    def frames(self) -> int:
        """How many have begun so far."""
        return len(self._sizes)

    def _take_next(self) -> bool:
        """Take the box that comes next, if enough of it is there."""
        if len(self._unread) < _HEAD.size + _LARGE.size:
            # Only the last box of all could be so short, and none of ours is.
            return False
        size, kind = _HEAD.unpack_from(self._unread)
        head = _HEAD.size
        if size == 1:
            (size,) = _LARGE.unpack_from(self._unread, head)
            head += _LARGE.size
        if size < head:
            raise ValueError(f"the box {kind!r} has {size} bytes")
        if kind == b"mdat":
            self._data_left = size - head
            del self._unread[:head]
            return True
        if size > _MOST_HEAD_BYTES:
            raise ValueError(f"the box {kind!r} has {size} bytes")
        if len(self._unread) < size:
            return False
        content = bytes(self._unread[head:size])
        del self._unread[:size]
        if kind == b"moov":
            self._template = content
            trex = child(content, b"mvex", b"trex")
            self._defaults = struct.unpack_from(">III", trex, 12)
        elif kind == b"moof":
            self._fragment(child(content, b"traf"))
        return True

    def _fragment(self, content: bytes) -> None:
        head = child(content, b"tfhd")
        flags = int.from_bytes(head[1:4], "big")
        at = 8 + 8 * bool(flags & _BASE_OFFSET) + 4 * bool(flags & _DESCRIPTION)
        defaults = list(self._defaults)
        for place, flag in enumerate((_DEFAULT_DURATION, _DEFAULT_SIZE, _DEFAULT_FLAGS)):
            if flags & flag:
                (defaults[place],) = struct.unpack_from(">I", head, at)
                at += 4
        for kind, run in boxes(content):
            if kind == b"trun":
                self._run(run, *defaults)

    def _run(self, run: bytes, duration: int, size: int, sample_flags: int) -> None:
        flags = int.from_bytes(run[1:4], "big")
        (count,) = struct.unpack_from(">I", run, 4)
        at = 8 + 4 * bool(flags & _DATA_OFFSET)
        first_flags = sample_flags
        if flags & _FIRST_FLAGS:
            (first_flags,) = struct.unpack_from(">I", run, at)
            at += 4
        for number in range(count):
            values = [duration, size, first_flags if number == 0 else sample_flags, 0]
            for place, flag in enumerate((_DURATION, _SIZE, _FLAGS, _SHOWN)):
                if flags & flag:
                    (values[place],) = struct.unpack_from(">i" if flag == _SHOWN else ">I", run, at)
                    at += 4
            if not values[2] & _NOT_SYNC:
                self._whole.append(len(self._sizes))
            self._sizes.append(values[1])
            self._times.append(self._decoded + values[3])
            self._durations.add(values[0])
            self._decoded += values[0]

    def table(self) -> FrameTable:
        """What was read, when all was.

        Raises VideoError unless each frame is there whole, and is shown at a moment of its own, for
        as long as every other.
        """
        try:
            if self._unread or self._data_left or not self._sizes:
                raise ValueError("it is cut off")
            if sum(self._sizes) != self._data_bytes:
                raise ValueError("its frames are not where they should be")
            # Of the last one ffmpeg may not know how long it is shown.
            duration = max(self._durations)
            if duration <= 0 or self._decoded > duration * len(self._sizes):
                raise ValueError("its frames are not shown equally long")
            begin = min(self._times)
            shown = tuple((time - begin) // duration for time in self._times)
            if sorted(time - begin for time in self._times) != [
                duration * number for number in range(len(shown))
            ]:
                raise ValueError("its frames are not shown one after another")
            if not self._whole or self._whole[0] != 0:
                raise ValueError("its first frame refers to another")
        except ValueError as error:
            raise self._not_understood(error) from error
        return FrameTable(tuple(self._sizes), shown, tuple(self._whole), self._template)
