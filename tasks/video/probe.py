"""What ffprobe says of a video, its frames counted; encode.py and segments.py ask it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from povstorm_client.errors import VideoError
from tasks.video import ffmpeg_process
from tasks.video.ffmpeg_process import Cancellation


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


def probe(
    video: Path, program: str, cancelled: Cancellation, *, packets: bool = False
) -> VideoInfo:
    """What ffprobe (``program``) says of the video; fps is left to the caller.

    Its frames are counted by decoding them. packets: by its packets, which costs almost nothing
    and is as good where each is known to be one frame.

    Raises VideoError, if it says nothing that is to be understood too.
    """
    lines: list[str] = []
    ffmpeg_process.run(
        [
            *(program, "-v", "error", "-count_packets" if packets else "-count_frames"),
            *("-select_streams", "v:0", "-show_streams", "-show_format", "-of", "json", str(video)),
        ],
        on_line=lines.append,
        cancelled=cancelled,
    )
    return read_probe("\n".join(lines), video, "nb_read_packets" if packets else "nb_read_frames")


def read_probe(text: str, video: Path, count: str = "nb_read_frames") -> VideoInfo:
    """Ffprobe's JSON as a VideoInfo, its frames in the field ``count``.

    VideoError for what is not what it should say.
    """
    try:
        found = json.loads(text)
        stream, container = found["streams"][0], found["format"]
        info = VideoInfo(
            path=video,
            frames=int(stream[count]),
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
