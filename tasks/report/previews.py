"""Previews: the job's images, small enough that hundreds of them fit into one page.

previews_ahead.py makes them while frames are rendered, and build.py the rest; they are the
scrubber's frames and the contact sheet's thumbnails.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from povstorm_client.errors import StorageError
from povstorm_client.frames.spread import spread
from povstorm_client.jobs.thumbnails import encoded, small_image
from povstorm_client.programs.cores import cores
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
LARGEST_SIDE = _SIZES[0][0]
_SAMPLE = 8
# Each holds an image, and what it is decoded to.
_MOST_AT_ONCE = 8


@dataclass(frozen=True)
class Previews:
    """WebP images by frame, ascending; unreadable: why others have none."""

    images: dict[int, bytes]
    unreadable: dict[int, str]


@dataclass
class ReadyPreviews:
    """Previews that are made while frames render: all of one size, by frame.

    wanted: the frames that have one; pixels: of an image; side, quality: as _SIZES has them.
    """

    wanted: frozenset[int]
    pixels: int
    side: int
    quality: int
    images: dict[int, bytes]

    def add(self, frame: int, image: Image.Image) -> None:
        """Make the preview of a frame, if it has one."""
        if frame in self.wanted:
            self.images[frame] = encoded(image, self.side, self.quality)


def begin_ready(
    frames: Sequence[int], sample: Mapping[int, Image.Image], budget: int = BUDGET_BYTES
) -> ReadyPreviews | None:
    """Choose what the previews of a job's frames will be, by the images of the first; with theirs.

    None if those are too few yet.
    """
    if len(sample) < min(_SAMPLE, len(frames)):
        return None
    pixels = max(image.info["pixels"] for image in sample.values())
    wanted = frozenset(spread(frames, _most(pixels)))
    size = _size_for(list(sample.values()), budget / len(wanted))
    ready = ReadyPreviews(wanted, pixels, *size, {})
    for frame, image in sample.items():
        ready.add(frame, image)
    return ready


class _Unreadable(Exception):  # noqa: N818 - only carried from a thread to its caller
    pass


def make_previews(
    frames: Sequence[FrameFacts],
    read: Callable[[FrameFacts], bytes],
    *,
    wanted: Collection[int] = (),
    budget: int = BUDGET_BYTES,
    ready: ReadyPreviews | None = None,
) -> Previews:
    """Previews of frames that have an image, evenly spread where there are too many.

    read: gives a frame's image as a PNG, or raises StorageError. wanted: numbers of frames that get
    one in any case. budget: bytes of all of them. ready: what was made before.
    """
    at_once = min(_MOST_AT_ONCE, math.ceil(cores()))
    if not frames:
        return Previews({}, {})

    def opened(frame: FrameFacts) -> Image.Image | _Unreadable:
        try:
            data = read(frame)
        except StorageError as error:
            return _Unreadable(str(error))
        try:
            return small_image(data, LARGEST_SIDE)
        except Exception as error:
            # Of a damaged image Pillow's readers raise much more than OSError; it has no preview.
            return _Unreadable(str(error) or repr(error))

    def made(
        chosen: Sequence[FrameFacts], side: int, quality: int, known: Mapping[int, bytes]
    ) -> tuple[dict[int, bytes], dict[int, str]]:
        """Their previews, and why others have none."""

        def preview(frame: FrameFacts) -> bytes | _Unreadable:
            if frame.frame in known:
                return known[frame.frame]
            image = opened(frame)
            return image if isinstance(image, _Unreadable) else encoded(image, side, quality)

        images: dict[int, bytes] = {}
        unreadable: dict[int, str] = {}
        for frame, found in zip(chosen, in_parallel(preview, chosen, at_once), strict=True):
            if isinstance(found, _Unreadable):
                unreadable[frame.frame] = str(found)
            else:
                images[frame.frame] = found
        return images, unreadable

    if ready is not None:
        chosen = _chosen(frames, wanted, ready.pixels)
        images, unreadable = made(chosen, ready.side, ready.quality, ready.images)
        if sum(map(len, images.values())) <= budget:
            return Previews(images, unreadable)
        # The first frames of an animation may be simpler than the others.
    unreadable = {}
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
    chosen = _chosen(frames, wanted, pixels)
    side, quality = _size_for(sample, budget / len(chosen))
    images, others = made(chosen, side, quality, {})
    return Previews(_thinned(images, budget), unreadable | others)


def _most(pixels: int) -> int:
    """How many images of so many pixels have a preview."""
    return max(_FEWEST, min(_MOST, _MOST_PIXELS // pixels))


def _chosen(frames: Sequence[FrameFacts], wanted: Collection[int], pixels: int) -> list[FrameFacts]:
    """The frames that have one, ascending."""
    kept = {frame.frame: frame for frame in spread(frames, _most(pixels))}
    kept |= {frame.frame: frame for frame in frames if frame.frame in wanted}
    return [kept[number] for number in sorted(kept)]


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
