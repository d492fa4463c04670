"""Take the time of rendering out of an image, so that a frame rendered twice is the same file.

Called by render_unit before an image is stored.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# A chunk is its length, its type, its data and its checksum (PNG specification, 5.3).
_HEAD, _CHECKSUM_BYTES = struct.Struct(">I4s"), 4
# What POV-Ray 3.7 begins its comment with; the rest names the platform and the compiler.
_COMMENT = b"Comment\0Render Date"


def drop_dates(image: Path) -> None:
    """Remove the time, and the comment with the render date, from a whole PNG; pixels stay.

    Raises ValueError for chunks that do not end where they say.
    """
    content = image.read_bytes()
    kept = b"".join([_SIGNATURE, *(chunk for chunk in _chunks(content) if not _is_date(chunk))])
    if kept != content:
        # A file of its own: a link that a scene has put here is replaced, not followed.
        descriptor, name = tempfile.mkstemp(dir=image.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(kept)
        Path(name).replace(image)


def _chunks(content: bytes) -> Iterator[bytes]:
    """The chunks; the last one with whatever may follow it, which readers of PNGs ignore."""
    start = len(_SIGNATURE)
    while start < len(content):
        if start + _HEAD.size > len(content):
            raise ValueError("its last chunk is cut off")
        length, kind = _HEAD.unpack_from(content, start)
        is_last = kind == b"IEND"
        end = len(content) if is_last else start + _HEAD.size + length + _CHECKSUM_BYTES
        if end > len(content):
            raise ValueError(f"its chunk {kind!r} is cut off")
        yield content[start:end]
        start = end


def _is_date(chunk: bytes) -> bool:
    _, kind = _HEAD.unpack_from(chunk)
    return kind == b"tIME" or (kind == b"tEXt" and chunk.startswith(_COMMENT, _HEAD.size))
