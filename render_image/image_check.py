"""Check that an image is whole before it is stored, and again before it goes into a video.

Called by render_unit after POV-Ray, and by video/segments.py before ffmpeg.
"""

from __future__ import annotations

import io
import os
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from povstorm_client.errors import RenderError
from povstorm_client.frames import exr_file, png_file, radiance_file

# Length 0, type IEND and its checksum: how every whole PNG ends (PNG specification, 11.2.5).
_PNG_END = bytes.fromhex("00000000 49454e44 ae426082")
# A pixel has at most four channels of two bytes. A row begins with its filter, deflate adds less
# than a thousandth where nothing can be compressed, and the chunks have room for comments.
_PIXEL_BYTES, _DEFLATED, _AROUND_BYTES = 8, 1.001, 1 << 20


@dataclass(frozen=True)
class ImageFacts:
    """What an image's header says: its size in pixels, and whether it has transparency."""

    width: int
    height: int
    has_alpha: bool


def inspect_image(image: Path | bytes, *, decode: bool = False) -> ImageFacts:
    """The facts of an image that is whole, by what it begins with: a PNG, OpenEXR or Radiance.

    ``decode`` reads all of its pixels. Raises ValueError, saying what is wrong, unless it is one.
    """
    with _opened(image) as file:
        begin = file.read(len(exr_file.MAGIC))
    if begin.startswith(exr_file.MAGIC):
        exr = exr_file.check_whole(_content(image), decode=decode)
        return ImageFacts(exr.width, exr.height, exr.has_alpha)
    if begin.startswith(radiance_file.MAGIC):
        radiance = radiance_file.check_whole(_content(image), decode=decode)
        return ImageFacts(radiance.width, radiance.height, has_alpha=False)
    return inspect_png(image, decode=decode)


def _content(image: Path | bytes) -> bytes:
    return image if isinstance(image, bytes) else image.read_bytes()


def inspect_png(png: Path | bytes, *, decode: bool = False) -> ImageFacts:
    """The facts of a PNG, a file or its content, that is whole.

    All chunks are compared with their checksums, which finds every truncation and every changed
    byte at a twentieth of the cost of decoding. ``decode`` decompresses the pixels as well.

    Raises ValueError, saying what is wrong, unless the file is a whole PNG.
    """
    from PIL.PngImagePlugin import PngImageFile

    try:
        # Not by Image.open, which refuses images of 179 million pixels and more for its size alone.
        with _opened(png) as file, PngImageFile(file) as image:
            facts = ImageFacts(*image.size, image.has_transparency_data)
            image.verify()  # stops before the last chunk
            file.seek(-len(_PNG_END), os.SEEK_END)
            if file.read() != _PNG_END:
                raise ValueError("its end is missing or damaged")
        if decode:
            with _opened(png) as file, PngImageFile(file) as image:
                image.load()
    except Exception as error:
        # Of a damaged image Pillow's readers also raise struct.error, zlib.error, IndexError, …
        raise ValueError(str(error) or repr(error)) from error
    return facts


def _opened(png: Path | bytes) -> IO[bytes]:
    return io.BytesIO(png) if isinstance(png, bytes) else png.open("rb")


def check_image(path: Path, width: int, height: int) -> None:
    """Raise RenderError unless the file is a complete image of width x height pixels.

    Of the type that its name's ending says.
    """
    if path.is_symlink() or not path.is_file():
        raise RenderError(
            f"POV-Ray ended without an error but wrote no {path.name}", retryable=False
        )
    most = (width * _PIXEL_BYTES + 1) * height * _DEFLATED + _AROUND_BYTES
    if path.stat().st_size > most:
        raise RenderError(
            f"{path.name} has {path.stat().st_size} bytes, more than an image of {width}x{height} "
            "pixels can have: what the scene writes needs another name",
            retryable=False,
        )
    try:
        facts = _inspect(path, decode=False)
        if (facts.width, facts.height) != (width, height):
            raise RenderError(
                f"{path.name} is {facts.width}x{facts.height} pixels, not {width}x{height}",
                retryable=False,
            )
        # Only now: a scene can write a file that says it is an image of any size.
        _inspect(path, decode=True)
    except ValueError as error:
        raise RenderError(f"{path.name} is not a whole image: {error}", retryable=True) from error


def _inspect(path: Path, *, decode: bool) -> ImageFacts:
    if path.suffix == ".png":
        return inspect_png(path, decode=decode)
    with path.open("rb") as file:
        if not file.read(len(_MAGIC[path.suffix])).startswith(_MAGIC[path.suffix]):
            raise ValueError(f"it is no {_NAMES[path.suffix]} image")
    return inspect_image(path, decode=decode)


_MAGIC = {".exr": exr_file.MAGIC, ".hdr": radiance_file.MAGIC}
_NAMES = {".exr": "OpenEXR", ".hdr": "Radiance HDR"}


# A chunk is its length, its type, its data and its checksum (PNG specification, 5.3).
_HEAD, _CHECKSUM_BYTES = struct.Struct(">I4s"), 4
# What POV-Ray 3.7 begins its comment with; the rest names the platform and the compiler.
_COMMENT = b"Comment\0Render Date"


def drop_dates(image: Path) -> None:
    """Remove the time at which a whole image was made, of a PNG its comment too; pixels stay.

    Raises ValueError for chunks of a PNG that do not end where they say.
    """
    content = image.read_bytes()
    if content.startswith(exr_file.MAGIC):
        kept = exr_file.without_dates(content)
    elif content.startswith(radiance_file.MAGIC):
        kept = radiance_file.without_dates(content)
    else:
        chunks = (chunk for chunk in _chunks(content) if not _is_date(chunk))
        kept = b"".join([png_file.MAGIC, *chunks])
    if kept != content:
        # A file of its own: a link that a scene has put here is replaced, not followed.
        descriptor, name = tempfile.mkstemp(dir=image.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(kept)
        Path(name).replace(image)


def _chunks(content: bytes) -> Iterator[bytes]:
    """The chunks; the last one with whatever may follow it, which readers of PNGs ignore."""
    start = len(png_file.MAGIC)
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
