"""Videos by real ffmpeg have exactly the frames that were meant, in order, or are an error."""

from __future__ import annotations

import subprocess
import threading
from fractions import Fraction
from pathlib import Path

import ffmpeg
import pytest
from PIL import Image

from povstorm_client import InputError, ToolError, VideoError
from tasks.video import encode_video

FPS = Fraction(10)


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


@pytest.mark.parametrize(
    ("ending", "codec"),
    [
        ("mp4", "h264"),
        ("mkv", "h264"),
        ("webm", "vp9"),
        ("mov", "prores"),
        ("gif", "gif"),
    ],
)
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
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_odd_sizes_are_padded_and_pixels_are_yuv420p(tmp_path: Path):
    images = make_images(tmp_path, range(1, 4), size=(33, 25))
    info = encode_video(images, tmp_path / "out.mp4", fps=FPS, expected_frames=[1, 2, 3])
    assert (info.width, info.height) == (34, 26)
    [stream] = ffmpeg.probe(str(info.path))["streams"]
    assert stream["pix_fmt"] == "yuv420p"


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
    with pytest.raises(InputError, match=r"\.webm"):
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


def test_a_cancelled_encode_leaves_no_process_and_no_file(tmp_path: Path):
    images = make_images(tmp_path / "in", range(1, 13), size=(1280, 720)) * 1
    many = [(frame + 12 * turn, path) for turn in range(40) for frame, path in images]
    cancelled = threading.Event()
    with pytest.raises(VideoError, match="cancelled"):
        encode_video(
            many,
            tmp_path / "out.mp4",
            fps=FPS,
            expected_frames=[],
            on_progress=lambda done, total: cancelled.set(),
            cancelled=cancelled,
        )
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    running = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, check=False)
    assert running.stdout == b""


def test_missing_ffmpeg_is_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=r"ffmpeg is not on PATH: install"):
        encode_video([], tmp_path / "out.mp4", fps=FPS, expected_frames=[])
