"""Motion blur: a frame's sub-frames averaged in linear light; for render_unit.

POV-Ray writes each sub-frame as a PPM of 16 bits a colour with File_Gamma 1.0, which holds its
linear values (tried with 3.7.0.10). Sums are whole numbers, so that the same sub-frames always give
the same bytes.
"""

from __future__ import annotations

import re
import sys
from array import array
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from povstorm_client.errors import RenderError
from povstorm_client.frames.png_file import png_file
from povstorm_client.frames.tone_mapping import srgb
from render_image.process import ProcessExit

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_MOST = 65_535
# Magic, then width, height and the largest value with blanks and comments between (ppm(5)).
_BLANK = rb"(?:\s|#[^\n]*\n)+"
_HEADER = re.compile(rb"P6" + _BLANK + rb"(\d+)" + _BLANK + rb"(\d+)" + _BLANK + rb"65535\s")
_DEEP = 16
_COLOURS, _SAMPLE_BYTES = 3, 2


class Exposure:
    """The sub-frames that have been added up so far, of an image of width x height pixels."""

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        self._sum: Picture | None = None
        self._count = 0
        self._logs: list[str] = []
        self._exits: list[ProcessExit] = []

    def note(self, log: str, exited: ProcessExit) -> None:
        """Keep what a sub-frame's POV-Ray printed, and took."""
        self._logs.append(log)
        self._exits.append(exited)

    @property
    def log(self) -> str:
        """What POV-Ray printed of all of them."""
        return "\n".join(self._logs)

    @property
    def wall_seconds(self) -> float:
        """What they have taken so far."""
        return sum(exited.wall_seconds for exited in self._exits)

    @property
    def exited(self) -> ProcessExit:
        """How they ended, as if they were one process."""
        return replace(
            self._exits[-1],
            cpu_seconds=sum(exited.cpu_seconds for exited in self._exits),
            wall_seconds=self.wall_seconds,
            peak_memory_bytes=max(exited.peak_memory_bytes for exited in self._exits),
        )

    def add(self, ppm: Path) -> None:
        """Add a sub-frame; RenderError for a file that is not POV-Ray's PPM of the image's size."""
        from PIL import Image, ImageMath

        size = self._width * _COLOURS, self._height
        most = size[0] * size[1] * _SAMPLE_BYTES
        if ppm.is_symlink() or not ppm.is_file():
            raise RenderError(
                f"POV-Ray ended without an error but wrote no {ppm.name}", retryable=False
            )
        with ppm.open("rb") as file:
            content = file.read(most + 4096)
        header = _HEADER.match(content)
        is_of_this_size = header is not None and (int(header[1]), int(header[2])) == (
            self._width,
            self._height,
        )
        if header is None or not is_of_this_size or len(content) != header.end() + most:
            raise RenderError(
                f"{ppm.name} is no whole image of {self._width}x{self._height} pixels",
                retryable=True,
            )
        # To Pillow it is a grey image, of each pixel's three values beside each other.
        samples = Image.frombytes("I;16B", size, content[header.end() :]).convert("I")
        if self._sum is not None:
            samples = cast(
                "Picture",
                ImageMath.lambda_eval(lambda of: of["a"] + of["b"], a=self._sum, b=samples),
            )
        self._sum = samples
        self._count += 1

    def develop(self, png: Path, *, bits: int) -> None:
        """Write the average, as sRGB of 8 or 16 bits a colour."""
        assert self._sum is not None, "nothing was added"  # noqa: S101 - a mistake of ours
        sums = array("i", self._sum.tobytes())
        half, count = self._count // 2, self._count
        curve = _srgb(bits)
        is_deep = bits == _DEEP
        values = (curve[(value + half) // count] for value in sums)
        encoded = array("H" if is_deep else "B", values)
        if is_deep and sys.byteorder == "little":
            encoded.byteswap()
        png.write_bytes(png_file(encoded.tobytes(), self._width, self._height, bits))


def _srgb(bits: int) -> array[int]:
    """Linear value of 16 bits → sRGB value of so many."""
    most = (1 << bits) - 1
    return array("H", (round(most * srgb(value / _MOST)) for value in range(_MOST + 1)))
