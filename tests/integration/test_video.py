"""Videos by real ffmpeg have exactly the frames that were meant, in order, or are an error."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import ffmpeg
import pytest
from PIL import Image

from povstorm_client import InputError, StorageError, ToolError, VideoError
from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.frames.video_losses import ALPHA_ENDINGS
from render_image.video import ffmpeg_process
from tests.integration.video_files import (
    MARK,
    encode_video,
    half_made,
    processes_about,
    segment_store,
)

FPS = Fraction(10)
FORMATS = {"mp4": "h264", "mkv": "h264", "webm": "vp9", "mov": "prores", "gif": "gif"}


def make_images(
    folder: Path, frames: range, size: tuple[int, int] = (32, 24), mode: str = "RGB"
) -> list[tuple[int, Path]]:
    """Frames whose brightness tells their number: frame n is grey 20·n."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for frame in frames:
        path = folder / f"frame_{frame}.png"
        Image.new("RGB", size, (20 * frame,) * 3).convert(mode).save(path)
        made.append((frame, path))
    return made


def brightness(video: Path) -> list[int]:
    """The mean grey of each frame of a video, decoded by ffmpeg."""
    out, _ = (
        ffmpeg.input(str(video))
        .output("pipe:", format="rawvideo", pix_fmt="gray", vf="scale=1:1")
        .run(capture_stdout=True, quiet=True)
    )
    return list(out)


# ffmpeg's own VP9 decoder leaves alpha out, as players without alpha do.
DECODERS = {".webm": {"vcodec": "libvpx-vp9"}}


def first_pixel(video: Path, at: str = "0:0") -> tuple[int, ...]:
    """Red, green, blue and alpha of a video's top left pixel, decoded as the file's tags say."""
    out, _ = (
        ffmpeg.input(str(video), **DECODERS.get(video.suffix, {}))
        .output(
            "pipe:", format="rawvideo", pix_fmt="rgba", vf=f"format=rgba,crop=1:1:{at}", vframes=1
        )
        .run(capture_stdout=True, quiet=True)
    )
    return tuple(out)


def many_images(folder: Path) -> list[tuple[int, Path]]:
    """Frames that take seconds to encode, from a few files."""
    images = make_images(folder, range(1, 13), size=(1280, 720))
    return [(frame + 12 * turn, path) for turn in range(40) for frame, path in images]


@pytest.mark.parametrize(("ending", "codec"), FORMATS.items())
def test_each_format_has_every_frame_in_numeric_order(tmp_path: Path, ending: str, codec: str):
    images = make_images(tmp_path / "in", range(1, 13))
    progress: list[tuple[int, int]] = []
    info = encode_video(
        images[::-1],
        tmp_path / f"out.{ending}",
        fps=FPS,
        expected_frames=range(1, 13),
        on_progress=lambda done, total: progress.append((done, total)),
    )
    assert (info.frames, info.codec, info.width, info.height) == (12, codec, 32, 24)
    assert info.bytes == (tmp_path / f"out.{ending}").stat().st_size
    assert info.seconds == pytest.approx(1.2, abs=0.02)
    shades = brightness(info.path)
    assert len(shades) == 12
    assert all(abs(shade - 20 * frame) <= 12 for frame, shade in enumerate(shades, start=1))
    assert progress[-1] == (12, 12)
    assert half_made(tmp_path) == []


def test_odd_sizes_are_padded_and_pixels_are_yuv420p(tmp_path: Path):
    images = make_images(tmp_path, range(1, 4), size=(33, 25))
    info = encode_video(images, tmp_path / "out.mp4", fps=FPS, expected_frames=[1, 2, 3])
    assert (info.width, info.height) == (34, 26)
    [stream] = ffmpeg.probe(str(info.path))["streams"]
    assert stream["pix_fmt"] == "yuv420p"


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("colour", [(200, 30, 30), (20, 180, 60), (40, 60, 220)])
def test_colours_come_back_as_they_were(tmp_path: Path, ending: str, colour: tuple[int, int, int]):
    Image.new("RGB", (32, 24), colour).save(tmp_path / "1.png")
    target = tmp_path / f"out.{ending}"
    encode_video([(1, tmp_path / "1.png")], target, fps=FPS, expected_frames=[1])
    red, green, blue, _ = first_pixel(target)
    assert (red, green, blue) == pytest.approx(colour, abs=4)
    if ending != "gif":
        [stream] = ffmpeg.probe(str(target))["streams"]
        tags = {stream[f"color_{tag}"] for tag in ("space", "primaries", "transfer")}
        assert tags == {"bt709"}


