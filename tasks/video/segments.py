"""Segments of a video: which frames each has, encoding one, and joining them without decoding.

Each segment is encoded for itself and refers to no other, so it can be made when, and wherever, its
frames are there; encode.py makes those that segments_ahead.py has not made while frames rendered.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from povstorm_client.errors import VideoError
from povstorm_client.storage.checksum import crc32c_of
from povstorm_client.storage.parallel import in_parallel
from render_image.image_check import PngFacts, inspect_png
from tasks.video import ffmpeg_process
from tasks.video.ffmpeg_process import Cancellation
from tasks.video.probe import VideoInfo, probe
from tasks.video.video_formats import encoding_commands, join_command

# Each segment begins with a picture that is as large as a dozen others: longer ones make smaller
# files, shorter ones leave less to do when the last frame is there. x264's own are 250 at most.
_MOST_FRAMES = 120
# So the last ones are shorter and shorter: each has this share of what is left, or all of a few.
_SHARE = Fraction(2, 3)
_FEW_FRAMES = 8
# Images that are read while another is encoded; a bucket takes its time for each.
_READ_AHEAD = 4
_MICROSECONDS = 10**6
# A line of ffmpeg's -progress.
FRAMES_TOLD = re.compile(r"frame=\s*([0-9]{1,15})\s*")


class Picture(Protocol):
    """A stored PNG; a Path is one."""

    @property
    def name(self) -> str:
        """Its name in messages."""

    def read_bytes(self) -> bytes:
        """Its content; raises OSError where it is gone."""


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
    that was rendered.
    """

    target: Path
    fps: Fraction
    remedy: str
    ffmpeg: str
    ffprobe: str


@dataclass(frozen=True)
class Segment:
    """An encoded segment.

    width, height: of its images, in pixels. has_alpha: whether it was encoded with transparency;
    some_have_alpha: whether any of its images has.
    """

    path: Path
    images: tuple[FrameImage, ...]
    width: int
    height: int
    has_alpha: bool
    some_have_alpha: bool


def plan_segments(frames: Sequence[int]) -> list[tuple[int, ...]]:
    """The frames of each segment of a video, both ascending.

    It depends on nothing but the frames that the video is meant to have: one that is missing
    leaves its segment shorter, and all others as they are.
    """
    segments = []
    begin = 0
    while begin < len(frames):
        left = len(frames) - begin
        share = -(-left * _SHARE.numerator // _SHARE.denominator)
        length = left if left <= _FEW_FRAMES else min(_MOST_FRAMES, share)
        segments.append(tuple(frames[begin : begin + length]))
        begin += length
    return segments


def encode_segment(
    images: Sequence[FrameImage],
    path: Path,
    encoding: Encoding,
    *,
    has_alpha: bool,
    cancelled: Cancellation,
    on_frames: Callable[[int], None] = lambda frames: None,
    low_priority: bool = False,
) -> Segment:
    """Encode images, in this order, into a file of their own, and count its frames.

    has_alpha: whether the video has transparency, as far as that is known; it has if the first
    image does. on_frames is told the number of frames encoded so far.

    Raises VideoError for an image that is gone, damaged, another than was rendered, or of another
    size than the first, if ffmpeg fails or makes another number of frames, and when cancelled. No
    file is left then.
    """
    some_have_alpha = False
    size: tuple[int, int] | None = None

    def contents(checked: Iterator[tuple[FrameImage, bytes, PngFacts]]) -> Iterator[bytes]:
        nonlocal some_have_alpha, size
        for image, data, facts in checked:
            found = (facts.width, facts.height)
            size = size or found
            check_size(image, found, size)
            some_have_alpha = some_have_alpha or facts.has_alpha
            yield data

    def on_line(line: str) -> None:
        if told := FRAMES_TOLD.fullmatch(line):
            on_frames(int(told[1]))

    try:
        with closing(checked_images(images, encoding.remedy)) as checked:
            first = next(checked)
            encoded_with_alpha = has_alpha or first[2].has_alpha
            [command] = encoding_commands(
                path, fps=encoding.fps, has_alpha=encoded_with_alpha, program=encoding.ffmpeg
            )
            ffmpeg_process.run(
                command,
                contents=contents(itertools.chain([first], checked)),
                on_line=on_line,
                cancelled=cancelled,
                low_priority=low_priority,
            )
        info = probe(path, encoding.ffprobe, cancelled)
        check_count(info, len(images), encoding.target)
        # The join is counted by its packets.
        check_count(probe(path, encoding.ffprobe, cancelled, packets=True), len(images), path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    assert size is not None  # noqa: S101 - for the type checker
    return Segment(path, tuple(images), *size, encoded_with_alpha, some_have_alpha)


def join_segments(
    segments: Sequence[Segment],
    target: Path,
    encoding: Encoding,
    *,
    cancelled: Cancellation,
) -> VideoInfo:
    """Join segments, in this order, which lie in the target's folder; its frames are counted.

    Raises VideoError if ffmpeg fails or the video has another number of frames.
    """
    frames = 0
    lines = ["ffconcat version 1.0"]
    for segment in segments:
        begin = _microseconds(frames, encoding.fps)
        frames += len(segment.images)
        seconds = Fraction(_microseconds(frames, encoding.fps) - begin, _MICROSECONDS)
        # Told, so that rounding does not add up: what the file says is rounded too.
        lines += [f"file {segment.path.name}", f"duration {float(seconds):.6f}"]
    joined = target.with_name("segments.ffconcat")
    joined.write_bytes(os.fsencode("\n".join(lines) + "\n"))
    ffmpeg_process.run(
        join_command(joined, target, fps=encoding.fps, program=encoding.ffmpeg),
        on_line=lambda line: None,
        cancelled=cancelled,
    )
    info = probe(target, encoding.ffprobe, cancelled, packets=True)
    check_count(info, frames, encoding.target)
    return info


def checked_images(
    images: Sequence[FrameImage], remedy: str
) -> Generator[tuple[FrameImage, bytes, PngFacts], None, None]:
    """The images one after another, with their contents, which are whole and as they were rendered.

    ffmpeg would take a truncated one. Raises VideoError, which names the frame.
    """

    def check(image: FrameImage) -> tuple[FrameImage, bytes, PngFacts]:
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
                f"checksum): {remedy}"
            )
        try:
            return image, data, inspect_png(data)
        except ValueError as error:
            raise VideoError(
                f"frame {image.frame} is not a whole image ({name}: {error}); render it again"
            ) from error

    yield from in_parallel(check, images, _READ_AHEAD)


def check_size(image: FrameImage, size: tuple[int, int], first: tuple[int, int]) -> None:
    """Raise VideoError for an image of another size than the video's first; ffmpeg would scale."""
    if size != first:
        raise VideoError(
            f"frame {image.frame} is {size[0]}x{size[1]} pixels, the first {first[0]}x{first[1]}: "
            "render all frames of a video in one size"
        )


def check_count(info: VideoInfo, frames: int, target: Path) -> None:
    """Raise VideoError unless the video has so many frames."""
    if info.frames != frames:
        raise VideoError(
            f"{target.name} has {info.frames} frames instead of {frames}: it is not kept"
        )


def _microseconds(frames: int, fps: Fraction) -> int:
    """When the frame after so many begins; microseconds are what ffmpeg adds segments up in."""
    return round(frames * _MICROSECONDS / fps)
