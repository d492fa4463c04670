"""Previews: the job's images, small enough that hundreds of them fit into one page.

make_report makes them; they are the scrubber's frames and the contact sheet's thumbnails.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from PIL import Image

from povstorm_client.errors import StorageError
from povstorm_client.jobs.thumbnails import encoded, small_image, spread
from povstorm_client.storage.parallel import in_parallel
from tasks.report.facts import FrameFacts

# Of all previews together; base64 makes a third more of it.
BUDGET_BYTES = 1_500_000
# As many frames have one. Of a longer job, every second, third, …
_MOST = 500
# Pixels to decode in all: some 15 seconds of a core (measured). Of large images fewer are shown.
_MOST_PIXELS = 1_200_000_000
_FEWEST = 60
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
            return small_image(data, _SIZES[0][0])
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
        return image if isinstance(image, _Unreadable) else encoded(image, side, quality)

    ordered = [chosen[number] for number in sorted(chosen)]
    images: dict[int, bytes] = {}
    for frame, made in zip(ordered, in_parallel(preview, ordered, at_once), strict=True):
        if isinstance(made, _Unreadable):
            unreadable[frame.frame] = str(made)
        else:
            images[frame.frame] = made
    return Previews(_thinned(images, budget), unreadable)


def _size_for(sample: Sequence[Image.Image], bytes_each: float) -> tuple[int, int]:
    """The best size whose mean over the sample leaves some room."""
    for side, quality in _SIZES:
        sizes = [len(encoded(image, side, quality)) for image in sample]
        if sum(sizes) <= 0.85 * bytes_each * len(sizes):
            return side, quality
    return _SIZES[-1]


def _thinned(images: dict[int, bytes], budget: int) -> dict[int, bytes]:
    """Every second, where the sample was wrong about the size of all."""
    while len(images) > 1 and sum(map(len, images.values())) > budget:
        images = dict(list(images.items())[::2])
    return images
