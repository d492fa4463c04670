"""One index over segments whose frames' data lie one after another: an MP4 or MOV without copying.

What is put in front of the segments' data, as it is stored, makes a whole file of it; the join of a
video (tasks/video/join.py) asks for it. ISO/IEC 14496-12; https://developer.apple.com/documentation/quicktime-file-format.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction

from povstorm_client.errors import VideoError
from render_image.video.fragments import FrameTable, box, boxes, child

_MOST_32_BITS = 2**32 - 1
# What ffmpeg names beside "isom" for frames of a kind.
_BRANDS = {b"avc1": b"avc1", b"av01": b"av01"}


def _file_type(ending: str, sample_kind: bytes) -> bytes:
    """The first box: "isom" and its like, or "qt  " with its version."""
    if ending == ".mov":
        return box(b"ftyp", b"qt  ", struct.pack(">I", 512), b"qt  ")
    brands = b"isomiso2" + _BRANDS.get(sample_kind, b"") + b"mp41"
    return box(b"ftyp", b"isom", struct.pack(">I", 512), brands)


def is_joinable(tables: Iterable[FrameTable]) -> bool:
    """Whether all segments were encoded alike, so that one description decodes them."""
    return len({_description(table) for table in tables}) <= 1


def _description(table: FrameTable) -> bytes:
    return child(table.template, b"trak", b"mdia", b"minf", b"stbl", b"stsd")


def file_head(tables: Sequence[FrameTable], fps: Fraction, ending: str) -> bytes:
    """All that comes before the segments' data in a file of them, in this order.

    ending: ``.mp4`` or ``.mov``. Raises VideoError for segments that one index cannot describe.
    """
    if not is_joinable(tables):
        raise VideoError(
            "the segments of the video were encoded by different versions of ffmpeg: use one "
            "version for flow and render container"
        )
    try:
        # Of the descriptions' list (8.5.2), after its head, the first one's size and kind.
        sample_kind = _description(tables[0])[12:16]
        return _file_head(tables, fps, _file_type(ending, sample_kind))
    except (ValueError, struct.error) as error:
        raise VideoError(f"the video's index cannot be made: {error}; reinstall ffmpeg") from error


def _file_head(tables: Sequence[FrameTable], fps: Fraction, kind: bytes) -> bytes:
    data_bytes = sum(sum(table.sizes) for table in tables)
    is_large = data_bytes > _MOST_32_BITS - (1 << 20) - 64 * sum(len(t.sizes) for t in tables)
    data_head = (
        struct.pack(">I4sQ", 1, b"mdat", data_bytes + 16)
        if is_large
        else struct.pack(">I4s", data_bytes + 8, b"mdat")
    )
    # Where the data begin depends on how long the index is, but not the other way round.
    index = _index(tables, fps, 0, is_large=is_large)
    begin = len(kind) + len(index) + len(data_head)
    return kind + _index(tables, fps, begin, is_large=is_large) + data_head


def _index(tables: Sequence[FrameTable], fps: Fraction, begin: int, *, is_large: bool) -> bytes:
    template = tables[0].template
    header = child(template, b"trak", b"mdia", b"mdhd")
    (timescale,) = struct.unpack_from(">I", header, 20 if header[0] else 12)
    duration = timescale / fps
    if duration.denominator != 1:
        raise ValueError(f"{timescale} units a second do not divide by {fps} frames")
    frame = duration.numerator
    frames = sum(len(table.sizes) for table in tables)
    total = frame * frames

    def made(content: bytes) -> bytes:
        found = []
        for name, inner in boxes(content):
            if name in (b"mvex", b"edts"):
                continue
            if name in (b"mvhd", b"mdhd"):
                found.append(box(name, _timed(inner, timescale, total)))
            elif name == b"tkhd":
                found += [box(name, _track_timed(inner, total)), _edits(tables, frame, total)]
            elif name in (b"trak", b"mdia", b"minf"):
                found.append(box(name, made(inner)))
            elif name == b"stbl":
                kept = [box(each, data) for each, data in boxes(inner) if each == b"stsd"]
                found.append(box(name, *kept, *_tables(tables, frame, begin, is_large=is_large)))
            else:
                found.append(box(name, inner))
        return b"".join(found)

    return box(b"moov", made(template))


def _timed(header: bytes, timescale: int, duration: int) -> bytes:
    """A movie's or a medium's header (8.2.2, 8.4.2) with these, made at no time."""
    rest = header[32 if header[0] else 20 :]
    if duration > _MOST_32_BITS:
        return b"\1" + header[1:4] + struct.pack(">QQIQ", 0, 0, timescale, duration) + rest
    return b"\0" + header[1:4] + struct.pack(">IIII", 0, 0, timescale, duration) + rest


def _track_timed(header: bytes, duration: int) -> bytes:
    """A track's header (8.3.2); its duration is in the movie's units, which are the medium's."""
    track = header[20:24] if header[0] else header[12:16]
    rest = header[36 if header[0] else 24 :]
    if duration > _MOST_32_BITS:
        return (
            b"\1" + header[1:4] + bytes(16) + track + bytes(4) + struct.pack(">Q", duration) + rest
        )
    return b"\0" + header[1:4] + bytes(8) + track + bytes(4) + struct.pack(">I", duration) + rest


