"""Grey images in the place of those that a traced animation has not rendered; for trace_scene.

Each is a whole image of the animation's type and size, as a scene may ask for an image's size.
"""

from __future__ import annotations

import struct

from povstorm_client.frames import exr_file
from povstorm_client.frames.png_file import png_file

_GREY = 128
# Light of 0.5: as a half float, and as Radiance's mantissas and exponent.
_HALF_OF_LIGHT, _RADIANCE_OF_LIGHT = b"\x00\x38", b"\x80\x80\x80\x80"
_HALF_FLOAT = 1


def stand_in(ending: str, width: int, height: int) -> bytes:
    """An image of one of IMAGE_ENDINGS, of so many pixels."""
    if ending == ".exr":
        return _exr(width, height)
    if ending == ".hdr":
        # Without runs, as old programs write it.
        head = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y %d +X %d\n" % (height, width)
        return head + _RADIANCE_OF_LIGHT * (width * height)
    return png_file(bytes([_GREY]) * (width * height * 3), width, height, 8)


def _exr(width: int, height: int) -> bytes:
    """Scan lines of half floats without compression.

    https://openexr.com/en/latest/OpenEXRFileLayout.html
    """
    channel = struct.pack("<iB3xii", _HALF_FLOAT, 0, 1, 1)
    box = struct.pack("<iiii", 0, 0, width - 1, height - 1)
    channels = b"".join(name + b"\0" + channel for name in (b"B", b"G", b"R")) + b"\0"
    attributes = (
        (b"channels", b"chlist", channels),
        (b"compression", b"compression", b"\0"),
        (b"dataWindow", b"box2i", box),
        (b"displayWindow", b"box2i", box),
        (b"lineOrder", b"lineOrder", b"\0"),
        (b"pixelAspectRatio", b"float", struct.pack("<f", 1)),
        (b"screenWindowCenter", b"v2f", struct.pack("<ff", 0, 0)),
        (b"screenWindowWidth", b"float", struct.pack("<f", 1)),
    )
    head = exr_file.MAGIC + struct.pack("<i", 2)
    for name, kind, value in attributes:
        head += name + b"\0" + kind + b"\0" + struct.pack("<i", len(value)) + value
    head += b"\0"
    row = _HALF_OF_LIGHT * (3 * width)
    begin, size = len(head) + 8 * height, 8 + len(row)
    places = b"".join(struct.pack("<Q", begin + size * number) for number in range(height))
    rows = b"".join(struct.pack("<ii", number, len(row)) + row for number in range(height))
    return head + places + rows
