"""Sound beside a video's frames, which stay what they are and decide how long it is."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from povstorm_client import InputError, ToolError
from povstorm_client.programs.tools import require_ffmpeg
from povstorm_client.saving.sound import add_sound, check_sound

ENCODERS = {"mp4": "libx264", "mov": "prores_ks", "mkv": "libx264", "webm": "libvpx-vp9"}
SECONDS = 2


def ffmpeg(*words: str | Path) -> None:
    command = [require_ffmpeg()[0], "-loglevel", "error", "-y", *map(str, words)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def sine(path: Path, seconds: float) -> Path:
    ffmpeg("-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}", path)
    return path


def video(path: Path) -> Path:
    picture = f"testsrc=size=64x48:rate=12:duration={SECONDS}"
    ffmpeg("-f", "lavfi", "-i", picture, "-c:v", ENCODERS[path.suffix[1:]], path)
    return path


def packets(path: Path, kind: str) -> list[dict[str, str]]:
    asked = subprocess.run(
        [
            *(require_ffmpeg()[1], "-v", "error", "-select_streams", kind, "-show_packets"),
            *("-show_data_hash", "sha256", "-of", "json", path),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(asked.stdout)["packets"]


@pytest.mark.parametrize("ending", ENCODERS)
@pytest.mark.parametrize("seconds", [0.5, 5])
def test_the_frames_are_copied_and_the_sound_is_as_long_as_they_are(
    tmp_path: Path, ending: str, seconds: float
):
    made = video(tmp_path / f"a video.{ending}")
    before = [packet["data_hash"] for packet in packets(made, "v")]

    add_sound(made, sine(tmp_path / "tone.wav", seconds), ending)

    assert [packet["data_hash"] for packet in packets(made, "v")] == before
    sound = packets(made, "a")
    assert sound
    assert abs(float(sound[-1]["pts_time"]) - SECONDS) < 0.2
    assert sorted(path.name for path in tmp_path.iterdir()) == [made.name, "tone.wav"]


def test_the_same_sound_twice_gives_the_same_file(tmp_path: Path):
    tone = sine(tmp_path / "tone.wav", 1)
    made = [video(tmp_path / name) for name in ("one.mp4", "two.mp4")]
    for each in made:
        add_sound(each, tone, "mp4")
    assert made[0].read_bytes() == made[1].read_bytes()


def test_what_has_no_sound_is_refused_before_anything_is_rendered(tmp_path: Path):
    (tmp_path / "text.wav").write_text("no sound", "utf-8")
    silent = video(tmp_path / "silent.mp4")
    tone = sine(tmp_path / "tone.wav", 0.2)
    check_sound(tone, "mp4")
    for audio, ending, reason in (
        (tmp_path / "missing.wav", "mp4", "is no file: check the path"),
        (tmp_path / "text.wav", "mp4", "has no sound that ffmpeg can read"),
        (silent, "mp4", "has no sound that ffmpeg can read"),
        (tone, "gif", "a gif has no sound; give --video mp4"),
        (tone, None, "the job makes no video; give --video mp4"),
    ):
        with pytest.raises(InputError, match=reason):
            check_sound(audio, ending)


def test_where_it_cannot_be_done_the_video_stays_as_it_was(tmp_path: Path):
    made = video(tmp_path / "video.mp4")
    before = made.read_bytes()
    with pytest.raises(ToolError, match="cannot be put into the video"):
        add_sound(made, tmp_path / "missing.wav", "mp4")
    assert made.read_bytes() == before
    assert list(tmp_path.iterdir()) == [made]
