"""The video formats: for each file ending, the ffmpeg commands that encode frames into it.

segments.py and tasks/video ask for them. A command that encodes reads frames as PNGs from its
stdin; one that joins reads a list of segments, and decodes nothing. All write to their stdout.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import ffmpeg
from ffmpeg.nodes import FilterableStream, OutputStream

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
# Frames that libx264 keeps to decide where bits go, 3.3 bytes a pixel each: 40 are its own choice,
# and would be half of the memory of a small container at 1080p, which gets 12.
_MOST_AHEAD, _LEAST_AHEAD, _PIXELS_AHEAD = 40, 4, 12 * 1920 * 1080
# What a segment is encoded into. Matroska's times are whole milliseconds, which are not to be added
# up where frames are reordered: MP4 has exact ones.
_SEGMENT_FORMATS = {".mp4": "mp4", ".mkv": "mp4", ".mov": "mov", ".webm": "webm"}
# Each frame is written when it is encoded, and nothing is gone back to.
_FRAGMENTS = "frag_every_frame+empty_moov+default_base_moof"
# How ffmpeg streams the formats that it joins, or makes in one pass.
_STREAMED = {".mkv": "matroska", ".webm": "webm", ".gif": "gif"}


def is_joined(target: Path) -> bool:
    """Whether the format is made of segments; a GIF has one palette of all its frames."""
    return target.suffix.lower() in _SEGMENT_FORMATS


def has_index(target: Path) -> bool:
    """Whether the frames' data of segments, one after another, need only an index before them."""
    return target.suffix.lower() in (".mp4", ".mov")


def is_fragmented(target: Path) -> bool:
    """Whether the format's segments are streams of fragments (fragments.py)."""
    return _SEGMENT_FORMATS[target.suffix.lower()] in ("mp4", "mov")


def join_command(segments: str, target: Path, *, fps: Fraction, program: str) -> list[str]:
    """The argument list that joins the segments of an ffconcat file, as they are, to its stdout.

    For a target without an index (has_index). https://ffmpeg.org/ffmpeg-formats.html#concat-1
    """
    # Matroska's files would each have a number of their own, and heads that are not to be changed.
    options: dict[str, Any] = {"c": "copy", "fflags": "+bitexact", "write_crc32": 0}
    ending = target.suffix.lower()
    if ending == ".webm":
        # Each segment's times were rounded to milliseconds; VP9's packets are in order.
        options["bsf:v"] = f"setts=ts=round(N*{fps.denominator}/{fps.numerator}/TB)"
    if ending == ".mkv":
        # It has no times of decoding, and durations that are rounded.
        options["bsf:v"] = r"setts=pts=PTS:dts=max(DTS\,PREV_OUTDTS+1)"
    joined = ffmpeg.input(segments, f="concat").output("pipe:1", f=_STREAMED[ending], **options)
    return _compiled(joined, program)


def encoding_commands(
    target: Path, *, fps: Fraction, has_alpha: bool, size: tuple[int, int], program: str
) -> list[list[str]]:
    """The argument lists to run one after another; the last one streams a segment to its stdout.

    Or all of a GIF, whose palette the first one writes beside ``target``. has_alpha: whether any
    frame has transparency. It is kept where the format can (.mov, .webm), and otherwise the frames
    lie on black. size: of the frames, in pixels.
    """
    frames = ffmpeg.input(
        "pipe:0",
        f="image2pipe",
        vcodec="png",
        framerate=str(fps),
        err_detect="explode",
        threads=1,
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
    kind = _SEGMENT_FORMATS[target.suffix.lower()]
    options = {"movflags": _FRAGMENTS} if kind in ("mp4", "mov") else {}
    if codec.name == "libx264":
        options["rc-lookahead"] = str(_frames_ahead(size))
    output = frames.output(
        "pipe:1",
        f=kind,
        vcodec=codec.name,
        fps_mode="passthrough",
        threads=1,
        fflags="+bitexact",
        **codec.options,
        **options,
        **_BT709,
    )
    return [_compiled(output, program)]


def _frames_ahead(size: tuple[int, int]) -> int:
    """How many frames libx264 looks ahead: as many as fit into what memory it may take for that."""
    width, height = size
    return max(_LEAST_AHEAD, min(_MOST_AHEAD, _PIXELS_AHEAD // (width * height)))


def _gif_commands(
    frames: FilterableStream, target: Path, has_alpha: bool, program: str
) -> list[list[str]]:
    """First the palette, then the frames: in one go ffmpeg would keep all frames in memory."""
    if has_alpha:
        frames = _on_black(frames)
    palette = target.with_name("palette.png")
    find = frames.filter("palettegen").output(str(palette), update=1, **{"frames:v": 1})
    use = ffmpeg.filter([frames, ffmpeg.input(str(palette))], "paletteuse").output(
        "pipe:1", f="gif", loop=0, fps_mode="passthrough"
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
        .overwrite_output()
        .compile(cmd=program)
    )
    return command
