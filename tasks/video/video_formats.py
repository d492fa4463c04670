"""The video formats: for each file ending, the ffmpeg commands that encode frames into it.

Called by tasks/video/encode.py and segments.py. A command that encodes reads frames as PNGs from
its stdin; one that joins reads a list of segments, and decodes nothing.
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
    ".mp4": _H264,
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
# The file that a segment is encoded into. Matroska's times are whole milliseconds, which are not to
# be added up where frames are reordered: MP4 has exact ones.
_SEGMENT_ENDINGS = {".mp4": ".mp4", ".mkv": ".mp4", ".mov": ".mov", ".webm": ".webm"}


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


def is_joined(target: Path) -> bool:
    """Whether the format is made of segments; a GIF has one palette of all its frames."""
    return target.suffix.lower() in _SEGMENT_ENDINGS


def segment_ending(target: Path) -> str:
    """The file ending of the segments that are joined into ``target``."""
    return _SEGMENT_ENDINGS[target.suffix.lower()]


def join_command(segments: Path, target: Path, *, fps: Fraction, program: str) -> list[str]:
    """The argument list that joins the segments of an ffconcat file into ``target``, as they are.

    https://ffmpeg.org/ffmpeg-formats.html#concat-1
    """
    # Matroska's files would each have a number of their own.
    options: dict[str, Any] = {"c": "copy", "fflags": "+bitexact"}
    ending = target.suffix.lower()
    if ending == ".mp4":
        # The index comes first, so that a browser begins before it has the whole file.
        options["movflags"] = "+faststart"
    if ending == ".webm":
        # Each segment's times were rounded to milliseconds; VP9's packets are in order.
        options["bsf:v"] = f"setts=ts=round(N*{fps.denominator}/{fps.numerator}/TB)"
    # Frames are decoded up to two before they are shown, but not in a segment of one or two: the
    # next one's first times of decoding would be before that one's last.
    if ending == ".mp4":
        options["bsf:v"] = "setts=pts=PTS:dts=(N-2)*DURATION"
    if ending == ".mkv":
        # It has no such times, and durations that are rounded.
        options["bsf:v"] = r"setts=pts=PTS:dts=max(DTS\,PREV_OUTDTS+1)"
    joined = ffmpeg.input(str(segments), f="concat").output(str(target), **options)
    return _compiled(joined, program)


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
    # With more threads libx264 gives other bytes for each number of them. Segments are encoded side
    # by side instead.
    output = frames.output(
        str(target), vcodec=codec.name, fps_mode="passthrough", threads=1, **codec.options, **_BT709
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
