"""OpenEXR images as POV-Ray writes them (+FE): their header, whether they are whole, their dates.

One part of scan lines with half floats, each block of them compressed by zlib, which has a checksum
of what it holds. Whatever else the format knows is refused.
https://openexr.com/en/latest/OpenEXRFileLayout.html
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

MAGIC = b"\x76\x2f\x31\x01"
_VERSION = 2
_INT, _PLACE, _BLOCK = struct.Struct("<i"), struct.Struct("<Q"), struct.Struct("<ii")
_BOX, _CHANNEL = struct.Struct("<iiii"), struct.Struct("<iB3xii")
_HALF, _HALF_BYTES = 1, 2
# Compression → scan lines of a block: none, one by zlib, sixteen by zlib.
_LINES = {0: 1, 2: 1, 3: 16}
_CHANNELS = {("B", "G", "R"): False, ("A", "B", "G", "R"): True}
# Attributes that are of no picture: POV-Ray's and the library's own.
_DATES = (b"creation", b"capDate")
# No side of an image that POV-Ray renders is longer.
_MOST_SIDE = 65_535


@dataclass(frozen=True)
class ExrHeader:
    """Size in pixels, whether there is transparency, scan lines of a block, and where it ends.

    top: what its first scan line is called; dates: where attributes begin and end that tell when
    the image was made.
    """

    width: int
    height: int
    top: int
    has_alpha: bool
    lines: int
    end: int
    dates: tuple[tuple[int, int], ...]

    @property
    def blocks(self) -> int:
        """How many blocks of scan lines there are."""
        return -(-self.height // self.lines)


def read_header(data: bytes) -> ExrHeader:
    """The header of an OpenEXR image; ValueError for what is none, or not as POV-Ray writes it."""
    try:
        if data[:4] != MAGIC or _INT.unpack_from(data, 4)[0] != _VERSION:
            raise ValueError("it is no OpenEXR image of one part with scan lines")
        values: dict[bytes, bytes] = {}
        dates = []
        at = 8
        while data[at] != 0:
            begin = at
            name, at = _text(data, at)
            _, at = _text(data, at)
            (size,) = _INT.unpack_from(data, at)
            at += _INT.size
            if size < 0 or at + size > len(data):
                raise ValueError("its header is cut off")
            values[name] = data[at : at + size]
            at += size
            if name in _DATES:
                dates.append((begin, at))
        left, top, right, bottom = _BOX.unpack(values[b"dataWindow"])
        width, height = right - left + 1, bottom - top + 1
        if not (0 < width <= _MOST_SIDE and 0 < height <= _MOST_SIDE):
            raise ValueError(f"it is {width}x{height} pixels")
        channels = tuple(_channels(values[b"channels"]))
        if channels not in _CHANNELS:
            raise ValueError(f"its channels are {', '.join(channels)}, not those of a colour")
        compression = values[b"compression"][0]
        if compression not in _LINES:
            raise ValueError(f"its compression, {compression}, is not POV-Ray's")
    except (struct.error, IndexError, KeyError) as error:
        raise ValueError("its header is cut off or damaged") from error
    has_alpha = _CHANNELS[channels]
    return ExrHeader(width, height, top, has_alpha, _LINES[compression], at + 1, tuple(dates))


def _text(data: bytes, at: int) -> tuple[bytes, int]:
    end = data.index(0, at)
    return data[at:end], end + 1


def _channels(listed: bytes) -> Iterator[str]:
    at = 0
    while listed[at] != 0:
        name, at = _text(listed, at)
        kind, _, across, down = _CHANNEL.unpack_from(listed, at)
        at += _CHANNEL.size
        if (kind, across, down) != (_HALF, 1, 1):
            raise ValueError("its channels are not half floats, one for each pixel")
        yield name.decode(errors="replace")


def check_whole(data: bytes, *, decode: bool) -> ExrHeader:
    """The header of an image all of whose blocks are there, one after another, to the file's end.

    decode: decompress them too, which compares them with their checksums. Raises ValueError.
    """
    header = read_header(data)
    row = header.width * _HALF_BYTES * (4 if header.has_alpha else 3)
    end = header.end + header.blocks * _PLACE.size
    if len(data) < end:
        raise ValueError("its table of scan lines is cut off")
    places = struct.unpack_from(f"<{header.blocks}Q", data, header.end)
    # In the file they may lie from the bottom up, as POV-Ray has them.
    for number, place in sorted(enumerate(places), key=lambda each: each[1]):
        if place != end or place + _BLOCK.size > len(data):
            raise ValueError("scan lines of it are missing: it is cut off, or was never finished")
        first, size = _BLOCK.unpack_from(data, place)
        if first != header.top + number * header.lines:
            raise ValueError("scan lines of it are not where they should be")
        begin = place + _BLOCK.size
        end = begin + size
        if size <= 0 or end > len(data):
            raise ValueError("scan lines of it are cut off")
        if decode:
            _check_block(data[begin:end], [row * header.lines, row * _rest(header)])
    if end != len(data):
        raise ValueError("there is something behind its last scan line")
    return header


def _rest(header: ExrHeader) -> int:
    """Scan lines of the last block."""
    return header.height - (header.blocks - 1) * header.lines


def _check_block(block: bytes, sizes: list[int]) -> None:
    if len(block) in sizes:
        # Where compressing makes it no smaller, it lies there as it is.
        return
    reader = zlib.decompressobj()
    try:
        size = len(reader.decompress(block, max(sizes) + 1))
    except zlib.error as error:
        raise ValueError(f"scan lines of it are damaged ({error})") from error
    if not reader.eof or reader.unused_data or size not in sizes:
        raise ValueError("scan lines of it are damaged")


def without_dates(data: bytes) -> bytes:
    """A whole image without the time at which it was made; its pixels stay, byte for byte."""
    header = read_header(data)
    removed = sum(end - begin for begin, end in header.dates)
    head = bytearray(data[: header.end])
    for begin, end in reversed(header.dates):
        del head[begin:end]
    places = struct.unpack_from(f"<{header.blocks}Q", data, header.end)
    table = struct.pack(f"<{header.blocks}Q", *(place - removed for place in places))
    return bytes(head) + table + data[header.end + len(table) :]
