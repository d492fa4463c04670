"""Encode frames into a video with ffmpeg; called by the stitch_video task.

ffmpeg takes fewer frames than it should without an error (a gap, a truncated image), so it is
given the very bytes of verified frames, in order, and the finished video's frames are counted.
"""

from __future__ import annotations

import itertools
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import ffmpeg

from povstorm_client.errors import InputError, VideoError
from povstorm_client.frame_ranges import frame_ranges
from povstorm_client.tools import die_with_parent, require_ffmpeg

_EVEN = "pad=ceil(iw/2)*2:ceil(ih/2)*2"
# Output options and filter graph by file ending. H.264 and VP9 with 4:2:0 chroma, which every
# player shows, need even sides; H.264's faststart lets a browser begin before it has the file.
_H264 = {"vcodec": "libx264", "crf": 18, "preset": "medium", "pix_fmt": "yuv420p"}
_ENCODINGS: dict[str, tuple[dict[str, Any], str]] = {
    ".mp4": ({**_H264, "movflags": "+faststart"}, _EVEN),
    ".mkv": (_H264, _EVEN),
    ".webm": (
        {"vcodec": "libvpx-vp9", "crf": 24, "b:v": 0, "row-mt": 1, "pix_fmt": "yuv420p"},
        _EVEN,
    ),
    ".mov": ({"vcodec": "prores_ks", "profile:v": 3, "pix_fmt": "yuv422p10le"}, _EVEN),
    ".gif": ({"loop": 0}, "split[a][b];[a]palettegen=stats_mode=diff[p];[b][p]paletteuse"),
}
# A GIF's delays are whole hundredths of a second, and viewers slow down what is under two.
_GIF_FASTEST = 50
_STDERR_LINES = 8


@dataclass(frozen=True)
class VideoInfo:
    """A finished video, as ffprobe sees it; seconds is its duration, bytes its size."""

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
    fps: Fraction,
    expected_frames: Sequence[int],
    allow_missing_frames: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    cancelled: threading.Event | None = None,
) -> VideoInfo:
    """Encode images (frame number, PNG) in numeric order into ``target``, by its file ending.

    on_progress is told the frames encoded and their total. Setting ``cancelled`` ends it early.

    Raises InputError for an unknown ending, ToolError without ffmpeg, VideoError for frames that
    are missing, doubled, unreadable or of another size, when ffmpeg fails, is cancelled, or made
    another number of frames. The target is complete or absent.
    """
    if target.suffix not in _ENCODINGS:
        raise InputError(
            f"video {target.name} has an unknown ending: use one of {', '.join(_ENCODINGS)}"
        )
    if target.suffix == ".gif" and fps > _GIF_FASTEST:
        raise InputError(f"a gif has at most {_GIF_FASTEST} frames a second, not {fps}: lower fps")
    ffmpeg_path, ffprobe_path = require_ffmpeg()
    ordered = _check_frames(images, expected_frames, allow_missing_frames)
    _check_images(ordered)
    with tempfile.TemporaryDirectory(prefix=".video-", dir=target.parent) as folder:
        partial = Path(folder) / target.name
        _run_ffmpeg(
            _command(partial, fps, ffmpeg_path),
            [path for _, path in ordered],
            on_progress or (lambda done, total: None),
            cancelled or threading.Event(),
        )
        info = _probe(partial, ffprobe_path)
        if info.frames != len(ordered):
            raise VideoError(
                f"the video has {info.frames} frames instead of {len(ordered)}: it is not kept"
            )
        partial.replace(target)
    return VideoInfo(
        target, info.frames, info.width, info.height, fps, info.codec, info.seconds, info.bytes
    )


def _check_frames(
    images: Sequence[tuple[int, Path]], expected: Sequence[int], allow_missing: bool
) -> list[tuple[int, Path]]:
    ordered = sorted(images)
    numbers = [frame for frame, _ in ordered]
    doubled = {frame for frame, other in itertools.pairwise(numbers) if frame == other}
    if doubled:
        raise VideoError(f"frames are there twice: {frame_ranges(doubled)}")
    missing = set(expected) - set(numbers)
    if missing and not allow_missing:
        raise VideoError(
            f"frames are missing: {frame_ranges(missing)}; render them, or allow missing frames"
        )
    if not ordered:
        raise VideoError("there are no frames to make a video of")
    return ordered


def _check_images(ordered: list[tuple[int, Path]]) -> None:
    """Decode every image: ffmpeg would take a truncated one, and scale one of another size."""
    from PIL import Image

    first: tuple[int, int] | None = None
    for frame, path in ordered:
        try:
            with Image.open(path) as image:
                image.load()
                size = image.size
        except (OSError, SyntaxError, ValueError) as error:
            raise VideoError(
                f"frame {frame} is not a whole image ({path.name}: {error})"
            ) from error
        first = first or size
        if size != first:
            raise VideoError(
                f"frame {frame} is {size[0]}x{size[1]} pixels, the first {first[0]}x{first[1]}"
            )


def _command(target: Path, fps: Fraction, program: str) -> list[str]:
    options, graph = _ENCODINGS[target.suffix]
    output = ffmpeg.input(
        "pipe:0", f="image2pipe", vcodec="png", framerate=str(fps), err_detect="explode"
    ).output(str(target), vf=graph, fps_mode="passthrough", **options)
    command: list[str] = (
        output.global_args("-hide_banner", "-nostats", "-loglevel", "error", "-xerror")
        .global_args("-progress", "pipe:1")
        .overwrite_output()
        .compile(cmd=program)
    )
    return command


def _run_ffmpeg(
    command: list[str],
    images: list[Path],
    on_progress: Callable[[int, int], None],
    cancelled: threading.Event,
) -> None:
    with tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            [*die_with_parent(), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
        if process.stdin is None or process.stdout is None:  # Popen opens both, being asked to
            raise VideoError("ffmpeg was started without pipes")
        feeder = threading.Thread(target=_feed, args=(images, process.stdin))
        feeder.start()
        try:
            for line in process.stdout:
                if cancelled.is_set():
                    raise VideoError("encoding the video was cancelled")
                if line.startswith(b"frame="):
                    on_progress(int(line.removeprefix(b"frame=")), len(images))
            process.wait()
        finally:
            process.kill()  # does nothing to a process that has ended
            process.wait()
            process.stdout.close()
            feeder.join()
        if process.returncode != 0:
            stderr.seek(0)
            words = stderr.read().decode(errors="replace").splitlines()[-_STDERR_LINES:]
            raise VideoError(f"ffmpeg failed ({process.returncode}): " + "\n".join(words))


def _feed(images: list[Path], pipe: IO[bytes]) -> None:
    """Write the images' bytes into ffmpeg, which ends by itself once the pipe is closed."""
    try:
        with pipe:
            for image in images:
                pipe.write(image.read_bytes())
    except BrokenPipeError:
        # ffmpeg is gone; its exit code and its words say why.
        return


def _probe(video: Path, program: str) -> VideoInfo:
    try:
        found = ffmpeg.probe(str(video), cmd=program, count_frames=None, select_streams="v:0")
    except ffmpeg.Error as error:
        words = (error.stderr or b"").decode(errors="replace").strip()
        raise VideoError(f"ffprobe cannot read the video: {words}") from error
    stream = found["streams"][0]
    return VideoInfo(
        path=video,
        frames=int(stream["nb_read_frames"]),
        width=stream["width"],
        height=stream["height"],
        fps=Fraction(stream["avg_frame_rate"]),
        codec=stream["codec_name"],
        seconds=float(found["format"]["duration"]),
        bytes=int(found["format"]["size"]),
    )
