"""Images without bounds, made into ones that can be shown; previews, pages and the video ask.

ffmpeg decodes OpenEXR; its decoder of Radiance HDR is of 6.0, and Debian has an older one. Each
colour goes through a table of the tone mapping: the same image is the same picture everywhere, and
no package beside Pillow is needed in the render container.
"""

from __future__ import annotations

import math
import struct
import subprocess
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

from povstorm_client.errors import ToolError
from povstorm_client.frames import exr_file, radiance_file
from povstorm_client.frames.png_file import png_file
from povstorm_client.frames.tone_mapping import ToneMapping, tables
from povstorm_client.programs.tools import require_ffmpeg

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_COLOURS = 3
_FLOAT_BYTES = 4
# Of a float's 32 bits the upper 19 are all that a half float has. The table's first entry is before
# that of 2**-24, the smallest half float; what is darker is black.
_DROPPED_BITS, _FIRST = 13, ((127 - 24) << 10) - 1
# Light that is divided by less would be noise; the pixel cannot be seen.
_LEAST_ALPHA = 2.0**-16
_DECODING_SECONDS = 600


def is_unbounded(data: bytes) -> bool:
    """Whether it is an OpenEXR or a Radiance image."""
    return data.startswith((exr_file.MAGIC, radiance_file.MAGIC))


def developed(data: bytes, tone: ToneMapping) -> bytes:
    """An OpenEXR or Radiance image as a PNG of 16 bits a colour; any other as it is.

    OpenEXR's colours are multiplied by their transparency, a PNG's are not. Raises ValueError for
    a damaged image, ToolError where ffmpeg is missing or does not end.
    """
    if not is_unbounded(data):
        return data
    if data.startswith(radiance_file.MAGIC):
        return _developed_radiance(data, tone)
    return _developed_exr(data, tone)


def _developed_radiance(data: bytes, tone: ToneMapping) -> bytes:
    from PIL import Image

    header = radiance_file.read_header(data)
    *mantissas, exponents = radiance_file.planes(data)
    upper, lower = tables(tone, _lights_of_pairs)
    shown = []
    for plane in mantissas:
        pairs = bytearray(2 * len(plane))
        pairs[0::2], pairs[1::2] = plane, exponents
        entries = Image.frombytes("I", (header.width, header.height), pairs, "raw", "I;16")
        shown.append((entries.point(upper, "L").tobytes(), entries.point(lower, "L").tobytes()))
    return _png(shown, header.width, header.height)


def _lights_of_pairs() -> Iterator[float]:
    """Of Radiance's pairs of an exponent and a mantissa, the numbers of 16 bits in their order."""
    for exponent in range(256):
        for mantissa in range(256):
            yield math.ldexp(mantissa, exponent - 136) if exponent else 0.0


def _developed_exr(data: bytes, tone: ToneMapping) -> bytes:
    from PIL import Image, ImageMath

    header = exr_file.check_whole(data, decode=False)
    size = header.width, header.height
    # In the order of ffmpeg's planes.
    green, blue, red, *others = _exr_planes(data, header)
    colours = [red, green, blue]
    if others:
        alpha = Image.frombytes("F", size, others[0], "raw", "F;32F")
        colours = [
            cast(
                "Picture",
                ImageMath.lambda_eval(
                    lambda of: of["colour"] / of["max"](of["alpha"], _LEAST_ALPHA),
                    colour=Image.frombytes("F", size, plane, "raw", "F;32F"),
                    alpha=alpha,
                ),
            ).tobytes("raw", "F;32F")
            for plane in colours
        ]
    shown = []
    for number, plane in enumerate([*colours, *others]):
        bits = Image.frombytes("I", size, plane, "raw", "I;32S")
        # What is below or above the table counts as its first or last entry.
        entries = cast(
            "Picture",
            ImageMath.lambda_eval(lambda of: (of["bits"] >> _DROPPED_BITS) - _FIRST, bits=bits),
        )
        upper, lower = tables(tone if number < len(colours) else None, _lights_of_floats)
        shown.append((entries.point(upper, "L").tobytes(), entries.point(lower, "L").tobytes()))
    return _png(shown, *size)


def _lights_of_floats() -> Iterator[float]:
    """Of floats' upper bits, from _FIRST on; what is infinite, or no number, counts as infinite."""
    yield 0.0
    for entry in range(1, 1 << 16):
        (light,) = struct.unpack("<f", struct.pack("<I", (entry + _FIRST) << _DROPPED_BITS))
        yield math.inf if math.isnan(light) else light


def _png(planes: Sequence[tuple[bytes, bytes]], width: int, height: int) -> bytes:
    """A PNG of colours, and perhaps transparency, each as upper and lower bytes of all pixels."""
    step = 2 * len(planes)
    samples = bytearray(width * height * step)
    for number, (upper, lower) in enumerate(planes):
        samples[2 * number :: step] = upper
        samples[2 * number + 1 :: step] = lower
    # It is read once.
    has_alpha = len(planes) > _COLOURS
    return png_file(bytes(samples), width, height, 16, has_alpha=has_alpha, effort=1)


def light_of(data: bytes) -> bytes:
    """All that the pixels of an OpenEXR or Radiance image are, whatever its header says.

    Raises as developed.
    """
    if data.startswith(radiance_file.MAGIC):
        return b"".join(radiance_file.planes(data))
    return b"".join(_exr_planes(data, exr_file.check_whole(data, decode=True)))


def _exr_planes(data: bytes, header: exr_file.ExrHeader) -> list[bytes]:
    """Green, blue, red, alpha: each value as a float of 32 bits, little-endian."""
    ffmpeg, _ = require_ffmpeg()
    pixels = "gbrapf32le" if header.has_alpha else "gbrpf32le"
    try:
        finished = subprocess.run(
            [
                *(ffmpeg, "-hide_banner", "-nostats", "-loglevel", "error", "-xerror"),
                *("-err_detect", "explode", "-f", "image2pipe", "-vcodec", "exr"),
                # Without it ffmpeg would take a piece of the file for an image.
                *("-frame_size", str(len(data)), "-threads", "1", "-i", "pipe:0"),
                *("-f", "rawvideo", "-pix_fmt", pixels, "pipe:1"),
            ],
            input=data,
            capture_output=True,
            timeout=_DECODING_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolError(
            f"{ffmpeg} did not decode an image of {header.width}x{header.height} in "
            f"{error.timeout:g} s: render smaller images, or other than OpenEXR"
        ) from error
    size = header.width * header.height * _FLOAT_BYTES
    if finished.returncode or len(finished.stdout) != size * (3 + header.has_alpha):
        said = finished.stderr.decode(errors="replace").strip().splitlines()
        raise ValueError(f"ffmpeg cannot decode it ({said[-1] if said else 'it said nothing'})")
    return [finished.stdout[at : at + size] for at in range(0, len(finished.stdout), size)]
