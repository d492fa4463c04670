"""GifCounter: counts a GIF's pictures as it streams by, by its blocks; join.one_pass feeds it.

ffprobe reads a GIF twice, for which it has to keep all of it; on Cloud Run that is memory.
https://www.w3.org/Graphics/GIF/spec-gif89a.txt has the blocks.
"""

from __future__ import annotations

from collections.abc import Generator

from povstorm_client.errors import VideoError
from render_image.video.probe import CountedVideo

_IMAGE, _EXTENSION, _END = 0x2C, 0x21, 0x3B


class GifCounter:
    """Counts what it is given, piece by piece, in a memory that does not grow."""

    def __init__(self) -> None:
        self._pictures = 0
        self._size = (0, 0)
        self._has_ended = False
        self._read = bytearray()
        self._blocks = self._walk()
        # The walk says how many bytes it needs next, and is sent them.
        self._needed = next(self._blocks)

    def add(self, piece: bytes) -> None:
        """Take the next piece; VideoError for what is no GIF."""
        self._read += piece
        at = 0
        while not self._has_ended and len(self._read) - at >= self._needed:
            taken = bytes(self._read[at : at + self._needed])
            at += self._needed
            self._needed = self._blocks.send(taken)
        del self._read[:at]

    def end(self) -> CountedVideo:
        """What it has counted, when it has all; VideoError unless the GIF ended there."""
        if not self._has_ended or self._read:
            raise _no_gif("it does not end with its last block")
        return CountedVideo(self._pictures, *self._size, "gif")

    def _walk(self) -> Generator[int, bytes, None]:
        head = yield 13
        if head[:6] not in (b"GIF89a", b"GIF87a"):
            raise _no_gif(f"it begins with {head[:6]!r}")
        self._size = (int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little"))
        yield from _skip_colours(head[10])
        while (kind := (yield 1)[0]) != _END:
            if kind == _IMAGE:
                place = yield 9
                yield from _skip_colours(place[8])
                yield 1  # the least length of its codes
                self._pictures += 1
            elif kind == _EXTENSION:
                yield 1  # which one
            else:
                raise _no_gif(f"it has a block of kind {kind}")
            while length := (yield 1)[0]:
                yield length
        self._has_ended = True
        yield 1


def _skip_colours(flags: int) -> Generator[int, bytes, None]:
    """Go on behind a table of colours, if the flags say that there is one."""
    if flags & 0x80:
        yield 3 << ((flags & 0x07) + 1)


def _no_gif(why: str) -> VideoError:
    return VideoError(f"ffmpeg has not made a whole GIF ({why}): it is not kept; reinstall ffmpeg")
