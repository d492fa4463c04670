"""JobSettings: how a job is rendered, beside what its frames show; its bounds are here alone.

Client programs, commands, the render-scene flow and the manifest all have their values checked by
it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal, get_args

from povstorm_client.argument_checks import check_number, check_type, shown
from povstorm_client.errors import FieldError
from povstorm_client.frames.tone_mapping import ToneMapping
from povstorm_client.frames.video_options import VideoOptions
from povstorm_client.quantities import memory_size
from povstorm_client.storage.records import MOST_SECONDS, MOST_USD

VideoEnding = Literal["mp4", "webm", "gif", "mov", "mkv"]
VIDEO_ENDINGS: tuple[str, ...] = get_args(VideoEnding)
# A GIF's delays are whole hundredths of a second (GIF89a, section 23), and browsers show a delay
# of less than two of them as ten.
GIF_MOST_FPS = 50
# Long enough for the parsing of any scene that is meant to end.
STALL_SECONDS = 3600.0
# What POV-Ray 3.7 needs for an almost empty scene, and some more.
LEAST_MEMORY = 64 << 20
# More than any machine has, and less than 64 bits.
_MOST_MEMORY = 1 << 50
MOST_RETRIES = 10
Preference = Literal["fastest", "balanced", "cheapest"]
PREFERENCES: tuple[str, ...] = get_args(Preference)
_MOST_FPS = 1000
# Of a fraction's upper and lower part; a number that was worked out as a double has 17.
_MOST_FPS_DIGITS = 40
# A Fraction of 1e999999999 is a number of so many digits.
_LARGE_EXPONENT = re.compile(r"[eE][-+]?[\d_]{4}")


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """How a job is rendered.

    fps: frames a second, as a number or a fraction such as ``"24000/1001"``; kept as its text.
    video: the video's format by its ending, None for no video. codec, crf: how it is encoded, as
    VideoOptions has them; tone_map, exposure: how previews and video show images without bounds, as
    ToneMapping has them. allow_missing_frames: make the video although frames failed. retries:
    further attempts for a frame whose failure can pass. frame_timeout: seconds for one frame, None
    for no limit; stall_timeout: seconds without a further pixel (parsing makes none). frame_memory:
    bytes that a frame may use where the flow renders it, None for most of the machine's.

    On Google Cloud, prefer is what the plan prefers ("fastest", "balanced", "cheapest"), max_usd
    refuses to spend more, and seconds_per_frame is what a frame is expected to take of a CPU;
    None to go by the scene's last run, or to measure it on a few frames. Elsewhere they say
    nothing.

    Raises FieldError for values that cannot be meant.
    """

    fps: float | str | Fraction = "24"
    video: str | None = "mp4"
    codec: str | None = None
    crf: int | None = None
    tone_map: str = "clip"
    exposure: float = 0.0
    allow_missing_frames: bool = False
    retries: int = 3
    frame_timeout: float | None = None
    stall_timeout: float | None = STALL_SECONDS
    frame_memory: int | None = None
    prefer: str = "balanced"
    max_usd: float | None = None
    seconds_per_frame: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "fps", str(_exact_fps(self.fps)))
        self._check_types()
        if self.video is not None:
            check_video(self.video, self.frames_per_second)
        self.video_options.check(self.video)
        if not 0 <= self.retries <= MOST_RETRIES:
            raise FieldError("retries", f"is {shown(self.retries)}: 0 to {MOST_RETRIES}")
        for name, what, most in (
            ("frame_timeout", "seconds above 0, or None", MOST_SECONDS),
            ("stall_timeout", "seconds above 0, or None", MOST_SECONDS),
            ("max_usd", "US dollars above 0, or None for no limit", MOST_USD),
            ("seconds_per_frame", "CPU seconds above 0, or None to measure them", MOST_SECONDS),
        ):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise FieldError(name, f"is {shown(value)}: give {what}")
            if value is not None and value > most:
                raise FieldError(name, f"is {shown(value)}, above {most:,.0f}: give {what}")
        self._check_memory()
        if self.prefer not in PREFERENCES:
            raise FieldError("prefer", f"is {self.prefer!r}: give one of {', '.join(PREFERENCES)}")

    def _check_memory(self) -> None:
        if self.frame_memory is None:
            return
        if self.frame_memory > _MOST_MEMORY:
            raise FieldError(
                "frame_memory",
                f"is {Decimal(self.frame_memory):.4g} bytes: no machine has more than "
                f"{memory_size(_MOST_MEMORY)}",
            )
        if self.frame_memory < LEAST_MEMORY:
            raise FieldError(
                "frame_memory",
                f"is {self.frame_memory} bytes: POV-Ray needs {LEAST_MEMORY} "
                f"({memory_size(LEAST_MEMORY)}) to start",
            )

    def _check_types(self) -> None:
        check_type("allow_missing_frames", self.allow_missing_frames, bool, "True or False")
        check_type("retries", self.retries, int, "a whole number")
        for name in ("frame_timeout", "stall_timeout", "max_usd", "seconds_per_frame"):
            check_number(name, getattr(self, name), or_none=True)
        if self.frame_memory is not None:
            check_type("frame_memory", self.frame_memory, int, "a whole number of bytes, or None")
        check_type("prefer", self.prefer, str, "a text")

    @property
    def frames_per_second(self) -> Fraction:
        """The fps as an exact number."""
        return Fraction(self.fps)

    @property
    def video_options(self) -> VideoOptions:
        """How the video is encoded."""
        return VideoOptions(codec=self.codec, crf=self.crf, tone=self.tone_mapping)

    @property
    def tone_mapping(self) -> ToneMapping:
        """How images without bounds are shown."""
        return ToneMapping(tone_map=self.tone_map, exposure=self.exposure)


def check_video(video: str, fps: Fraction) -> None:
    """FieldError unless it is one of VIDEO_ENDINGS, and can show so many frames a second."""
    if video not in VIDEO_ENDINGS:
        raise FieldError("video", f"format {video!r} is not known: {', '.join(VIDEO_ENDINGS)}")
    if video == "gif" and fps > GIF_MOST_FPS:
        raise FieldError(
            "fps",
            f"is {fps}: a gif has at most {GIF_MOST_FPS} frames a second; lower it, or choose "
            "another video format",
        )


def preference(prefer: str, lean: str, default: str = "balanced") -> str:
    """What the plan prefers, where it may be said by its older name, lean ("": not said).

    default: prefer's, beside which a lean counts. Raises FieldError if both say something, or lean
    is none.
    """
    check_type("lean", lean, str, "a text")
    if not lean:
        return prefer
    if lean not in PREFERENCES:
        raise FieldError("lean", f"is {lean!r}: give prefer one of {', '.join(PREFERENCES)}")
    if prefer not in (default, lean):
        raise FieldError(
            "prefer", f"is {prefer!r} and lean, its older name, is {lean!r}: give prefer only"
        )
    return lean


def _exact_fps(fps: float | str | Fraction) -> Fraction:
    check_type("fps", fps, (int, float, str, Fraction), "a number: give 24, 23.976 or '24000/1001'")
    try:
        # The exact decimal that was written, not the binary fraction nearest to it.
        text = str(fps)
        if _LARGE_EXPONENT.search(text):
            raise ValueError(text)
        exact = Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise FieldError(
            "fps", f"{shown(fps)} is no number: give 24, 23.976 or '24000/1001'"
        ) from error
    if not 0 < exact <= _MOST_FPS:
        raise FieldError("fps", f"is {fps}: frames a second are above 0 and at most {_MOST_FPS}")
    if max(exact.as_integer_ratio()) >= 10**_MOST_FPS_DIGITS:
        raise FieldError(
            "fps", f"is {fps}, a fraction of more than {_MOST_FPS_DIGITS} digits: round it"
        )
    return exact
