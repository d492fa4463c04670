"""Radiance HDR images as POV-Ray writes them (+FH): their header, whether they are whole, dates.

Rows from the top, each pixel three mantissas of eight bits with one exponent, in runs.
https://paulbourke.net/dataformats/pic/ (Radiance's own reference of the format).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAGIC = b"#?"
_SIZE = re.compile(rb"-Y ([0-9]{1,5}) \+X ([0-9]{1,5})\n")
_FORMAT = b"FORMAT=32-bit_rle_rgbe"
_DATE = re.compile(rb"^CREATION_TIME=[^\n]*\n", re.MULTILINE)
# A header has some lines of comments.
_MOST_HEADER_BYTES = 1 << 16
_PLANES = 4
# A row's mark, and of each of its planes one run at least.
_LEAST_ROW_BYTES = 4 + 2 * _PLANES
# Only rows of such lengths are in runs.
_SHORTEST, _LONGEST = 8, 32_767
# A byte above it begins a run of so many more of one value; others, so many values as they are.
_LITERAL = 128


@dataclass(frozen=True)
class RadianceHeader:
    """Size in pixels, and where the rows begin."""

    width: int
    height: int
    end: int


def read_header(data: bytes) -> RadianceHeader:
    """The header of a Radiance image; ValueError for what is none, or not as POV-Ray writes it."""
    blank = data.find(b"\n\n", 0, _MOST_HEADER_BYTES)
    if not data.startswith(MAGIC) or blank < 0:
        raise ValueError("its header is cut off, or it is no Radiance image")
    if _FORMAT not in data[:blank].split(b"\n"):
        raise ValueError("its header does not tell Radiance's format of colours")
    size = _SIZE.match(data, blank + 2)
    if size is None:
        raise ValueError("its header does not tell its size")
    width, height = int(size[2]), int(size[1])
    if not width or not height:
        raise ValueError(f"it is {width}x{height} pixels")
    return RadianceHeader(width, height, size.end())


def check_whole(data: bytes, *, decode: bool) -> RadianceHeader:
    """The header of an image all of whose rows are there, to the file's end; ValueError.

    decode: follow the runs of all rows; otherwise only whether there can be so many is looked at.
    """
    header = read_header(data)
    if decode:
        planes(data)
    elif len(data) < header.end + (header.height if _in_runs(header) else 0) * _LEAST_ROW_BYTES:
        raise ValueError("its rows are cut off")
    return header


def planes(data: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Mantissas of red, green and blue, and the exponents, a byte for each pixel; ValueError.

    With the exponent e a mantissa m is light of m * 2 ** (e - 136), or none where e is 0.
    """
    header = read_header(data)
    if not _in_runs(header):
        pixels = data[header.end :]
        if len(pixels) != header.width * header.height * _PLANES:
            raise ValueError("its rows are cut off, or something is behind the last one")
        return pixels[0::4], pixels[1::4], pixels[2::4], pixels[3::4]
    found = tuple(bytearray() for _ in range(_PLANES))
    at = header.end
    mark = bytes((2, 2, header.width >> 8, header.width & 255))
    for row in range(1, header.height + 1):
        if data[at : at + len(mark)] != mark:
            raise ValueError("a row of it is missing or damaged")
        at += len(mark)
        for plane in found:
            at = _add_runs(plane, data, at, header.width * row)
    if at != len(data):
        raise ValueError("there is something behind its last row")
    red, green, blue, exponents = map(bytes, found)
    return red, green, blue, exponents


def _in_runs(header: RadianceHeader) -> bool:
    return _SHORTEST <= header.width <= _LONGEST


def _add_runs(plane: bytearray, data: bytes, at: int, size: int) -> int:
    """Add the runs that begin at a place, until there are so many values; where they end."""
    while len(plane) < size:
        if at + 1 >= len(data):
            raise ValueError("its rows are cut off")
        count = data[at]
        if count > _LITERAL:
            plane += data[at + 1 : at + 2] * (count - _LITERAL)
            at += 2
        else:
            plane += data[at + 1 : at + 1 + count]
            at += 1 + count
        if count == 0 or at > len(data) or len(plane) > size:
            raise ValueError("a row of it is damaged, or cut off")
    return at


def without_dates(data: bytes) -> bytes:
    """A whole image without the time at which it was made; its pixels stay, byte for byte."""
    end = read_header(data).end
    return _DATE.sub(b"", data[:end]) + data[end:]
