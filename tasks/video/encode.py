"""Encode frames into a video with ffmpeg; tasks/steps/video_step.py calls it.

ffmpeg takes fewer frames than it should without an error (a gap, a truncated image), so it is
given the very bytes of verified frames, in order, and the finished video's frames are counted.
"""

from __future__ import annotations

import itertools
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from fractions import Fraction
from pathlib import Path

from povstorm_client.errors import StorageError, VideoError
from povstorm_client.frames.job_settings import check_video
from povstorm_client.frames.ranges import frame_ranges
from povstorm_client.frames.video_options import VideoOptions
from povstorm_client.programs.cores import cores
from povstorm_client.programs.memory import available_memory
from povstorm_client.storage.disk_full import is_disk_full, temporary_words
from render_image.video.ffmpeg_process import Cancellation
from render_image.video.mp4_index import is_joinable
from render_image.video.segments import (
    Encoding,
    FrameImage,
    Picture,
    Segment,
    check_size,
    checked_images,
    encode_segment,
    most_frames,
    plan_segments,
)
from render_image.video.stored_segments import SegmentStore
from render_image.video.video_formats import cost_of, encoding_commands, is_joined
from tasks.stored.last_writes import store_last
from tasks.video.join import VideoInfo, join_segments, one_pass

_POLL_SECONDS = 0.1
# How often a video is joined anew because segments were deleted meanwhile.
_JOINS = 4

# Segments that were encoded before, or are being: by their images.
ReadySegments = Mapping[tuple[FrameImage, ...], Future[Segment]]


def encode_video(
    images: Sequence[tuple[int, Picture]],
    store: SegmentStore,
    key: str,
    *,
    fps: Fraction,
    options: VideoOptions | None = None,
    expected_frames: Sequence[int],
    allow_missing_frames: bool = False,
    checksums: Mapping[int, str] | None = None,
    remedy: str = "render it again",
    on_progress: Callable[[int, int], None] | None = None,
    cancelled: threading.Event | None = None,
    ready: ReadySegments | None = None,
) -> VideoInfo:
    """Encode images (frame number, image) in numeric order into the object ``key``, by its ending.

    store: where its segments are kept, in the same storage; empty when the video is there.
    fps: frames a second, as JobSettings.frames_per_second.
    options: codec and quality, the format's own choice if None.
    checksums: frame → crc32c of its image, of those that are to be compared; remedy: what the error
    for another image advises.
    on_progress is told the frames encoded and their total. Setting ``cancelled`` ends it early.
    ready: segments of these images that need not be encoded again. The video has the same bytes
    with them and without.

    Raises InputError for an unknown ending, or more frames a second than it can have, ToolError
    without ffmpeg or its encoder, and VideoError for frames that are missing, doubled,
    unreadable or of another size, when ffmpeg fails, is cancelled, or made another number of
    frames; StorageError. The object is complete, or as it was; segments that were encoded stay for
    the next try.
    """
    target = Path(Path(key).name)
    ending = target.suffix.lower().removeprefix(".")
    check_video(ending, fps)
    options = options or VideoOptions()
    options.check(ending)
    encoding = Encoding.of(target, fps, remedy, options)
    ordered = _in_order(images, checksums or {}, expected_frames, allow_missing_frames)
    progress = _Progress(len(ordered), on_progress)
    stop = _Stop(cancelled)
    try:
        if is_joined(target):
            expected = sorted({*expected_frames, *(image.frame for image in ordered)})
            [(_, _, facts)] = checked_images(ordered[:1], encoding)
            pixels = facts.width * facts.height
            plan = plan_segments(expected, most_frames(pixels, encoding))
            info = _in_segments(
                ordered, plan, pixels, store, key, encoding, progress, stop, ready or {}
            )
        else:
            info = _in_one_pass(ordered, store, key, encoding, progress, stop)
    except OSError as error:
        if is_disk_full(error):
            words = temporary_words()
            raise VideoError(f"the video {target} cannot be made: {words}") from error
        raise
    store.clear()
    return info


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
    store: SegmentStore,
    key: str,
    encoding: Encoding,
    progress: _Progress,
    cancelled: Cancellation,
) -> VideoInfo:
    """All frames by one ffmpeg after another, streamed."""
    some_have_alpha = False
    first: tuple[int, int] | None = None
    for image, _, facts in checked_images(ordered, encoding):
        if cancelled.is_set():
            raise VideoError("encoding the video was cancelled")
        first = first or (facts.width, facts.height)
        check_size(image, (facts.width, facts.height), first)
        some_have_alpha = some_have_alpha or facts.has_alpha
    assert first is not None  # noqa: S101 - for the type checker

    def contents() -> Iterator[bytes]:
        for number, (_, data, _) in enumerate(checked_images(ordered, encoding), start=1):
            yield data
            progress.encoded(ordered[0], number)

    with tempfile.TemporaryDirectory(prefix="povstorm-video-") as name:
        commands = encoding_commands(
            Path(encoding.target.name),
            fps=encoding.fps,
            has_alpha=some_have_alpha,
            size=first,
            program=encoding.ffmpeg,
        )
        return one_pass(
            commands, contents, store, key, encoding, folder=Path(name), cancelled=cancelled
        )


