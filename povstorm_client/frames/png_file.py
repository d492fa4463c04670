"""PNG images of samples, with the chunks that POV-Ray's own have.

developing.py makes them of OpenEXR and HDR, render_image/motion_blur.py of the mean of sub-frames.
"""

from __future__ import annotations

import struct
import zlib

MAGIC = b"\x89PNG\r\n\x1a\n"
_TRUE_COLOUR, _WITH_ALPHA = 2, 6


def png_file(
    samples: bytes, width: int, height: int, bits: int, *, has_alpha: bool = False, effort: int = 6
) -> bytes:
    """A PNG of sRGB samples of so many bits, big-endian, pixel by pixel: red, green, blue, alpha.

    effort: zlib's, 1 to 9.
    """
    row = width * (4 if has_alpha else 3) * bits // 8
    # Each row begins with its filter, here none.
    rows = (b"\0" + samples[start : start + row] for start in range(0, row * height, row))
    kind = _WITH_ALPHA if has_alpha else _TRUE_COLOUR
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"gAMA", struct.pack(">I", 45_455)),
        (b"sRGB", b"\x00"),
        (b"IDAT", zlib.compress(b"".join(rows), effort)),
        (b"IEND", b""),
    )
    return MAGIC + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