@pytest.mark.parametrize(
    ("mode", "profile", "kept"), [("RGB", "HQ", "yuv422p10"), ("RGBA", "4444", "yuva444p1")]
)
def test_prores_is_422_hq_and_with_transparency_4444(
    tmp_path: Path, mode: str, profile: str, kept: str
):
    images = make_images(tmp_path / "in", range(1, 3), mode=mode)
    target = tmp_path / "out.mov"
    encode_video(images, target, fps=FPS, expected_frames=[1, 2])
    [stream] = ffmpeg.probe(str(target))["streams"]
    assert (stream["codec_name"], stream["profile"]) == ("prores", profile)
    assert stream["pix_fmt"].startswith(kept)


@pytest.mark.parametrize("ending", FORMATS)
def test_transparent_frames_lie_on_black_where_the_format_has_no_alpha(tmp_path: Path, ending: str):
    Image.new("RGBA", (32, 24), (255, 255, 255, 64)).save(tmp_path / "1.png")
    target = tmp_path / f"out.{ending}"
    encode_video([(1, tmp_path / "1.png")], target, fps=FPS, expected_frames=[1])
    expected = (255, 255, 255, 64) if ending in ALPHA_ENDINGS else (64, 64, 64, 255)
    assert first_pixel(target) == pytest.approx(expected, abs=4)


@pytest.mark.parametrize("ending", ALPHA_ENDINGS)
def test_every_frame_keeps_its_alpha_and_padding_is_transparent(tmp_path: Path, ending: str):
    images = []
    for frame in range(1, 13):
        path = tmp_path / f"{frame}.png"
        Image.new("RGBA", (33, 25), (255, 255, 255, 20 * frame)).save(path)
        images.append((frame, path))
    target = tmp_path / f"out.{ending}"
    info = encode_video(images, target, fps=FPS, expected_frames=range(1, 13))
    assert (info.frames, info.width, info.height) == (12, 34, 26)
    out, _ = (
        ffmpeg.input(str(target), **DECODERS.get(target.suffix, {}))
        .output("pipe:", format="rawvideo", pix_fmt="rgba", vf="format=rgba,crop=1:1:8:8")
        .run(capture_stdout=True, quiet=True)
    )
    assert list(out[3::4]) == pytest.approx([20 * frame for frame in range(1, 13)], abs=6)
    assert first_pixel(target, "33:25")[3] <= 40


@pytest.mark.parametrize("ending", ALPHA_ENDINGS)
def test_opaque_frames_among_transparent_ones_stay_opaque(tmp_path: Path, ending: str):
    Image.new("RGB", (32, 24), (200, 30, 30)).save(tmp_path / "1.png")
    Image.new("RGBA", (32, 24), (200, 30, 30, 0)).save(tmp_path / "2.png")
    target = tmp_path / f"out.{ending}"
    images = [(frame, tmp_path / f"{frame}.png") for frame in (1, 2)]
    encode_video(images, target, fps=FPS, expected_frames=[1, 2])
    assert first_pixel(target) == pytest.approx((200, 30, 30, 255), abs=6)


@pytest.mark.parametrize("ending", FORMATS)
def test_one_frame_and_equal_frames_are_videos_too(tmp_path: Path, ending: str):
    [(_, path)] = make_images(tmp_path, range(5, 6))
    target = tmp_path / f"out.{ending}"
    assert encode_video([(5, path)], target, fps=FPS, expected_frames=[5]).frames == 1
    equal = [(frame, path) for frame in range(1, 8)]
    assert encode_video(equal, target, fps=FPS, expected_frames=range(1, 8)).frames == 7


@pytest.mark.parametrize("fps", [Fraction(24), Fraction(30), Fraction(24000, 1001), Fraction(50)])
def test_each_gif_frame_starts_at_the_hundredth_nearest_to_its_time(tmp_path: Path, fps: Fraction):
    images = make_images(tmp_path, range(1, 13))
    target = tmp_path / "out.gif"
    encode_video(images, target, fps=fps, expected_frames=range(1, 13))
    packets = ffmpeg.probe(str(target), show_packets=None)["packets"]
    starts = [float(packet["pts_time"]) for packet in packets]
    assert starts == pytest.approx([number / fps for number in range(12)], abs=0.0051)


def test_a_gif_may_be_larger_than_what_a_pipe_keeps(tmp_path: Path):
    images = []
    for frame in range(1, 9):
        path = tmp_path / f"{frame}.png"
        Image.effect_noise((160, 120), 99).convert("RGB").save(path)
        images.append((frame, path))
    info = encode_video(images, tmp_path / "out.gif", fps=FPS, expected_frames=range(1, 9))
    assert (info.frames, info.codec, info.width, info.height) == (8, "gif", 160, 120)
    assert info.bytes > 100_000