def _in_segments(
    ordered: list[FrameImage],
    plan: list[tuple[int, ...]],
    pixels: int,
    store: SegmentStore,
    key: str,
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
        return store_last(
            lambda: encode_segment(
                images,
                store,
                encoding,
                has_alpha=has_alpha,
                cancelled=stop,
                on_frames=lambda frames: progress.encoded(images[0], frames),
            )
        )

    def with_alpha(segment: Segment) -> Segment:
        if segment.stored.has_alpha:
            return segment
        return encoded(segment.images, has_alpha=True)

    with ThreadPoolExecutor(_at_once(pixels, encoding), "povstorm-video") as pool:
        try:
            begun = {
                images: pool.submit(encoded, images) for images in groups if images not in ready
            }
            segments = []
            for images in groups:
                segment = None if images in begun else _taken(ready[images], stop)
                if segment is not None:
                    progress.encoded(images[0], len(images))
                elif images in begun:
                    segment = begun[images].result()
                else:
                    segment = encoded(images)
                segments.append(segment)
            first = segments[0].stored
            for segment in segments:
                size = (segment.stored.width, segment.stored.height)
                check_size(segment.images[0], size, (first.width, first.height))
            if any(segment.stored.some_have_alpha for segment in segments):
                # One transparent frame makes a video with transparency, all of it.
                segments = list(pool.map(with_alpha, segments))
        except BaseException:
            stop.end()
            pool.shutdown(cancel_futures=True)
            raise
    tables = (segment.stored.table for segment in segments)
    if not is_joinable(table for table in tables if table is not None):
        # By several versions of ffmpeg: all of this one then.
        segments = [
            segment
            if segment.stored.ffmpeg == encoding.version
            else encoded(segment.images, has_alpha=segment.stored.has_alpha)
            for segment in segments
        ]
    for tries_left in reversed(range(_JOINS)):
        stored = [segment.stored for segment in segments]
        try:
            return join_segments(stored, store, key, encoding, cancelled=stop)
        except StorageError:
            gone = {name for name in (each.name for each in stored) if store.find(name) is None}
            if not gone or not tries_left:
                raise
            # Another run of the job has made its video meanwhile, and emptied the store.
            segments = [
                encoded(segment.images, has_alpha=segment.stored.has_alpha)
                if segment.stored.name in gone
                else segment
                for segment in segments
            ]
    raise AssertionError("the last try returns or raises")


def _taken(ready: Future[Segment], stop: _Stop) -> Segment | None:
    """A segment that was encoded before; None if that failed."""
    while not stop.is_set():
        try:
            return ready.result(_POLL_SECONDS)
        except NotYet:
            continue
        except Exception:
            # Encoded again, it may not fail; or its error is told.
            return None
    raise VideoError("encoding the video was cancelled")


def _at_once(pixels: int, encoding: Encoding) -> int:
    """How many segments are encoded at once: one a core, if there is memory for them."""
    needed = pixels * cost_of(encoding.ending, encoding.options)[0]
    return max(1, min(int(cores()), available_memory() // 2 // needed))
