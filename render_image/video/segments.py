"""Segments of a video: which frames each has, and encoding one.

Each segment is encoded for itself and refers to no other, so it can be made when, and wherever, its
frames are there. Neither images nor what comes of them are ever here all at once.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import secrets
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from povstorm_client.errors import VideoError
from povstorm_client.frames.developing import developed
from povstorm_client.frames.video_options import VideoOptions
from povstorm_client.programs.tools import ffmpeg_version, require_ffmpeg
from povstorm_client.storage.checksum import crc32c_of
from povstorm_client.storage.parallel import in_parallel
from povstorm_client.storage.protocol import Storage
from render_image.image_check import ImageFacts, inspect_image
from render_image.video import ffmpeg_process
from render_image.video.ffmpeg_process import Cancellation
from render_image.video.fragments import FragmentReader
from render_image.video.frame_counter import FrameCounter
from render_image.video.stored_segments import PartWriter, SegmentStore, StoredSegment
from render_image.video.video_formats import (
    cost_of,
    encoding_commands,
    has_index,
    is_fragmented,
)

# Of how segments are made: one of another is not taken.
_FORMAT = 1
# Each segment begins with a picture that is as large as a dozen others: longer ones make smaller
# files, shorter ones leave less to do when the last frame is there. x264's own are 250 at most.
MOST_FRAMES = 120
# So large pictures have shorter ones, of about so many CPU seconds, but no shorter ones than by
# which the file of an ordinary animation is a seventh larger (docs/performance.md).
_SECONDS, _LEAST_FRAMES = 8.0, 40
# So the last ones are shorter and shorter: each has this share of what is left, or all of a few.
_SHARE = Fraction(2, 3)
_FEW_FRAMES = 8
# Images that are read while another is encoded; a bucket takes its time for each.
_READ_AHEAD = 4


class Picture(Protocol):
    """A stored image; a Path is one."""

    @property
    def name(self) -> str:
        """Its name in messages."""

    def read_bytes(self) -> bytes:
        """Its content; raises OSError where it is gone."""


@dataclass(frozen=True)
class StoredImage:
    """An image in a storage; it is read when it is wanted, and kept nowhere else."""

    storage: Storage
    key: str

    @property
    def name(self) -> str:
        """The file's name."""
        return self.key.rpartition("/")[2]

    def read_bytes(self) -> bytes:
        """The content; FileNotFoundError where it is gone, StorageError if the storage fails."""
        data = self.storage.find(self.key)
        if data is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.key)
        return data


@dataclass(frozen=True)
class FrameImage:
    """A frame of a video; crc32c: of the image that was rendered, "" where that is not known."""

    frame: int
    picture: Picture
    crc32c: str = ""


@dataclass(frozen=True)
class Encoding:
    """What all segments of a video have in common.

    target: the video, for its file ending. remedy: what is advised where an image is not the one
    that was rendered. options: its codec and quality.
    """

    target: Path
    fps: Fraction
    remedy: str
    ffmpeg: str
    ffprobe: str
    options: VideoOptions = field(default_factory=VideoOptions)

    @classmethod
    def of(
        cls, target: Path, fps: Fraction, remedy: str, options: VideoOptions | None = None
    ) -> Encoding:
        """With the ffmpeg of this machine; ToolError where there is none, or not with this codec.

        options: the format's own choice if None.
        """
        chosen = options or VideoOptions()
        chosen.require_encoder(target.suffix.lower().removeprefix("."))
        return cls(target, fps, remedy, *require_ffmpeg(), chosen)

    @property
    def ending(self) -> str:
        """The video's, such as ``mp4``."""
        return self.target.suffix.lower().removeprefix(".")

    @property
    def version(self) -> str:
        """Of ffmpeg; ToolError if it tells none."""
        return ffmpeg_version(self.ffmpeg)


@dataclass(frozen=True)
class Segment:
    """A segment of these images."""

    images: tuple[FrameImage, ...]
    stored: StoredSegment


def most_frames(pixels: int, encoding: Encoding) -> int:
    """How many frames of so many pixels a segment has at most, by what encoding them takes."""
    seconds = pixels * cost_of(encoding.ending, encoding.options)[1]
    return max(_LEAST_FRAMES, min(MOST_FRAMES, int(_SECONDS / seconds)))


