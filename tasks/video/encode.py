"""Encode frames into a video with ffmpeg; called by the stitch_video task.

ffmpeg takes fewer frames than it should without an error (a gap, a truncated image), so it is
given the very bytes of verified frames, in order, and the finished video's frames are counted.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from povstorm_client.errors import InputError, VideoError
from povstorm_client.frames.ranges import frame_ranges
from povstorm_client.programs.tools import require_ffmpeg
from povstorm_client.storage.disk_full import is_disk_full, is_full, temporary_words
from render_image.machine import available_memory, cores
from tasks.video import ffmpeg_process
from tasks.video.ffmpeg_process import Cancellation
from tasks.video.probe import VideoInfo, probe
from tasks.video.segments import (
    FRAMES_TOLD,
    Encoding,
    FrameImage,
    Picture,
    Segment,
    check_count,
    check_size,
    checked_images,
    encode_segment,
    join_segments,
    plan_segments,
)
from tasks.video.video_formats import check_format, encoding_commands, is_joined, segment_ending

# What an encoder of one thread needs beside a few megabytes, bytes for each pixel of a frame
# (measured: libx264 at 1080p and 4K; libvpx-vp9 and prores_ks need less).
_BYTES_PER_PIXEL = 130
_POLL_SECONDS = 0.1

# Segments that were encoded before, or are being: by their images.
ReadySegments = Mapping[tuple[FrameImage, ...], Future[Segment]]


def encode_video(
    images: Sequence[tuple[int, Picture]],
    target: Path,
    *,
    fps: Fraction | float,
    expected_frames: Sequence[int],
    allow_missing_frames: bool = False,
    checksums: Mapping[int, str] | None = None,
    remedy: str = "render it again",
    on_progress: Callable[[int, int], None] | None = None,
    cancelled: threading.Event | None = None,
    ready: ReadySegments | None = None,
) -> VideoInfo:
    """Encode images (frame number, PNG) in numeric order into ``target``, by its file ending.

    fps: frames a second; a float is taken as the decimal that it prints as (23.976 is 2997/125).
    checksums: frame → crc32c of its image, of those that are to be compared; remedy: what the error
    for another image advises.
    on_progress is told the frames encoded and their total. Setting ``cancelled`` ends it early.
    ready: segments of these images that need not be encoded again. The video has the same bytes
    with them and without.

    Raises InputError for an unknown ending or an impossible fps, ToolError without ffmpeg, and
    VideoError for frames that are missing, doubled, unreadable or of another size, when ffmpeg
    fails, is cancelled, or made another number of frames, and when ``target`` cannot be written.
    The target is complete or absent.
    """
    rate = exact_fps(fps)
    check_format(target, rate)
    encoding = Encoding(target, rate, remedy, *require_ffmpeg())
    ordered = _in_order(images, checksums or {}, expected_frames, allow_missing_frames)
    progress = _Progress(len(ordered), on_progress)
    stop = _Stop(cancelled)
    with _complete_or_absent(target) as partial:
        if is_joined(target):
            expected = sorted({*expected_frames, *(image.frame for image in ordered)})
            info = _in_segments(
                ordered, plan_segments(expected), partial, encoding, progress, stop, ready or {}
            )
        else:
            info = _in_one_pass(ordered, partial, encoding, progress, stop)
    return replace(info, path=target, fps=rate)


def exact_fps(fps: Fraction | float) -> Fraction:
    """Frames a second as an exact number; InputError for what is none."""
    try:
        rate = Fraction(str(fps))
    except ValueError as error:
        raise InputError(f"fps {fps!r} is no number: give 24, 23.976 or 24000/1001") from error
    if rate <= 0:
        raise InputError(f"fps is {fps}: frames a second are above 0")
    return rate


def _in_order(
    images: Sequence[tuple[int, Picture]],
    checksums: Mapping[int, str],
    expected: Sequence[int],
    allow_missing: bool,
) -> list[FrameImage]:
    ordered = sorted(images, key=lambda pair: pair[0])
    numbers = [frame for frame, _ in ordered]
    doubled = {frame for frame, other in itertools.pairwise(numbers) if frame == other}
    if doubled:
        raise VideoError(f"frames are there twice: {frame_ranges(doubled)}; give each one once")
    missing = set(expected) - set(numbers)
    if missing and not allow_missing:
        raise VideoError(
            f"frames are missing: {frame_ranges(missing)}; render them, or allow missing frames"
        )
    if not ordered:
        raise VideoError("there are no frames to make a video of: render some first")
    return [FrameImage(frame, picture, checksums.get(frame, "")) for frame, picture in ordered]


class _Stop:
    """Whether encoding is to end: the caller said so, or a part of it failed."""

    def __init__(self, cancelled: threading.Event | None) -> None:
        self._cancelled = cancelled or threading.Event()
        self._ended = threading.Event()

    def end(self) -> None:
        self._ended.set()

    def is_set(self) -> bool:
        return self._cancelled.is_set() or self._ended.is_set()


class _Progress:
    """The frames encoded so far, in all segments."""

    def __init__(self, total: int, tell: Callable[[int, int], None] | None) -> None:
        self._total = total
        self._tell = tell
        self._encoded: dict[FrameImage, int] = {}
        self._told = threading.Lock()

    def encoded(self, first: FrameImage, frames: int) -> None:
        """The segment that begins with ``first`` has so many; never less than before is told."""
        with self._told:
            self._encoded[first] = max(frames, self._encoded.get(first, 0))
            if self._tell is not None:
                self._tell(sum(self._encoded.values()), self._total)


def _in_one_pass(
    ordered: list[FrameImage],
    partial: Path,
    encoding: Encoding,
    progress: _Progress,
    cancelled: Cancellation,
) -> VideoInfo:
    """All frames by one ffmpeg after another."""
    some_have_alpha = False
    first: tuple[int, int] | None = None
    for image, _, facts in checked_images(ordered, encoding.remedy):
        if cancelled.is_set():
            raise VideoError("encoding the video was cancelled")
        first = first or (facts.width, facts.height)
        check_size(image, (facts.width, facts.height), first)
        some_have_alpha = some_have_alpha or facts.has_alpha

    def on_line(line: str) -> None:
        if told := FRAMES_TOLD.fullmatch(line):
            progress.encoded(ordered[0], int(told[1]))

    *passes, last = encoding_commands(
        partial, fps=encoding.fps, has_alpha=some_have_alpha, program=encoding.ffmpeg
    )
    for command in (*passes, last):
        ffmpeg_process.run(
            command,
            contents=(data for _, data, _ in checked_images(ordered, encoding.remedy)),
            on_line=on_line if command is last else lambda line: None,
            cancelled=cancelled,
        )
    info = probe(partial, encoding.ffprobe, cancelled)
    check_count(info, len(ordered), encoding.target)
    return info


def _in_segments(
    ordered: list[FrameImage],
    plan: list[tuple[int, ...]],
    partial: Path,
    encoding: Encoding,
    progress: _Progress,
    stop: _Stop,
    ready: ReadySegments,
) -> VideoInfo:
    """Segments that are not ready, side by side; then all of them joined."""
    by_frame = {image.frame: image for image in ordered}
    found = (tuple(by_frame[each] for each in frames if each in by_frame) for frames in plan)
    groups = [images for images in found if images]

    def encoded(images: tuple[FrameImage, ...], *, has_alpha: bool = False) -> Segment:
        return encode_segment(
            images,
            partial.with_name(f"{images[0].frame}{segment_ending(partial)}"),
            encoding,
            has_alpha=has_alpha,
            cancelled=stop,
            on_frames=lambda frames: progress.encoded(images[0], frames),
        )

    def with_alpha(segment: Segment) -> Segment:
        return segment if segment.has_alpha else encoded(segment.images, has_alpha=True)

    with ThreadPoolExecutor(_at_once(ordered[0], encoding), "povstorm-video") as pool:
        try:
            begun = {
                images: pool.submit(encoded, images) for images in groups if images not in ready
            }
            segments = []
            for images in groups:
                segment = None if images in begun else _taken(ready[images], partial, stop)
                if segment is not None:
                    progress.encoded(images[0], len(images))
                elif images in begun:
                    segment = begun[images].result()
                else:
                    segment = encoded(images)
                segments.append(segment)
            first = segments[0]
            for segment in segments:
                size = (segment.width, segment.height)
                check_size(segment.images[0], size, (first.width, first.height))
            if any(segment.some_have_alpha for segment in segments):
                # One transparent frame makes a video with transparency, all of it.
                segments = list(pool.map(with_alpha, segments))
        except BaseException:
            stop.end()
            pool.shutdown(cancel_futures=True)
            raise
    return join_segments(segments, partial, encoding, cancelled=stop)


def _taken(ready: Future[Segment], partial: Path, stop: _Stop) -> Segment | None:
    """A segment that was encoded before, now beside ``partial``; None if that failed."""
    while not stop.is_set():
        try:
            segment = ready.result(_POLL_SECONDS)
        except NotYet:
            continue
        except Exception:
            # Encoded again, it may not fail; or its error is told.
            return None
        path = partial.with_name(f"{segment.images[0].frame}{segment.path.suffix}")
        shutil.move(segment.path, path)
        return replace(segment, path=path)
    raise VideoError("encoding the video was cancelled")


def _at_once(image: FrameImage, encoding: Encoding) -> int:
    """How many segments are encoded at once: one a core, if there is memory for them."""
    [(_, _, facts)] = checked_images([image], encoding.remedy)
    needed = facts.width * facts.height * _BYTES_PER_PIXEL
    return max(1, min(int(cores()), available_memory() // 2 // needed))


@contextmanager
def _complete_or_absent(target: Path) -> Iterator[Path]:
    """A new file that becomes the target if the block ends well, and is removed if not."""
    try:
        beside = tempfile.TemporaryDirectory(prefix=".video-", dir=target.parent)
    except OSError as error:
        if is_disk_full(error):
            words = temporary_words(target.parent)
            raise VideoError(f"the video {target.name} cannot be written: {words}") from error
        raise _unwritable(target, error) from error
    with beside as folder:
        # Absolute and plain, so that ffmpeg takes no part of it for an option or a protocol.
        partial = (Path(folder) / f"video{target.suffix.lower()}").absolute()
        try:
            yield partial
        except (VideoError, OSError) as error:
            # Of which ffmpeg says this or that, and exits with 0 sometimes.
            if is_disk_full(error) or is_full(Path(folder)):
                words = temporary_words(target.parent)
                raise VideoError(f"the video {target.name} cannot be written: {words}") from error
            raise
        try:
            partial.replace(target)
        except OSError as error:
            raise _unwritable(target, error) from error


def _unwritable(target: Path, error: OSError) -> VideoError:
    return VideoError(
        f"the video {target} cannot be written ({error.strerror or error}): "
        "check that its folder exists and is writable, and that no folder has its name"
    )
