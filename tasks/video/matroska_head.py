"""The head of a Matroska or WebM file whose frames have been streamed: its length and its index.

ffmpeg cannot write them where it cannot go back, so join.py takes the stream's own head off and
puts this one in its place; then players know how long the video is, and can go to any place in it.
https://www.rfc-editor.org/rfc/rfc9559 (Matroska), https://www.rfc-editor.org/rfc/rfc8794 (EBML).
"""

from __future__ import annotations

import struct
from collections.abc import Collection

from povstorm_client.errors import VideoError
from render_image.video.stream_reader import StreamReader

_EBML, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
_SEEK_HEAD, _SEEK, _SEEK_ID, _SEEK_POSITION = 0x114D9B74, 0x4DBB, 0x53AB, 0x53AC
_INFO, _DURATION, _TRACKS, _TAGS = 0x1549A966, 0x4489, 0x1654AE6B, 0x1254C367
_CUES, _CUE_POINT, _CUE_TIME = 0x1C53BB6B, 0xBB, 0xB3
_CUE_POSITIONS, _CUE_TRACK, _CUE_CLUSTER = 0xB7, 0xF7, 0xF1
_TIMESTAMP = 0xE7
# The video's only track; ffmpeg counts from 1.
_TRACK = 1
_MOST_HEAD_BYTES = 1 << 20
# When a cluster begins stands in so many bytes of it.
_CLUSTER_LOOK_BYTES = 10


class _More(Exception):  # noqa: N818 - no error
    """More of the stream is needed."""


class MatroskaStream(StreamReader):
    """Takes the stream piece by piece, gives its clusters, and makes the head in the end.

    begins: when its segments begin, in milliseconds: their first frames refer to no other.
    """

    _what = "video"

    def __init__(self, begins: Collection[int]) -> None:
        super().__init__()
        self._begins = frozenset(begins)
        self._kept: dict[int, bytes] = {}
        # Time in milliseconds and place of each cluster that a segment begins with.
        self._clusters: list[tuple[int, int]] = []

    def _take_next(self) -> bool:
        try:
            self._next_element()
        except _More:
            return False
        return True

    def _next_element(self) -> None:
        name, at = _number(self._unread, 0, keep_length=True)
        size, begin = _number(self._unread, at)
        if name == _SEGMENT:
            del self._unread[:begin]
        elif name == _CLUSTER:
            if size is None:
                raise ValueError("a cluster does not say how long it is")
            if len(self._unread) < min(begin + _CLUSTER_LOOK_BYTES, begin + size):
                raise _More
            time = _begin(self._unread[begin : begin + _CLUSTER_LOOK_BYTES])
            if time in self._begins:
                self._clusters.append((time, self._data_bytes))
            self._data_left = begin + size
        else:
            if size is None or size > _MOST_HEAD_BYTES:
                raise ValueError(f"the element {name:X} has {size} bytes")
            if len(self._unread) < begin + size:
                raise _More
            if name in (_EBML, _INFO, _TRACKS, _TAGS):
                self._kept[name] = bytes(self._unread[begin : begin + size])
            del self._unread[: begin + size]

    def head(self, milliseconds: float) -> bytes:
        """All that comes before the clusters, in a video that is so long; VideoError if cut off."""
        if self._unread or self._data_left or not {_EBML, _INFO, _TRACKS} <= self._kept.keys():
            raise VideoError("ffmpeg's video is cut off: it is not kept; reinstall ffmpeg")
        info = self._kept[_INFO] + _element(_DURATION, struct.pack(">d", milliseconds))
        parts = [(_INFO, info), (_TRACKS, self._kept[_TRACKS])]
        if _TAGS in self._kept:
            parts.append((_TAGS, self._kept[_TAGS]))
        # The length of neither depends on the places in it.
        after = sum(len(_element(name, content)) for name, content in parts)
        seeks = len(_seek_head([0] * (len(parts) + 1), [name for name, _ in parts] + [_CUES]))
        begin = seeks + after
        data = begin + len(self._cues(0))
        places = [
            seeks + sum(len(_element(*each)) for each in parts[:n]) for n in range(len(parts))
        ]
        content = _seek_head([*places, begin], [name for name, _ in parts] + [_CUES])
        content += b"".join(_element(name, inner) for name, inner in parts) + self._cues(data)
        size = len(content) + self._data_bytes
        head = _element(_EBML, self._kept[_EBML])
        return head + _name(_SEGMENT) + struct.pack(">Q", size | 1 << 56) + content

    def _cues(self, begin: int) -> bytes:
        points = [
            _element(
                _CUE_POINT,
                _element(_CUE_TIME, struct.pack(">Q", time))
                + _element(
                    _CUE_POSITIONS,
                    _element(_CUE_TRACK, bytes([_TRACK]))
                    + _element(_CUE_CLUSTER, struct.pack(">Q", begin + place)),
                ),
            )
            for time, place in self._clusters
        ]
        return _element(_CUES, b"".join(points))


def _seek_head(places: list[int], names: list[int]) -> bytes:
    return _element(
        _SEEK_HEAD,
        b"".join(
            _element(
                _SEEK,
                _element(_SEEK_ID, _name(name))
                + _element(_SEEK_POSITION, struct.pack(">Q", place)),
            )
            for name, place in zip(names, places, strict=True)
        ),
    )


def _number(
    data: bytes | bytearray, at: int, *, keep_length: bool = False
) -> tuple[int | None, int]:
    """A variable-length number and where it ends; None for "unknown" (RFC 8794, 4 and 6.2).

    keep_length: the marker of its length stays in it, as in names.
    """
    if at >= len(data):
        raise _More
    first = data[at]
    length = 9 - first.bit_length()
    if length > 8:
        raise ValueError("a number is longer than eight bytes")
    if at + length > len(data):
        raise _More
    value = int.from_bytes(data[at : at + length], "big")
    if keep_length:
        return value, at + length
    value &= (1 << 7 * length) - 1
    return (None if value == (1 << 7 * length) - 1 else value), at + length


def _begin(cluster: bytes | bytearray) -> int:
    """When a cluster begins, in milliseconds: what it says first."""
    name, at = _number(cluster, 0, keep_length=True)
    size, at = _number(cluster, at)
    if name != _TIMESTAMP or size is None:
        raise ValueError("a cluster does not say when it begins")
    return int.from_bytes(cluster[at : at + size], "big")


def _name(name: int) -> bytes:
    return name.to_bytes((name.bit_length() + 7) // 8, "big")


def _element(name: int, content: bytes) -> bytes:
    return _name(name) + struct.pack(">Q", len(content) | 1 << 56) + content