def test_an_mp4_starts_with_its_index(tmp_path: Path):
    images = make_images(tmp_path, range(1, 4))
    encode_video(images, tmp_path / "out.mp4", fps=FPS, expected_frames=[1, 2, 3])
    content = (tmp_path / "out.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize("fps", [Fraction(24000, 1001), Fraction(60), Fraction(1, 2)])
def test_the_frame_rate_is_exact(tmp_path: Path, fps: Fraction):
    images = make_images(tmp_path, range(1, 6))
    info = encode_video(images, tmp_path / "out.mp4", fps=fps, expected_frames=range(1, 6))
    [stream] = ffmpeg.probe(str(info.path))["streams"]
    assert Fraction(stream["avg_frame_rate"]) == fps
    assert info.frames == 5


@pytest.mark.parametrize("mode", ["RGBA", "L", "I;16"])
def test_alpha_grey_and_16_bit_images_are_taken(tmp_path: Path, mode: str):
    images = make_images(tmp_path, range(1, 4), mode="L" if mode == "I;16" else mode)
    if mode == "I;16":
        for frame, path in images:
            Image.new("I;16", (32, 24), 257 * 20 * frame).save(path)
    info = encode_video(images, tmp_path / "out.mp4", fps=FPS, expected_frames=[1, 2, 3])
    shades = brightness(info.path)
    assert all(abs(shade - 20 * frame) <= 12 for frame, shade in enumerate(shades, start=1))


def test_a_float_fps_is_the_decimal_that_was_written(tmp_path: Path):
    images = make_images(tmp_path, range(1, 4))
    fps = JobSettings(fps=23.976).frames_per_second
    info = encode_video(images, tmp_path / "OUT.MP4", fps=fps, expected_frames=[1, 2, 3])
    assert info.fps == Fraction(23976, 1000)
    [stream] = ffmpeg.probe(str(info.path))["streams"]
    assert Fraction(stream["avg_frame_rate"]) == info.fps


def test_odd_file_names_are_no_matter(tmp_path: Path):
    images = make_images(tmp_path / 'it\'s a "%03d" földer*', range(1, 4))
    info = encode_video(images, tmp_path / "o'ut %d.mp4", fps=FPS, expected_frames=[1, 2, 3])
    assert info.frames == 3


def test_a_gap_is_an_error_that_names_the_frames_unless_allowed(tmp_path: Path):
    images = [pair for pair in make_images(tmp_path, range(1, 11)) if pair[0] not in (3, 7, 8)]
    target = tmp_path / "out.mp4"
    with pytest.raises(VideoError, match="missing: 3, 7-8"):
        encode_video(images, target, fps=FPS, expected_frames=range(1, 11))
    assert not target.exists()
    info = encode_video(
        images, target, fps=FPS, expected_frames=range(1, 11), allow_missing_frames=True
    )
    assert info.frames == 7


def test_a_truncated_image_is_an_error_that_names_the_frame(tmp_path: Path):
    images = make_images(tmp_path, range(1, 6), size=(200, 200))
    broken = images[2][1]
    broken.write_bytes(broken.read_bytes()[:-40])
    with pytest.raises(VideoError, match="frame 3 is not a whole image"):
        encode_video(images, tmp_path / "out.mp4", fps=FPS, expected_frames=range(1, 6))


def test_an_image_cut_or_changed_at_any_byte_is_found(tmp_path: Path):
    [(_, path)] = make_images(tmp_path, range(1, 2), size=(4, 3))
    whole = path.read_bytes()
    damaged = [whole[:length] for length in range(len(whole))]
    damaged += [
        whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :] for at in range(len(whole))
    ]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(VideoError, match="frame 1 is not a whole image"):
            encode_video([(1, path)], tmp_path / "out.mp4", fps=FPS, expected_frames=[1])


def test_an_image_that_is_gone_is_an_error_that_names_the_frame(tmp_path: Path):
    images = make_images(tmp_path, range(1, 4))
    images[1][1].unlink()
    with pytest.raises(VideoError, match="frame 2 is not a whole image"):
        encode_video(images, tmp_path / "out.mp4", fps=FPS, expected_frames=[1, 2, 3])


def test_an_image_of_another_size_is_an_error_that_names_the_frame(tmp_path: Path):
    images = make_images(tmp_path, range(1, 4))
    make_images(tmp_path, range(2, 3), size=(64, 24))
    with pytest.raises(VideoError, match="frame 2 is 64x24 pixels, the first 32x24"):
        encode_video(images, tmp_path / "out.mp4", fps=FPS, expected_frames=[1, 2, 3])


def test_no_frames_and_doubled_frames_are_errors(tmp_path: Path):
    with pytest.raises(VideoError, match="no frames"):
        encode_video([], tmp_path / "out.mp4", fps=FPS, expected_frames=[])
    images = make_images(tmp_path, range(1, 3))
    with pytest.raises(VideoError, match="twice: 2"):
        encode_video([*images, images[1]], tmp_path / "out.mp4", fps=FPS, expected_frames=[1, 2])


