"""Encode frames into a video with ffmpeg; called by the stitch_video task.

ffmpeg takes fewer frames than it should without an error (a gap, a truncated image), so it is
given the very bytes of verified frames, in order, and the finished video's frames are counted.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from povstorm_client.errors import InputError, VideoError
from povstorm_client.frames.ranges import frame_ranges
from povstorm_client.programs.tools import require_ffmpeg
from povstorm_client.storage.checksum import crc32c, crc32c_of
from povstorm_client.storage.disk_full import is_disk_full, is_full, temporary_words
from render_image.image_check import inspect_png
from tasks.video import ffmpeg_process
from tasks.video.video_formats import check_format, encoding_commands

_FRAMES_TOLD = re.compile(r"frame=\s*([0-9]{1,15})\s*")


@dataclass(frozen=True)
class VideoInfo:
    """A finished video as ffprobe sees it: its size in pixels, duration in seconds, and bytes.

    fps is what was asked for; a GIF keeps it on average, in delays of whole hundredths of a second.
    """

    path: Path
    frames: int
    width: int
    height: int
    fps: Fraction
    codec: str
    seconds: float
    bytes: int


def encode_video(
    images: Sequence[tuple[int, Path]],
    target: Path,
    *,
    fps: Fraction | float,
    expected_frames: Sequence[int],
    allow_missing_frames: bool = False,
    checksums: Mapping[int, str] | None = None,
    remedy: str = "render it again",
    on_progress: Callable[[int, int], None] | None = None,
    cancelled: threading.Event | None = None,
) -> VideoInfo:
    """Encode images (frame number, PNG) in numeric order into ``target``, by its file ending.

    fps: frames a second; a float is taken as the decimal that it prints as (23.976 is 2997/125).
    checksums: frame → crc32c of its image, of those that are to be compared; remedy: what the error
    for another image advises.
    on_progress is told the frames encoded and their total. Setting ``cancelled`` ends it early.

    Raises InputError for an unknown ending or an impossible fps, ToolError without ffmpeg, and
    VideoError for frames that are missing, doubled, unreadable or of another size, when ffmpeg
    fails, is cancelled, or made another number of frames, and when ``target`` cannot be written.
    The target is complete or absent.
    """
    rate = _exact(fps)
    check_format(target, rate)
    ffmpeg_path, ffprobe_path = require_ffmpeg()
    cancelled = cancelled or threading.Event()
    checksums = checksums or {}
    ordered = _in_order(images, expected_frames, allow_missing_frames)
    has_alpha = _check_images(ordered, checksums, remedy, cancelled)

    def on_line(line: str) -> None:
        if on_progress and (told := _FRAMES_TOLD.fullmatch(line)):
            on_progress(int(told[1]), len(ordered))

    with _complete_or_absent(target) as partial:
        *passes, encoding = encoding_commands(
            partial, fps=rate, has_alpha=has_alpha, program=ffmpeg_path
        )
        for command in passes:
            ffmpeg_process.run(
                command,
                contents=_contents(ordered, checksums, remedy),
                on_line=lambda line: None,
                cancelled=cancelled,
            )
        ffmpeg_process.run(
            encoding,
            contents=_contents(ordered, checksums, remedy),
            on_line=on_line,
            cancelled=cancelled,
        )
        info = _probe(partial, ffprobe_path, cancelled)
        if info.frames != len(ordered):
            raise VideoError(
                f"{target.name} has {info.frames} frames instead of {len(ordered)}: it is not kept"
            )
    return replace(info, path=target, fps=rate)


def _exact(fps: Fraction | float) -> Fraction:
    try:
        rate = Fraction(str(fps))
    except ValueError as error:
        raise InputError(f"fps {fps!r} is no number: give 24, 23.976 or 24000/1001") from error
    if rate <= 0:
        raise InputError(f"fps is {fps}: frames a second are above 0")
    return rate


def _in_order(
    images: Sequence[tuple[int, Path]], expected: Sequence[int], allow_missing: bool
) -> list[tuple[int, Path]]:
    ordered = sorted(images)
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
    return ordered


def _check_images(
    ordered: list[tuple[int, Path]],
    checksums: Mapping[int, str],
    remedy: str,
    cancelled: threading.Event,
) -> bool:
    """Whether any frame has alpha; VideoError unless all are the PNGs of one size that were made.

    ffmpeg would take a truncated image, and scale one of another size.
    """
    first: tuple[int, int] | None = None
    some_have_alpha = False
    for frame, path in ordered:
        if cancelled.is_set():
            raise VideoError("encoding the video was cancelled")
        if frame in checksums and path.is_file() and crc32c(path) != checksums[frame]:
            raise _not_rendered(frame, path, remedy)
        try:
            facts = inspect_png(path)
        except ValueError as error:
            raise VideoError(
                f"frame {frame} is not a whole image ({path.name}: {error}); render it again"
            ) from error
        size = (facts.width, facts.height)
        first = first or size
        if size != first:
            raise VideoError(
                f"frame {frame} is {size[0]}x{size[1]} pixels, the first {first[0]}x{first[1]}: "
                "render all frames of a video in one size"
            )
        some_have_alpha = some_have_alpha or facts.has_alpha
    return some_have_alpha


def _contents(
    ordered: list[tuple[int, Path]], checksums: Mapping[int, str], remedy: str
) -> Iterator[bytes]:
    for frame, path in ordered:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise VideoError(f"frame {frame} is gone ({error}); render it again") from error
        if frame in checksums and crc32c_of(data) != checksums[frame]:
            raise _not_rendered(frame, path, remedy)
        yield data


def _not_rendered(frame: int, path: Path, remedy: str) -> VideoError:
    return VideoError(
        f"frame {frame} is not the image that was rendered ({path.name} has another checksum): "
        f"{remedy}"
    )


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


def _probe(video: Path, program: str, cancelled: threading.Event) -> VideoInfo:
    """What ffprobe says of the video, with its frames counted; fps is left to the caller."""
    lines: list[str] = []
    ffmpeg_process.run(
        [
            *(program, "-v", "error", "-count_frames", "-select_streams", "v:0"),
            *("-show_streams", "-show_format", "-of", "json", str(video)),
        ],
        on_line=lines.append,
        cancelled=cancelled,
    )
    return _read_probe("\n".join(lines), video)


def _read_probe(text: str, video: Path) -> VideoInfo:
    """Ffprobe's JSON as a VideoInfo; VideoError for what is not what it should say."""
    try:
        found = json.loads(text)
        stream, container = found["streams"][0], found["format"]
        info = VideoInfo(
            path=video,
            frames=int(stream["nb_read_frames"]),
            width=int(stream["width"]),
            height=int(stream["height"]),
            fps=Fraction(0),
            codec=str(stream["codec_name"]),
            seconds=float(container["duration"]),
            bytes=int(container["size"]),
        )
        if not math.isfinite(info.seconds):
            raise ValueError(f"a duration of {info.seconds}")
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        raise VideoError(
            f"ffprobe does not tell what is in the video ({error!r}): it is not kept; reinstall "
            "ffmpeg, and look whether ffprobe is of the same version"
        ) from error
    return info
