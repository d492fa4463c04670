"""Previews: the job's images, small enough that hundreds of them fit into one page.

make_report makes them; they are the scrubber's frames and the contact sheet's thumbnails.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageOps

from povstorm_client.errors import StorageError
from povstorm_client.parallel import in_parallel
from tasks.report.facts import FrameFacts

# Of all previews together; base64 makes a third more of it.
BUDGET_BYTES = 1_500_000
# As many frames have one. Of a longer job, every second, third, …
_MOST = 500
# Pixels to decode in all: some 15 seconds of a core (measured). Of large images fewer are shown.
_MOST_PIXELS = 1_200_000_000
_FEWEST = 60
# Of an image larger than this there is none: it would take gigabytes of memory.
_LARGEST_PIXELS = 80_000_000
# (longest side in pixels, WebP quality), the best first.
_SIZES = (
    *((720, 82), (640, 78), (512, 75), (448, 72), (384, 70), (320, 66), (288, 62)),
    *((256, 58), (224, 54), (192, 50), (160, 46), (128, 42), (96, 36), (64, 30)),
)
_SAMPLE = 8
# Of a contact sheet's images, how many times as tall as they are wide.
_TALLEST = 4


@dataclass(frozen=True)
class Previews:
    """WebP images by frame, ascending; unreadable: why others have none."""

    images: dict[int, bytes]
    unreadable: dict[int, str]


class _Unreadable(Exception):  # noqa: N818 - only carried from a thread to its caller
    pass


def make_previews(
    frames: Sequence[FrameFacts],
    read: Callable[[FrameFacts], bytes],
    *,
    wanted: Iterable[int] = (),
    budget: int = BUDGET_BYTES,
) -> Previews:
    """Previews of frames that have an image, evenly spread where there are too many.

    read: gives a frame's PNG, or raises StorageError. wanted: numbers of frames that get one in
    any case. budget: bytes of all of them.
    """
    at_once = os.cpu_count() or 1
    if not frames:
        return Previews({}, {})

    def opened(frame: FrameFacts) -> Image.Image | _Unreadable:
        try:
            data = read(frame)
        except StorageError as error:
            return _Unreadable(str(error))
        try:
            return _small(data)
        except Exception as error:
            # Of a damaged image Pillow's readers raise much more than OSError; it has no preview.
            return _Unreadable(str(error) or repr(error))

    unreadable: dict[int, str] = {}
    sample: list[Image.Image] = []
    pixels = 1
    for frame, image in zip(
        spread(frames, _SAMPLE), in_parallel(opened, spread(frames, _SAMPLE), at_once), strict=True
    ):
        if isinstance(image, _Unreadable):
            unreadable[frame.frame] = str(image)
        else:
            sample.append(image)
            pixels = max(pixels, image.info["pixels"])
    most = max(_FEWEST, min(_MOST, _MOST_PIXELS // pixels))
    kept = set(wanted)
    chosen = {frame.frame: frame for frame in spread(frames, most)}
    chosen |= {frame.frame: frame for frame in frames if frame.frame in kept}
    side, quality = _size_for(sample, budget / len(chosen))

    def preview(frame: FrameFacts) -> bytes | _Unreadable:
        image = opened(frame)
        return image if isinstance(image, _Unreadable) else _encoded(image, side, quality)

    ordered = [chosen[number] for number in sorted(chosen)]
    images: dict[int, bytes] = {}
    for frame, made in zip(ordered, in_parallel(preview, ordered, at_once), strict=True):
        if isinstance(made, _Unreadable):
            unreadable[frame.frame] = str(made)
        else:
            images[frame.frame] = made
    return Previews(_thinned(images, budget), unreadable)


def contact_sheet(images: Sequence[bytes], *, columns: int = 6, wide: int = 120) -> bytes:
    """One JPEG of the images, in rows, each so many pixels wide: small enough for a data URI."""
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    with Image.open(io.BytesIO(images[0])) as first:
        # Of tall images no more than a strip, or the sheet would have millions of pixels.
        high = min(max(1, round(wide * first.height / first.width)), _TALLEST * wide)
    gap = 4
    size = (columns * (wide + gap) - gap, rows * (high + gap) - gap)
    sheet = Image.new("RGB", size, "#0b0c0e")
    for index, data in enumerate(images):
        with Image.open(io.BytesIO(data)) as image:
            row, column = divmod(index, columns)
            place = (column * (wide + gap), row * (high + gap))
            sheet.paste(ImageOps.contain(image, (wide, high)), place)
    target = io.BytesIO()
    sheet.save(target, "JPEG", quality=72, optimize=True)
    return target.getvalue()


def spread(items: Sequence[FrameFacts], most: int) -> list[FrameFacts]:
    """At most so many of the items, evenly spread, with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(index * (len(items) - 1) / (most - 1))] for index in range(most)]


def _small(data: bytes) -> Image.Image:
    """An image at no more than the largest preview's size, in RGB; info["pixels"]: what it had."""
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        pixels = image.width * image.height
        if pixels > _LARGEST_PIXELS:
            raise ValueError(f"{image.width}x{image.height} pixels are too many for a preview")
        image.load()
        plain = _rgb(image)
    side = _SIZES[0][0]
    plain.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    plain.info = {"pixels": pixels}
    return plain


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # Grey with 16 bits; Pillow's own conversion would clip it.
        return image.point(lambda value: value / 256).convert("L").convert("RGB")
    if image.has_transparency_data:
        # On black, as in the video.
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "black"), layer).convert("RGB")
    return image.convert("RGB")


def _encoded(image: Image.Image, side: int, quality: int) -> bytes:
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    target = io.BytesIO()
    small.save(target, "WEBP", quality=quality, method=4)
    return target.getvalue()


def _size_for(sample: Sequence[Image.Image], bytes_each: float) -> tuple[int, int]:
    """The best size whose mean over the sample leaves some room."""
    for side, quality in _SIZES:
        sizes = [len(_encoded(image, side, quality)) for image in sample]
        if sum(sizes) <= 0.85 * bytes_each * len(sizes):
            return side, quality
    return _SIZES[-1]


def _thinned(images: dict[int, bytes], budget: int) -> dict[int, bytes]:
    """Every second, where the sample was wrong about the size of all."""
    while len(images) > 1 and sum(map(len, images.values())) > budget:
        images = dict(list(images.items())[::2])
    return images
