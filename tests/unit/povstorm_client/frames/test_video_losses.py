"""What a video format will drop of the frames is said beforehand, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from povstorm_client import Cluster, InputError, Job, RenderSettings, WorkUnit
from povstorm_client.frames.job_settings import VIDEO_ENDINGS, JobSettings
from povstorm_client.frames.video_losses import ALPHA_ENDINGS, announce_losses, video_losses
from povstorm_client.frames.video_options import (
    ALPHA_CODECS,
    CODECS_OF,
    DEEP_CODECS,
    VideoOptions,
)
from povstorm_client.scene.load_scene import load_scene
from render_image.video import video_formats


def losses(video: str, *options: str, size: tuple[int, int] = (64, 48)) -> str:
    settings = RenderSettings("a.pov", width=size[0], height=size[1], options=options)
    return "\n".join(video_losses(video, settings))


def test_alpha_is_said_to_be_kept_where_the_encoder_keeps_it():
    with_alpha = {
        name for name, codec in video_formats._CODECS.items() if codec.with_alpha is not None
    }
    assert with_alpha == set(ALPHA_CODECS)
    own = {ending: codecs[0] for ending, codecs in CODECS_OF.items() if codecs}
    assert {ending for ending, codec in own.items() if codec in with_alpha} == set(ALPHA_ENDINGS)
    assert set(ALPHA_ENDINGS) == {"mov", "webm"}


def test_a_chosen_codec_decides_what_is_lost():
    def told(video: str, codec: str) -> str:
        settings = RenderSettings("a.pov", width=64, height=48, options=("+UA", "+FN16"))
        return "\n".join(video_losses(video, settings, VideoOptions(codec=codec)))

    assert "h264 has no transparency" in told("mov", "h264")
    assert "mov or webm keep it by their own codecs" in told("mov", "h264")
    assert "their video 8 (h264; mov has 10)" in told("mov", "h264")
    assert "av1 has no transparency" in told("webm", "av1")
    assert "their video 10 (h265)" in told("mp4", "h265")
    assert told("mov", "prores") == "the images have 16 bits a colour, their video 10 (prores)"


@pytest.mark.parametrize("video", ["mov", None])
def test_how_images_without_bounds_are_shown_is_told_with_a_video_and_without(
    video: str | None, capsys: pytest.CaptureFixture[str]
):
    settings = RenderSettings("a.pov", width=64, height=48, options=("+UA", "+FH"))
    announce_losses(JobSettings(video=video, tone_map="hable", exposure=-0.5), settings)
    told = capsys.readouterr().err
    assert "HDR images have no transparency; OpenEXR (+FE) keeps it" in told
    assert "video and previews show it by hable, exposure -0.5 (--tone-map, --exposure)" in told
    assert told.count("warning") == 2


@pytest.mark.parametrize("given", [{"tone_map": "hable"}, {"exposure": 1.0}])
def test_a_tone_mapping_of_pngs_is_refused(given: dict[str, object]):
    with pytest.raises(InputError, match=r"the images are PNGs, .* leave that out, or render"):
        announce_losses(JobSettings(**given), RenderSettings("a.pov"))  # type: ignore[arg-type]


def test_what_has_ten_bits_is_said_to():
    deep = {name for name, codec in video_formats._CODECS.items() if codec.pixels.endswith("10le")}
    assert deep == set(DEEP_CODECS)


@pytest.mark.parametrize("video", VIDEO_ENDINGS)
@pytest.mark.parametrize("option", ["+UA", "Output_Alpha=on"])
def test_lost_transparency_is_told_with_the_formats_that_keep_it(video: str, option: str):
    told = losses(video, option)
    assert ("no transparency" in told) == (video not in ALPHA_ENDINGS)
    assert ("mov or webm keep it" in told) == (video not in ALPHA_ENDINGS)


@pytest.mark.parametrize("options", [(), ("-UA",), ("+UA", "-UA"), ("Output_Alpha=off",)])
def test_opaque_images_lose_no_transparency(options: tuple[str, ...]):
    assert losses("mp4", *options) == ""


@pytest.mark.parametrize("video", ["mp4", "webm", "mkv"])
@pytest.mark.parametrize("option", ["+FN16", "+FN9", "Grayscale_Output=on"])
def test_a_lost_depth_of_colour_is_told(video: str, option: str):
    assert f"16 bits a colour, their video 8 ({video}; mov has 10)" in losses(video, option)
    assert "their video 10 (mov)" in losses("mov", option)
    assert losses(video, "+FN8") == losses(video, "+FN") == ""


def test_a_gif_has_few_colours_and_no_edge():
    assert "256 colours" in losses("gif", size=(33, 25))
    assert "odd" not in losses("gif", size=(33, 25))


@pytest.mark.parametrize("video", ["mp4", "webm", "mov", "mkv"])
def test_an_odd_size_and_what_becomes_of_it_is_told(video: str):
    assert "33x24 is odd, and the video gets an edge: it will be 34x24" in losses(
        video, size=(33, 24)
    )


def test_an_inis_output_alpha_is_seen(tmp_path: Path):
    (tmp_path / "a.pov").write_text("")
    (tmp_path / "a.ini").write_text("Input_File_Name=a.pov\nOutput_Alpha=On\nFinal_Frame=3\n")
    (tmp_path / "deep.ini").write_text("Input_File_Name=a.pov\nBits_Per_Color=16\n")
    assert "no transparency" in "".join(
        video_losses("mp4", load_scene(tmp_path / "a.ini", cwd=tmp_path).settings)
    )
    assert "16 bits" in "".join(
        video_losses("mp4", load_scene(tmp_path / "deep.ini", cwd=tmp_path).settings)
    )
    switched = load_scene(tmp_path / "a.ini", cwd=tmp_path, switches=["-UA"]).settings
    assert video_losses("mp4", switched) == video_losses(
        "mp4", load_scene(tmp_path / "a.pov", cwd=tmp_path).settings
    )


def test_a_submitted_job_says_so_once_and_one_without_a_video_does_not(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
):
    settings = RenderSettings("a.pov", width=33, height=24, options=("+UA",))
    for video, count in (("mp4", 2), ("webm", 1), (None, 0)):
        unit = WorkUnit(settings)
        unit.add_inline_resource("a.pov", "")
        job = Job(cluster, "job", video=video)
        job.add_work_unit(unit)
        job.submit()
        job.submit()
        assert capsys.readouterr().err.count("povstorm: warning: ") == count
