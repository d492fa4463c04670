"""VideoOptions: a video's codec and quality, beside its format and rate; their bounds are here.

JobSettings has its fields, and tells of it whoever encodes (render_image/video/video_formats.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from povstorm_client.argument_checks import check_type, shown
from povstorm_client.errors import FieldError, ToolError
from povstorm_client.frames.tone_mapping import ToneMapping
from povstorm_client.programs.tools import ffmpeg_encoders, require_ffmpeg

VideoCodec = Literal["h264", "h265", "av1", "vp9", "prores"]
VIDEO_CODECS: tuple[str, ...] = get_args(VideoCodec)
# Of each format the codecs whose segments can be joined in it, its own choice first. AV1 is not
# among WebM's: ffmpeg 6.0 writes a head into a pipe that it cannot read itself (tried).
CODECS_OF: dict[str, tuple[str, ...]] = {
    "mp4": ("h264", "h265", "av1"),
    "mkv": ("h264", "h265", "av1"),
    "mov": ("prores", "h264", "h265"),
    "webm": ("vp9",),
    "gif": (),
}
# How ffmpeg calls what encodes them.
ENCODERS = {
    "h264": "libx264",
    "h265": "libx265",
    "av1": "libaom-av1",
    "vp9": "libvpx-vp9",
    "prores": "prores_ks",
}
# Those that keep transparency, and those with 10 bits a colour.
ALPHA_CODECS, DEEP_CODECS = ("vp9", "prores"), ("prores", "h265", "av1")
# The worst quality that each knows; 0 is the best. ProRes has profiles instead.
_MOST_CRF = {"h264": 51, "h265": 51, "av1": 63, "vp9": 63}


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """codec: one of VIDEO_CODECS; crf: its constant rate factor. None is the format's own choice.

    tone: how images without bounds are shown in it.

    Raises FieldError for values that cannot be meant.
    """

    codec: str | None = None
    crf: int | None = None
    tone: ToneMapping = field(default_factory=ToneMapping)

    def __post_init__(self) -> None:
        if self.codec is not None:
            check_type("codec", self.codec, str, "a text, or None for the format's own")
            if self.codec not in VIDEO_CODECS:
                raise FieldError(
                    "codec", f"is {self.codec!r}: give one of {', '.join(VIDEO_CODECS)}"
                )
        if self.crf is not None:
            check_type("crf", self.crf, int, "a whole number, or None for the codec's own")
            if self.crf < 0:
                raise FieldError(
                    "crf", f"is {shown(self.crf)}: 0 is the best quality, and the largest file"
                )

    def codec_in(self, video: str) -> str:
        """The codec of a video of that ending; a gif is one itself."""
        return self.codec or next(iter(CODECS_OF[video]), video)

    def check(self, video: str | None) -> None:
        """FieldError unless a video of that ending can be encoded so; None: any video."""
        if video is None:
            most = max(_MOST_CRF.values())
            if self.crf is not None and self.crf > most:
                raise FieldError("crf", f"is {shown(self.crf)}: codecs know 0 (the best) to {most}")
            return
        codec = self.codec_in(video)
        if self.codec is not None and codec not in CODECS_OF[video]:
            homes = ", ".join(ending for ending, codecs in CODECS_OF.items() if codec in codecs)
            own = ", ".join(CODECS_OF[video]) or "none to choose"
            raise FieldError(
                "codec",
                f"is {codec}, which does not go into {video} (its codecs: {own}): choose "
                f"another, or a format that takes it: {homes}",
            )
        if self.crf is not None and self.crf > _MOST_CRF.get(codec, -1):
            if codec not in _MOST_CRF:
                raise FieldError(
                    "crf",
                    f"is {shown(self.crf)}, and {codec} has none: leave it out, or choose another "
                    "codec",
                )
            raise FieldError(
                "crf", f"is {shown(self.crf)}: {codec} knows 0 (the best) to {_MOST_CRF[codec]}"
            )

    def require_encoder(self, video: str) -> None:
        """ToolError, naming what is there, unless ffmpeg is, and has the encoder that is asked for.

        The formats' own codecs are not looked for: every usual ffmpeg has them.
        """
        ffmpeg, _ = require_ffmpeg()
        if self.codec is None:
            return
        there = ffmpeg_encoders(ffmpeg)
        if ENCODERS[self.codec] not in there:
            others = [codec for codec in CODECS_OF[video] if ENCODERS[codec] in there]
            raise ToolError(
                f"{ffmpeg} cannot encode {self.codec} ({ENCODERS[self.codec]}): for {video} it has "
                f"{', '.join(others) or 'nothing'}; choose one of those, or install another ffmpeg"
            )
