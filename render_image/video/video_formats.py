"""The video formats: for each file ending and codec, the ffmpeg commands that encode into it.

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

from povstorm_client.frames.video_options import ENCODERS, VideoOptions

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
    """The pixels that ffmpeg's encoder gets, its options, and the same for frames with alpha.

    crf: its constant rate factor where none is chosen; None where it has none. cost: bytes of
    memory, and seconds, that it needs for each pixel of a frame, with ffprobe beside it.
    """

    pixels: str
    options: dict[str, Any] = field(default_factory=dict)
    crf: int | None = None
    cost: tuple[int, float] = (190, 8e-8)
    with_alpha: _Codec | None = None


_VP9 = {"b:v": 0, "row-mt": 1, "deadline": "good"}
# Whatever the number of cores, the same bytes; and no picture refers to one before a whole one.
_X265 = "pools=none:frame-threads=1:wpp=0:open-gop=0:info=0:log-level=error"
# Constant quality that is hard to tell from the images; 4:2:0, which every player shows. What is
# newer than H.264 has 10 bits a colour, which every player of it shows, and gradients no bands.
# Memory and seconds were measured at 720p and 1080p.
_CODECS = {
    "h264": _Codec("yuv420p", {"preset": "medium"}, crf=18),
    "h265": _Codec(
        "yuv420p10le", {"preset": "medium", "tag:v": "hvc1"}, crf=20, cost=(300, 1.5e-7)
    ),
    "av1": _Codec("yuv420p10le", {"b:v": 0, "cpu-used": 6, "row-mt": 0}, crf=24, cost=(300, 5e-7)),
    "vp9": _Codec(
        "yuv420p",
        _VP9,
        crf=24,
        cost=(190, 8e-7),
        # Frames that are never shown would have no alpha beside them: ffmpeg refuses them.
        with_alpha=_Codec("yuva420p", {**_VP9, "auto-alt-ref": 0}, crf=24),
    ),
    "prores": _Codec(
        "yuv422p10le",
        {"profile:v": "hq", "vendor": "apl0"},
        with_alpha=_Codec("yuva444p10le", {"profile:v": "4444", "vendor": "apl0"}),
    ),
}
# Frames that encoders keep to decide where bits go; libx264 3.3 bytes a pixel each: 40 are its own
# choice, and would be half of the memory of a small container at 1080p, which gets 12. The others
# keep more of each, and libx265 needs more of them than it has B-frames in a row, four.
_MOST_AHEAD, _LEAST_AHEAD, _PIXELS_AHEAD = 40, 4, 12 * 1920 * 1080
_MOST_AHEAD_OF_NEWER, _LEAST_AHEAD_OF_NEWER = 19, 6
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


def cost_of(video: str, options: VideoOptions) -> tuple[int, float]:
    """Bytes of memory, and CPU seconds, that encoding a segment needs for each pixel of a frame.

    video: its ending, such as ``mp4``. ffprobe, which counts the frames, is in both.
    """
    return _CODECS[options.codec_in(video)].cost


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
    target: Path,
    *,
    fps: Fraction,
    has_alpha: bool,
    size: tuple[int, int],
    program: str,
    options: VideoOptions | None = None,
) -> list[list[str]]:
    """The argument lists to run one after another; the last one streams a segment to its stdout.

    Or all of a GIF, whose palette the first one writes beside ``target``. has_alpha: whether any
    frame has transparency. It is kept where the codec can (ALPHA_CODECS), and otherwise the frames
    lie on black. size: of the frames, in pixels. options: the format's own choice if None.
    """
    options = options or VideoOptions()
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
    name = options.codec_in(target.suffix.lower().removeprefix("."))
    codec = _CODECS[name]
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
    further = {"movflags": _FRAGMENTS} if kind in ("mp4", "mov") else {}
    crf = options.crf if options.crf is not None else codec.crf
    if crf is not None:
        further["crf"] = str(crf)
    ahead = _frames_ahead(size)
    newer = max(_LEAST_AHEAD_OF_NEWER, min(_MOST_AHEAD_OF_NEWER, ahead))
    if name == "h264":
        further["rc-lookahead"] = str(ahead)
    elif name == "h265":
        further["x265-params"] = f"{_X265}:rc-lookahead={newer}"
    elif name == "av1":
        further["lag-in-frames"] = str(newer)
    output = frames.output(
        "pipe:1",
        f=kind,
        vcodec=ENCODERS[name],
        fps_mode="passthrough",
        threads=1,
        fflags="+bitexact",
        **codec.options,
        **further,
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