def test_an_unknown_ending_names_the_known_ones(tmp_path: Path):
    with pytest.raises(InputError, match="'avi' is not known: mp4, webm, gif, mov, mkv"):
        encode_video([], tmp_path / "out.avi", fps=FPS, expected_frames=[])


def test_a_gif_that_is_too_fast_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="at most 50"):
        encode_video([], tmp_path / "out.gif", fps=Fraction(60), expected_frames=[])


def test_ffmpegs_own_words_are_in_the_error(tmp_path: Path):
    # H.264 levels end far below this size: libx264 refuses it.
    images = make_images(tmp_path, range(1, 2), size=(20_000, 2))
    with pytest.raises(VideoError, match=r"ffmpeg failed .*\n?.*(libx264|x264|width|dimension)"):
        encode_video(images, tmp_path / "out.mp4", fps=FPS, expected_frames=[1])
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("ending", FORMATS)
def test_a_video_that_cannot_be_written_is_named(tmp_path: Path, ending: str):
    storage = segment_store(tmp_path).storage
    storage.write(f"out.{ending}/in-the-way", b"")
    Image.new("RGB", (32, 24)).save(tmp_path / "1.png")
    with pytest.raises(StorageError, match=rf"cannot write out\.{ending} in .*directory"):
        encode_video(
            [(1, tmp_path / "1.png")], tmp_path / f"out.{ending}", fps=FPS, expected_frames=[1]
        )
    assert [path.name for path in tmp_path.iterdir()] == ["1.png"]


def test_a_failed_encode_leaves_the_video_that_was_there(tmp_path: Path):
    target = tmp_path / "out.mp4"
    storage = segment_store(tmp_path).storage
    storage.write("out.mp4", b"yesterday's")
    images = make_images(tmp_path, range(1, 2), size=(20_000, 2))
    with pytest.raises(VideoError, match="ffmpeg failed"):
        encode_video(images, target, fps=FPS, expected_frames=[1])
    assert storage.read("out.mp4") == b"yesterday's"


def test_an_error_in_the_progress_callback_ends_ffmpeg_and_comes_through(tmp_path: Path):
    def fail(done: int, total: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        encode_video(
            many_images(tmp_path / "in"),
            tmp_path / "out.mp4",
            fps=FPS,
            expected_frames=[],
            on_progress=fail,
        )
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert half_made(tmp_path) == []
    assert processes_about(tmp_path) == []


def test_cancelling_works_while_the_program_says_nothing():
    cancelled = threading.Event()
    threading.Timer(0.2, cancelled.set).start()
    with pytest.raises(VideoError, match="cancelled"):
        ffmpeg_process.run(["sleep", "600"], on_line=lambda line: None, cancelled=cancelled)


ENCODE_FOR_LONG = """
import sys
from fractions import Fraction
from pathlib import Path
from tests.integration.test_video import many_images
from tests.integration.video_files import encode_video

folder = Path(sys.argv[1])
encode_video(
    many_images(folder / "in"), folder / "out.mp4", fps=Fraction(10), expected_frames=[],
    on_progress=lambda done, total: print("encoding", flush=True),
)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_ffmpeg_ends_with_the_process_that_started_it(tmp_path: Path, how: signal.Signals):
    if how == signal.SIGKILL and shutil.which("setpriv") is None:
        pytest.skip("no setpriv (util-linux)")
    program = subprocess.Popen(
        [sys.executable, "-c", ENCODE_FOR_LONG, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, MARK: str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert program.stdout.readline() == b"encoding\n"
    assert len(processes_about(tmp_path)) >= 2
    program.send_signal(how)
    _, words = program.communicate()
    # The kernel's signal to ffmpeg and its end are not the same moment.
    for _ in range(100):
        if not processes_about(tmp_path):
            break
        time.sleep(0.1)
    assert processes_about(tmp_path) == []
    if how == signal.SIGINT:
        assert b"KeyboardInterrupt" in words
        assert [path.name for path in tmp_path.iterdir()] == ["in"]
        assert half_made(tmp_path) == []


def test_a_cancelled_encode_leaves_no_process_and_no_file(tmp_path: Path):
    cancelled = threading.Event()
    with pytest.raises(VideoError, match="cancelled"):
        encode_video(
            many_images(tmp_path / "in"),
            tmp_path / "out.mp4",
            fps=FPS,
            expected_frames=[],
            on_progress=lambda done, total: cancelled.set(),
            cancelled=cancelled,
        )
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert half_made(tmp_path) == []
    assert processes_about(tmp_path) == []


def test_missing_ffmpeg_is_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=r"ffmpeg is not on PATH: install"):
        encode_video([], tmp_path / "out.mp4", fps=FPS, expected_frames=[])
