"""Every codec that can be chosen gives a video that is joined as soundly as the formats' own."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import ffmpeg
import pytest

from povstorm_client import Cluster, InputError, Job, ToolError
from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.frames.video_options import CODECS_OF, VideoOptions
from povstorm_client.programs.tools import require_ffmpeg
from render_image.video.segments import Encoding, FrameImage, segment_name
from tests.integration.test_video_segments import (
    FRAMES,
    all_encoded,
    encoded,
    moving_images,
    pixels,
    segments_ahead,
    single_pass,
    squared_error,
    times,
    told,
)

# Those that are no format's own, which test_video_segments.py has.
CHOSEN = [(ending, codec) for ending, codecs in CODECS_OF.items() for codec in codecs[1:]]
FFPROBE_NAMES = {"h265": "hevc"}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    return moving_images(tmp_path_factory.mktemp("frames"))


@pytest.mark.parametrize(("ending", "codec"), CHOSEN)
def test_joined_of_segments_it_is_what_a_single_pass_makes(
    ending: str, codec: str, images: dict[int, Path], tmp_path: Path
):
    options = VideoOptions(codec=codec)
    fps = Fraction(24000, 1001)
    single, joined = tmp_path / f"single.{ending}", tmp_path / f"joined.{ending}"
    single_pass(images, single, fps, options)
    data = encoded(images, joined, fps=fps, options=options)

    [stream] = ffmpeg.probe(str(joined))["streams"]
    assert stream["codec_name"] == FFPROBE_NAMES.get(codec, codec)
    assert (stream["color_space"], stream["color_range"]) == ("bt709", "tv")
    assert stream["pix_fmt"] == ("yuv420p" if codec == "h264" else "yuv420p10le")
    assert times(joined) == times(single)
    assert squared_error(images, joined) < 1.05 * squared_error(images, single) + 0.1
    with segments_ahead(tmp_path / f"ahead.{ending}", fps, options) as ahead:
        told(ahead, images, list(FRAMES))
        assert all_encoded(ahead) == 2
        target = tmp_path / f"ahead.{ending}"
        assert encoded(images, target, fps=fps, ahead=ahead, options=options) == data


@pytest.mark.parametrize(("ending", "codec"), CHOSEN)
def test_each_segment_can_be_begun_at(
    ending: str, codec: str, images: dict[int, Path], tmp_path: Path
):
    video = tmp_path / f"joined.{ending}"
    encoded(images, video, options=VideoOptions(codec=codec))
    packets = ffmpeg.probe(str(video), show_packets=None)["packets"]
    begins = [float(packet["pts_time"]) for packet in packets if "K" in packet["flags"]]

    assert begins[0] == pytest.approx(0, abs=0.001)
    # The last 6 of 20 have a segment of their own.
    assert any(begin == pytest.approx(14 / 24, abs=0.001) for begin in begins)
    from_there, _ = (
        ffmpeg.input(str(video), ss=14 / 24 - 0.0005)
        .output("pipe:", format="rawvideo", pix_fmt="rgb24", fps_mode="passthrough")
        .run(capture_stdout=True, quiet=True)
    )
    assert from_there == b"".join(pixels(video)[14:])


@pytest.mark.parametrize("lengths", [(1, 1), (2, 6), (14, 1)])
@pytest.mark.parametrize("codec", ["h265", "av1"])
def test_segments_of_any_length_are_joined(
    codec: str, lengths: tuple[int, int], images: dict[int, Path], tmp_path: Path
):
    frames = [*range(1, 1 + lengths[0]), *range(15, 15 + lengths[1])]
    video = tmp_path / "joined.mp4"
    found = {frame: images[frame] for frame in frames}
    encoded(found, video, options=VideoOptions(codec=codec))

    assert times(video) == [pytest.approx(n / 24, abs=0.0006) for n in range(sum(lengths))]
    assert len(pixels(video)) == sum(lengths)


@pytest.mark.parametrize(("ending", "codec"), [("mp4", None), ("webm", None), ("mp4", "h265")])
def test_a_larger_crf_makes_a_smaller_video(
    ending: str, codec: str | None, images: dict[int, Path], tmp_path: Path
):
    def size(crf: int | None) -> int:
        options = VideoOptions(codec=codec, crf=crf)
        return len(encoded(images, tmp_path / f"{crf}.{ending}", options=options))

    assert size(40) < size(None) < size(4)


def test_segments_of_other_options_have_other_names(images: dict[int, Path]):
    def name(options: VideoOptions | None) -> str:
        encoding = Encoding.of(Path("video.mp4"), Fraction(24), "retry", options)
        image = FrameImage(1, images[1], "AAAAAA==")
        return segment_name([image], encoding, has_alpha=False)

    chosen = [None, VideoOptions(codec="h265"), VideoOptions(crf=30), VideoOptions(crf=31)]
    assert len({name(options) for options in chosen}) == len(chosen)
    assert name(None) == name(VideoOptions())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"codec": "hevc"}, "codec is 'hevc': give one of h264, h265, av1, vp9, prores"),
        (
            {"codec": "vp9"},
            r"codec is vp9, which does not go into mp4 .*h264, h265, av1.*takes it: webm",
        ),
        ({"codec": "prores", "video": "mkv"}, "takes it: mov"),
        ({"codec": "av1", "video": "webm"}, r"its codecs: vp9\).*takes it: mp4, mkv"),
        ({"codec": "h264", "video": "gif"}, r"h264, which does not go into gif .*none to choose"),
        ({"crf": 20, "video": "gif"}, "crf is 20, and gif has none"),
        ({"crf": 20, "video": "mov"}, "crf is 20, and prores has none"),
        ({"crf": 52}, r"crf is 52: h264 knows 0 \(the best\) to 51"),
        ({"crf": 64, "video": "webm"}, "vp9 knows 0"),
        ({"crf": -1}, "crf is -1: 0 is the best"),
        ({"crf": True}, "crf is True"),
        ({"codec": 1}, "codec is 1"),
    ],
    ids=str,
)
def test_what_cannot_be_joined_or_meant_is_refused(settings: dict[str, object], words: str):
    with pytest.raises(InputError, match=words):
        JobSettings(**settings)  # type: ignore[arg-type]


def test_a_codec_that_ffmpeg_was_built_without_is_refused_with_those_that_are_there(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Before any work; a program that lists fewer encoders stands for such an ffmpeg."""
    real, _ = require_ffmpeg()
    lesser = tmp_path / "ffmpeg"
    lesser.write_text(f'#!/bin/sh\n"{real}" "$@" | grep -v -e libx265 -e libaom\n', "utf-8")
    lesser.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    job = Job(cluster, "j", codec="av1")
    with pytest.raises(ToolError, match=r"cannot encode av1 \(libaom-av1\): for mp4 it has h264;"):
        job.cluster.require_tools(job.settings)
    job.cluster.require_tools(Job(cluster, "j", codec="h264").settings)
