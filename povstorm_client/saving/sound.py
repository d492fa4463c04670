"""Sound for a video: a file of the user's, put beside the frames when the video is saved.

``povstorm render --audio`` and ``fetch --audio`` do it on the user's machine; what is stored of the
job has no sound.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from povstorm_client.errors import InputError, ToolError
from povstorm_client.programs.tools import require_ffmpeg

# Of a format: how ffmpeg calls it, and the codec that its players take.
_FORMATS = {
    "mp4": ("mp4", ("aac", "192k")),
    "mov": ("mov", ("aac", "192k")),
    "mkv": ("matroska", ("aac", "192k")),
    "webm": ("webm", ("libopus", "160k")),
}


def check_sound(audio: Path, video: str | None) -> None:
    """Raise InputError unless the file has sound and the job a video that can have it.

    video: the format's ending, None for no video. ToolError without ffmpeg.
    """
    if video not in _FORMATS:
        what = "the job makes no video" if video is None else f"a {video} has no sound"
        raise InputError(f"--audio {audio}: {what}; give --video {', '.join(_FORMATS)}")
    if not audio.is_file():
        raise InputError(f"--audio {audio} is no file: check the path")
    if not _probe(audio, "-select_streams", "a:0").get("streams"):
        raise InputError(f"--audio {audio} has no sound that ffmpeg can read: give another file")


def _probe(file: Path, *words: str) -> dict[str, Any]:
    """What ffprobe tells of a file's streams and format; nothing of one that it cannot read."""
    _, ffprobe = require_ffmpeg()
    asked = subprocess.run(
        [
            *(ffprobe, "-v", "error", *words, "-show_entries", "stream=codec_type:format=duration"),
            *("-of", "json", f"file:{file}"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[str, Any] = {} if asked.returncode else json.loads(asked.stdout or "{}")
    return found


def add_sound(video: Path, audio: Path, ending: str) -> None:
    """Put sound into a video file, whose frames stay as they are; it ends with them.

    Sound that is longer is cut off there, and after shorter sound there is silence. Raises
    ToolError, with ffmpeg's words, if it cannot; the file is then as it was.
    """
    ffmpeg, _ = require_ffmpeg()
    seconds = _probe(video).get("format", {}).get("duration")
    if seconds is None:
        raise ToolError(f"{video.name} is no video that sound can be put to: render it again")
    kind, (codec, rate) = _FORMATS[ending]
    made = video.with_name(f"{video.name}.sound")
    done = subprocess.run(
        [
            *(ffmpeg, "-hide_banner", "-nostats", "-loglevel", "error", "-xerror", "-y"),
            *("-i", f"file:{video}", "-i", f"file:{audio}", "-map", "0:v:0", "-map", "1:a:0"),
            *("-c:v", "copy", "-c:a", codec, "-b:a", rate, "-af"),
            f"apad=whole_dur={seconds},atrim=end={seconds}",
            *("-fflags", "+bitexact", "-flags:a", "+bitexact", "-movflags", "+faststart"),
            *("-f", kind, f"file:{made}"),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        made.unlink(missing_ok=True)
        said = done.stderr.strip().splitlines()
        raise ToolError(
            f"the sound of {audio} cannot be put into the video: "
            f"{said[-1] if said else f'ffmpeg ended with {done.returncode}'}"
        )
    made.replace(video)