def _places(tables: Sequence[FrameTable]) -> list[int]:
    """For each frame, in the order of decoding, how much later than decoded it is shown, or less.

    In frames; where segments are of different length, the least delay fits all.
    """
    starts = itertools.accumulate((len(table.sizes) for table in tables), initial=0)
    return [
        start + shown - (start + decoded)
        for table, start in zip(tables, starts, strict=False)
        for decoded, shown in enumerate(table.shown)
    ]


def _edits(tables: Sequence[FrameTable], frame: int, total: int) -> bytes:
    """The edit list (8.6.6): the first frame is shown at once, though decoded earlier."""
    delay = -min(_places(tables)) * frame
    if total > _MOST_32_BITS:
        entry = struct.pack(">IIQqI", 1 << 24, 1, total, delay, 1 << 16)
    else:
        entry = struct.pack(">IIIiI", 0, 1, total, delay, 1 << 16)
    return box(b"edts", box(b"elst", entry))


def _tables(tables: Sequence[FrameTable], frame: int, begin: int, *, is_large: bool) -> list[bytes]:
    """How long, when, where and how large each frame is (8.6, 8.7); a segment is a chunk."""
    sizes = [size for table in tables for size in table.sizes]
    later = _places(tables)
    delay = -min(later)
    made = [box(b"stts", struct.pack(">IIII", 0, 1, len(sizes), frame))]
    starts = list(itertools.accumulate((len(table.sizes) for table in tables), initial=0))
    whole = [
        start + 1 + at
        for table, start in zip(tables, starts[:-1], strict=True)
        for at in table.whole
    ]
    if len(whole) < len(sizes):
        made.append(box(b"stss", struct.pack(">II", 0, len(whole)), _numbers(whole)))
    if any(later):
        runs = [(len(list(group)), each) for each, group in itertools.groupby(later)]
        entries = b"".join(
            struct.pack(">II", count, (each + delay) * frame) for count, each in runs
        )
        made.append(box(b"ctts", struct.pack(">II", 0, len(runs)), entries))
    chunks = [
        (number, len(table.sizes))
        for number, table in enumerate(tables, start=1)
        if number == 1 or len(table.sizes) != len(tables[number - 2].sizes)
    ]
    entries = b"".join(struct.pack(">III", number, count, 1) for number, count in chunks)
    made.append(box(b"stsc", struct.pack(">II", 0, len(chunks)), entries))
    made.append(box(b"stsz", struct.pack(">III", 0, 0, len(sizes)), _numbers(sizes)))
    offsets = list(itertools.accumulate((sum(table.sizes) for table in tables), initial=begin))[:-1]
    if is_large:
        packed = struct.pack(f">{len(offsets)}Q", *offsets)
        made.append(box(b"co64", struct.pack(">II", 0, len(offsets)), packed))
    else:
        made.append(box(b"stco", struct.pack(">II", 0, len(offsets)), _numbers(offsets)))
    return made


def _numbers(numbers: Sequence[int]) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)
