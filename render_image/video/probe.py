"""What ffprobe says in JSON of a video's only stream; counting and joining read it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from povstorm_client.errors import VideoError

T = TypeVar("T")


@dataclass(frozen=True)
class CountedVideo:
    """What ffprobe says of a video: frames, its size in pixels, and its codec."""

    frames: int
    width: int
    height: int
    codec: str

    @classmethod
    def of(cls, stream: dict[str, Any], count: str) -> CountedVideo:
        """Its frames are in the stream's field ``count``."""
        return cls(
            frames=int(stream[count]),
            width=int(stream["width"]),
            height=int(stream["height"]),
            codec=str(stream["codec_name"]),
        )


def read_stream(text: str, read: Callable[[dict[str, Any]], T]) -> T:
    """What ``read`` makes of the stream; VideoError for what ffprobe should not say."""
    try:
        return read(json.loads(text)["streams"][0])
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        raise VideoError(
            f"ffprobe does not tell what is in the video ({error!r}): it is not kept; reinstall "
            "ffmpeg, and look whether ffprobe is of the same version"
        ) from error
