"""The video formats: for each file ending, the ffmpeg commands that encode frames into it.

Called by tasks/video/encode.py. Every command reads all frames as PNGs from its stdin.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import ffmpeg
from ffmpeg.nodes import FilterableStream, OutputStream

from povstorm_client.errors import InputError
from povstorm_client.frames.job_settings import GIF_MOST_FPS

# RGB is converted with the matrix that players take for HD video, and the file says so: left to
# itself ffmpeg takes that of SD video and says nothing, which shifts the colours.
_BT709 = {
    "colorspace": "bt709",
    "color_primaries": "bt709",
    "color_trc": "bt709",
    "color_range": "tv",
}


@dataclass(frozen=True)
class _Codec:
    """ffmpeg's encoder, its pixel format, its options, and the same for frames with alpha."""

    name: str
    pixels: str
    options: dict[str, Any] = field(default_factory=dict)
    with_alpha: _Codec | None = None


# Constant quality that is hard to tell from the images; 4:2:0, which every player shows.
_H264 = _Codec("libx264", "yuv420p", {"crf": 18, "preset": "medium"})
_VP9 = {"crf": 24, "b:v": 0, "row-mt": 1, "deadline": "good"}
_CODECS = {
    # faststart: the index comes first, so that a browser begins before it has the whole file.
    ".mp4": _Codec(_H264.name, _H264.pixels, {**_H264.options, "movflags": "+faststart"}),
    ".webm": _Codec(
        "libvpx-vp9",
        "yuv420p",
        _VP9,
        # Frames that are never shown would have no alpha beside them: ffmpeg refuses them.
        with_alpha=_Codec("libvpx-vp9", "yuva420p", {**_VP9, "auto-alt-ref": 0}),
    ),
    ".mov": _Codec(
        "prores_ks",
        "yuv422p10le",
        {"profile:v": "hq", "vendor": "apl0"},
        with_alpha=_Codec("prores_ks", "yuva444p10le", {"profile:v": "4444", "vendor": "apl0"}),
    ),
    ".mkv": _H264,
}
ENDINGS = (*_CODECS, ".gif")


def check_format(target: Path, fps: Fraction) -> None:
    """Raise InputError for an ending that is not known, or too many frames a second for it."""
    ending = target.suffix.lower()
    if ending not in ENDINGS:
        raise InputError(
            f"video {target.name} has an unknown ending: use one of {', '.join(ENDINGS)}"
        )
    if ending == ".gif" and fps > GIF_MOST_FPS:
        raise InputError(
            f"a gif has at most {GIF_MOST_FPS} frames a second, not {float(fps):g}: "
            "lower fps, or choose .webm or .mp4"
        )


def encoding_commands(
    target: Path, *, fps: Fraction, has_alpha: bool, program: str
) -> list[list[str]]:
    """The argument lists to run one after another; the last one makes ``target``.

    has_alpha: whether any frame has transparency. It is kept where the format can (.mov, .webm),
    and otherwise the frames lie on black.
    """
    frames = ffmpeg.input(
        "pipe:0", f="image2pipe", vcodec="png", framerate=str(fps), err_detect="explode"
    )
    if target.suffix.lower() == ".gif":
        return _gif_commands(frames, target, has_alpha, program)
    codec = _CODECS[target.suffix.lower()]
    edge = "black"
    if has_alpha and codec.with_alpha:
        codec, edge = codec.with_alpha, "black@0"
    elif has_alpha:
        frames = _on_black(frames)
    frames = (
        frames.filter("pad", "ceil(iw/2)*2", "ceil(ih/2)*2", color=edge)
        .filter("scale", out_color_matrix="bt709", out_range="tv", flags="bicubic+accurate_rnd")
        .filter("format", codec.pixels)
        .filter(
            "setparams", colorspace="bt709", color_primaries="bt709", color_trc="bt709", range="tv"
        )
    )
    output = frames.output(
        str(target), vcodec=codec.name, fps_mode="passthrough", **codec.options, **_BT709
    )
    return [_compiled(output, program)]


def _gif_commands(
    frames: FilterableStream, target: Path, has_alpha: bool, program: str
) -> list[list[str]]:
    """First the palette, then the frames: in one go ffmpeg would keep all frames in memory."""
    if has_alpha:
        frames = _on_black(frames)
    palette = target.with_name("palette.png")
    find = frames.filter("palettegen").output(str(palette), update=1, **{"frames:v": 1})
    use = ffmpeg.filter([frames, ffmpeg.input(str(palette))], "paletteuse").output(
        str(target), loop=0, fps_mode="passthrough"
    )
    return [_compiled(find, program), _compiled(use, program)]


def _on_black(frames: FilterableStream) -> FilterableStream:
    """PNG's colours are not multiplied by alpha; leaving it out would make edges hard."""
    return (
        frames.filter("format", "gbrap16le")
        .filter("premultiply", inplace=1)
        .filter("format", "gbrp16le")
    )


def _compiled(output: OutputStream, program: str) -> list[str]:
    command: list[str] = (
        output.global_args("-hide_banner", "-nostats", "-loglevel", "error", "-xerror")
        .global_args("-progress", "pipe:1")
        .overwrite_output()
        .compile(cmd=program)
    )
    return command