def plan_segments(frames: Sequence[int], most: int = MOST_FRAMES) -> list[tuple[int, ...]]:
    """The frames of each segment of a video, both ascending; most: of one, as most_frames has it.

    It depends on nothing but that, and the frames that the video is meant to have: one that is
    missing leaves its segment shorter, and all others as they are.
    """
    segments = []
    begin = 0
    while begin < len(frames):
        left = len(frames) - begin
        share = -(-left * _SHARE.numerator // _SHARE.denominator)
        length = left if left <= _FEW_FRAMES else min(most, share)
        segments.append(tuple(frames[begin : begin + length]))
        begin += length
    return segments


def segment_name(images: Sequence[FrameImage], encoding: Encoding, *, has_alpha: bool) -> str:
    """What names a segment: all that its bytes depend on but ffmpeg's version, as far as known."""
    if not all(image.crc32c for image in images):
        return secrets.token_hex(16)
    made_of = [
        _FORMAT,
        encoding.target.suffix.lower(),
        str(encoding.fps),
        asdict(encoding.options),
        has_alpha,
        [image.crc32c for image in images],
    ]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()


def encode_segment(
    images: Sequence[FrameImage],
    store: SegmentStore,
    encoding: Encoding,
    *,
    has_alpha: bool,
    cancelled: Cancellation,
    on_frames: Callable[[int], None] = lambda frames: None,
    low_priority: bool = False,
) -> Segment:
    """Encode images, in this order, and store what comes of it as it comes; its frames are counted.

    A segment of the same images that is there is taken instead. has_alpha: whether the video has
    transparency, as far as that is known; it has if the first image does. on_frames is told the
    number of frames encoded so far.

    Raises VideoError for an image that is gone, damaged, another than was rendered, or of another
    size than the first, if ffmpeg fails or makes another number of frames, and when cancelled; and
    StorageError. Nothing is left then.
    """
    name = segment_name(images, encoding, has_alpha=has_alpha)
    found = store.find(name)
    is_same = found is not None and found.ffmpeg == encoding.version
    if found is not None and is_same and found.frames == len(images):
        on_frames(len(images))
        return Segment(tuple(images), found)
    writer = store.writer(name)
    try:
        stored = _encoded(
            images, writer, encoding, has_alpha, cancelled, on_frames, low_priority=low_priority
        )
        stored = replace(stored, name=name)
        store.commit(stored)
    except BaseException:
        writer.drop()
        raise
    return Segment(tuple(images), stored)


def _encoded(
    images: Sequence[FrameImage],
    writer: PartWriter,
    encoding: Encoding,
    has_alpha: bool,
    cancelled: Cancellation,
    on_frames: Callable[[int], None],
    *,
    low_priority: bool,
) -> StoredSegment:
    some_have_alpha = False
    size: tuple[int, int] | None = None

    def contents(checked: Iterator[tuple[FrameImage, bytes, ImageFacts]]) -> Iterator[bytes]:
        nonlocal some_have_alpha
        for image, data, facts in checked:
            check_size(image, (facts.width, facts.height), size)
            some_have_alpha = some_have_alpha or facts.has_alpha
            yield data

    fragments = FragmentReader() if is_fragmented(encoding.target) else None
    keeps_fragments = not has_index(encoding.target)
    counter = FrameCounter(encoding.ffprobe, cancelled, low_priority=low_priority)

    def take(piece: bytes) -> None:
        counter.add(piece)
        if fragments is not None:
            for data in fragments.feed(piece):
                if not keeps_fragments:
                    writer.add(data)
            on_frames(fragments.frames)
        if keeps_fragments:
            writer.add(piece)

    with closing(checked_images(images, encoding)) as checked, counter:
        first = next(checked)
        size = (first[2].width, first[2].height)
        with_alpha = has_alpha or first[2].has_alpha
        [command] = encoding_commands(
            encoding.target,
            fps=encoding.fps,
            has_alpha=with_alpha,
            size=size,
            program=encoding.ffmpeg,
            options=encoding.options,
        )
        ffmpeg_process.run(
            command,
            contents=contents(itertools.chain([first], checked)),
            on_data=take,
            cancelled=cancelled,
            low_priority=low_priority,
        )
        counted = counter.end()
    check_count(counted.frames, len(images), encoding.target)
    table = fragments.table() if fragments is not None else None
    if table is not None:
        check_count(len(table.sizes), len(images), encoding.target)
    on_frames(len(images))
    return StoredSegment(
        name="",
        frames=counted.frames,
        width=size[0],
        height=size[1],
        codec=counted.codec,
        has_alpha=with_alpha,
        some_have_alpha=some_have_alpha,
        ffmpeg=encoding.version,
        parts=writer.end(),
        table=table if not keeps_fragments else None,
    )


def checked_images(
    images: Sequence[FrameImage], encoding: Encoding
) -> Generator[tuple[FrameImage, bytes, ImageFacts], None, None]:
    """The images one after another, as PNGs, which are whole and as they were rendered.

    ffmpeg would take a truncated one. Raises VideoError, which names the frame.
    """

    def check(image: FrameImage) -> tuple[FrameImage, bytes, ImageFacts]:
        name = image.picture.name
        try:
            data = image.picture.read_bytes()
        except OSError as error:
            raise VideoError(
                f"frame {image.frame} is not a whole image ({name}: {error.strerror or error}); "
                "render it again"
            ) from error
        if image.crc32c and crc32c_of(data) != image.crc32c:
            raise VideoError(
                f"frame {image.frame} is not the image that was rendered ({name} has another "
                f"checksum): {encoding.remedy}"
            )
        try:
            facts = inspect_image(data)
            return image, developed(data, encoding.options.tone), facts
        except ValueError as error:
            raise VideoError(
                f"frame {image.frame} is not a whole image ({name}: {error}); render it again"
            ) from error

    yield from in_parallel(check, images, _READ_AHEAD)


def check_size(image: FrameImage, size: tuple[int, int], first: tuple[int, int] | None) -> None:
    """Raise VideoError for an image of another size than the video's first; ffmpeg would scale."""
    if first is not None and size != first:
        raise VideoError(
            f"frame {image.frame} is {size[0]}x{size[1]} pixels, the first {first[0]}x{first[1]}: "
            "render all frames of a video in one size"
        )


def check_count(found: int, frames: int, target: Path) -> None:
    """Raise VideoError unless so many frames were found in a video."""
    if found != frames:
        raise VideoError(f"{target.name} has {found} frames instead of {frames}: it is not kept")
