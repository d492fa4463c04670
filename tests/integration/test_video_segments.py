"""A video joined of segments is what a single pass makes, whenever they were made."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import ffmpeg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from povstorm_client import VideoError
from povstorm_client.frames.video_options import VideoOptions
from povstorm_client.programs.tools import require_ffmpeg
from povstorm_client.storage.checksum import crc32c
from render_image.video import ffmpeg_process
from render_image.video.segments import Encoding, FrameImage, most_frames, plan_segments
from render_image.video.stored_segments import SegmentStore
from render_image.video.video_formats import encoding_commands
from tasks.video import encode
from tasks.video.segments_ahead import SegmentsAhead
from tests.integration.test_video import many_images
from tests.integration.video_files import (
    MARK,
    encode_video,
    half_made,
    kept,
    processes_about,
    segment_store,
)

ENDINGS = ["mp4", "mkv", "webm", "mov"]
# More than one segment: the last 6 of 20 have their own.
FRAMES = range(1, 21)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    return moving_images(tmp_path_factory.mktemp("frames"))


def moving_images(folder: Path) -> dict[int, Path]:
    """FRAMES of something that moves over something that does not."""
    # The same each time: of some noise a segment looks better by chance, or worse.
    noise = random.Random(1)  # noqa: S311 - not for cryptography
    ground = Image.new("L", (96, 64))
    ground.putdata([min(255, max(0, round(noise.gauss(128, 60)))) for _ in range(96 * 64)])
    ground = ground.convert("RGB")
    made = {}
    for frame in FRAMES:
        image = ground.copy()
        ImageDraw.Draw(image).ellipse((4 * frame, 10, 4 * frame + 20, 40), fill=(250, 9 * frame, 0))
        made[frame] = folder / f"frame_{frame}.png"
        image.save(made[frame])
    return made


def encoded(
    images: dict[int, Path],
    target: Path,
    *,
    fps: Fraction = Fraction(24),
    ahead: object = None,
    options: VideoOptions | None = None,
) -> bytes:
    """The bytes of a video of these images; of FRAMES, the others are missing."""
    info = encode_video(
        list(images.items()),
        target,
        fps=fps,
        options=options,
        expected_frames=FRAMES,
        allow_missing_frames=True,
        checksums={frame: crc32c(path) for frame, path in images.items()},
        ready=ahead.stop() if isinstance(ahead, SegmentsAhead) else None,
    )
    assert info.frames == len(images)
    assert info.seconds == pytest.approx(len(images) / fps, abs=0.002)
    return target.read_bytes()


@contextmanager
def segments_ahead(
    target: Path, fps: Fraction = Fraction(24), options: VideoOptions | None = None
) -> Iterator[SegmentsAhead]:
    """What encodes a video of FRAMES ahead; it meets no trouble."""
    troubles: list[Exception] = []
    store = segment_store(target.parent)
    encoding = Encoding.of(target, fps, "retry", options)
    ahead = SegmentsAhead(plan_segments(FRAMES), store, encoding, troubles.append)
    try:
        yield ahead
    finally:
        ahead.close()
    assert troubles == []


def told(ahead: SegmentsAhead, images: dict[int, Path], frames: list[int]) -> None:
    """Tell of frames, in this order; those without an image have failed."""
    for frame in frames:
        path = images.get(frame)
        ahead.frame_is_final(frame, FrameImage(frame, path, crc32c(path)) if path else None)


def all_encoded(ahead: SegmentsAhead) -> int:
    """How many segments there are, once all of them are encoded."""
    while len(ahead.ready()) < len(plan_segments(FRAMES)):
        time.sleep(0.01)
    return len([future.result() for future in ahead.ready().values()])


def single_pass(
    images: dict[int, Path], target: Path, fps: Fraction, options: VideoOptions | None = None
) -> None:
    """All images by one ffmpeg, into a whole file of its own making."""
    ffmpeg_path, _ = require_ffmpeg()
    [command] = encoding_commands(
        target,
        fps=fps,
        has_alpha=False,
        size=(96, 64),
        program=ffmpeg_path,
        options=options,
    )
    for option in ("-f", "-movflags"):
        if option in command[command.index("pipe:0") :]:
            at = command.index(option, command.index("pipe:0"))
            del command[at : at + 2]
    command[command.index("pipe:1")] = str(target)
    ffmpeg_process.run(
        command,
        contents=[path.read_bytes() for path in images.values()],
        cancelled=threading.Event(),
    )


def times(video: Path) -> list[float]:
    """When each frame of a video is shown, in seconds."""
    packets = ffmpeg.probe(str(video), show_packets=None)["packets"]
    return sorted(float(packet["pts_time"]) for packet in packets)


def pixels(video: Path) -> list[bytes]:
    """Each frame's decoded pixels."""
    out, _ = (
        ffmpeg.input(str(video))
        .output("pipe:", format="rawvideo", pix_fmt="rgb24", fps_mode="passthrough")
        .run(capture_stdout=True, quiet=True)
    )
    return [out[at : at + 96 * 64 * 3] for at in range(0, len(out), 96 * 64 * 3)]


def squared_error(images: dict[int, Path], video: Path) -> float:
    """The mean squared difference of a video's pixels from its images'."""
    wanted = [Image.open(path).convert("RGB").tobytes() for path in images.values()]
    found = pixels(video)
    assert len(found) == len(wanted)
    differences = [
        (a - b) ** 2
        for one, other in zip(wanted, found, strict=True)
        for a, b in zip(one, other, strict=True)
    ]
    return sum(differences) / len(differences)


@pytest.mark.parametrize("fps", [Fraction(24), Fraction(2997, 125), Fraction(16), Fraction(1, 2)])
@pytest.mark.parametrize("ending", ENDINGS)
def test_every_frame_is_shown_when_a_single_pass_shows_it(
    ending: str, fps: Fraction, images: dict[int, Path], tmp_path: Path
):
    single_pass(images, tmp_path / f"single.{ending}", fps)
    encoded(images, tmp_path / f"joined.{ending}", fps=fps)

    assert times(tmp_path / f"joined.{ending}") == times(tmp_path / f"single.{ending}")


@pytest.mark.parametrize("ending", ENDINGS)
def test_it_looks_as_a_single_pass_does(ending: str, images: dict[int, Path], tmp_path: Path):
    single_pass(images, tmp_path / f"single.{ending}", Fraction(24))
    encoded(images, tmp_path / f"joined.{ending}")

    single = squared_error(images, tmp_path / f"single.{ending}")
    # 0.2 dB
    assert squared_error(images, tmp_path / f"joined.{ending}") < 1.05 * single + 0.1


@pytest.mark.parametrize("ending", ENDINGS)
def test_made_while_frames_render_it_has_the_same_bytes(
    ending: str, images: dict[int, Path], tmp_path: Path
):
    at_the_end = encoded(images, tmp_path / f"end.{ending}")
    with segments_ahead(tmp_path / f"ahead.{ending}") as ahead:
        told(ahead, images, list(FRAMES))
        assert all_encoded(ahead) == 2
        assert encoded(images, tmp_path / f"ahead.{ending}", ahead=ahead) == at_the_end


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    ending=st.sampled_from(["mp4", "mkv"]),
    missing=st.sets(st.sampled_from(FRAMES), max_size=19),
    order=st.permutations(FRAMES),
    first_told=st.integers(0, len(FRAMES)),
)
def test_whatever_is_missing_and_whatever_order_frames_come_in_it_has_the_same_bytes(
    ending: str,
    missing: set[int],
    order: list[int],
    first_told: int,
    images: dict[int, Path],
    tmp_path: Path,
):
    found = {frame: path for frame, path in images.items() if frame not in missing}
    video = tmp_path / f"ahead.{ending}"
    at_the_end = encoded(found, tmp_path / f"end.{ending}")

    with segments_ahead(video) as ahead:
        told(ahead, found, order[:first_told])
        assert encoded(found, video, ahead=ahead) == at_the_end
    # Matroska has milliseconds.
    shown = [pytest.approx(number / 24, abs=0.0006) for number in range(len(found))]
    assert times(video) == shown


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("lengths", [(1, 1), (1, 6), (2, 6), (14, 1)])
def test_segments_of_any_length_are_joined(
    ending: str, lengths: tuple[int, int], images: dict[int, Path], tmp_path: Path
):
    frames = [*range(1, 1 + lengths[0]), *range(15, 15 + lengths[1])]
    encoded({frame: images[frame] for frame in frames}, tmp_path / f"joined.{ending}")

    shown = [pytest.approx(number / 24, abs=0.0006) for number in range(sum(lengths))]
    assert times(tmp_path / f"joined.{ending}") == shown
    assert len(pixels(tmp_path / f"joined.{ending}")) == sum(lengths)


def test_a_frame_that_is_told_again_or_is_none_of_the_videos_changes_nothing(
    images: dict[int, Path], tmp_path: Path
):
    with segments_ahead(tmp_path / "ahead.mp4") as ahead:
        told(ahead, images, [*FRAMES, 3, 99])
        assert all_encoded(ahead) == 2


def test_a_transparent_frame_late_in_it_makes_all_of_it_transparent(
    images: dict[int, Path], tmp_path: Path
):
    Image.new("RGBA", (96, 64), (0, 0, 0, 0)).save(tmp_path / "late.png")
    found = {**images, 20: tmp_path / "late.png"}
    at_the_end = encoded(found, tmp_path / "end.mov")
    with segments_ahead(tmp_path / "ahead.mov") as ahead:
        told(ahead, found, list(FRAMES))
        assert all_encoded(ahead) == 2
        assert encoded(found, tmp_path / "ahead.mov", ahead=ahead) == at_the_end
    [stream] = ffmpeg.probe(str(tmp_path / "ahead.mov"))["streams"]
    assert stream["pix_fmt"].startswith("yuva")


def test_an_image_that_changed_since_it_was_encoded_ahead_is_not_in_the_video(
    images: dict[int, Path], tmp_path: Path
):
    changed = {**images, 5: images[6]}
    with segments_ahead(tmp_path / "ahead.mp4") as ahead:
        told(ahead, images, list(FRAMES))
        assert all_encoded(ahead) == 2
        video = encoded(changed, tmp_path / "ahead.mp4", ahead=ahead)
    assert video == encoded(changed, tmp_path / "end.mp4")


def test_what_fails_ahead_is_told_once_and_at_the_end_as_ever(
    images: dict[int, Path], tmp_path: Path
):
    (tmp_path / "broken.png").write_bytes(images[17].read_bytes()[:-40])
    found = {**images, 17: tmp_path / "broken.png"}
    troubles: list[Exception] = []
    met = threading.Event()

    def on_trouble(error: Exception) -> None:
        troubles.append(error)
        met.set()

    encoding = Encoding.of(Path("video.mp4"), Fraction(24), "retry")
    plan = plan_segments(FRAMES)
    ahead = SegmentsAhead(plan, segment_store(tmp_path), encoding, on_trouble)
    try:
        told(ahead, found, list(FRAMES))
        met.wait()
        assert ahead.stop() == {}
        with pytest.raises(VideoError, match="frame 17 is not a whole image"):
            encoded(found, tmp_path / "video.mp4", ahead=ahead)
        assert half_made(tmp_path) == []
    finally:
        ahead.close()
    assert ["frame 17 is not a whole image" in str(error) for error in troubles] == [True]


def test_closing_it_ends_ffmpeg_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(MARK, str(tmp_path))
    long = dict(many_images(tmp_path / "in"))
    encoding = Encoding.of(Path("video.mp4"), Fraction(24), "retry")
    plan = plan_segments(sorted(long))
    ahead = SegmentsAhead(plan, segment_store(tmp_path), encoding, lambda error: None)
    for frame, path in long.items():
        ahead.frame_is_final(frame, FrameImage(frame, path, crc32c(path)))
    while not processes_about(tmp_path):
        time.sleep(0.01)
    ahead.close()

    assert processes_about(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert half_made(tmp_path) == []


def test_large_images_have_the_same_shorter_segments_ahead_and_in_the_end(tmp_path: Path):
    # Grey, of which only encoding would take long.
    frames, size = range(1, 76), (1920, 1080)
    paths = {frame: tmp_path / f"{frame}.png" for frame in frames}
    for frame, path in paths.items():
        Image.new("L", size, 3 * frame).save(path, compress_level=1)
    images = {frame: FrameImage(frame, path, crc32c(path)) for frame, path in paths.items()}
    encoding = Encoding.of(Path("video.mp4"), Fraction(24), "retry")
    plan = plan_segments(frames, most_frames(size[0] * size[1], encoding))
    assert len(plan[0]) < len(plan_segments(frames)[0])
    ahead = SegmentsAhead(plan, segment_store(tmp_path), encoding, lambda error: None)
    try:
        for frame, image in images.items():
            ahead.frame_is_final(frame, image)
        while len(ahead.ready()) < len(plan):
            time.sleep(0.01)
        for encoded_ahead in ahead.ready().values():
            encoded_ahead.result()
        for path in list(paths.values())[1:]:
            # Whatever was not encoded ahead, cannot be in the end.
            path.unlink()
        info = encode_video(
            list(paths.items()),
            tmp_path / "video.mp4",
            fps=Fraction(24),
            expected_frames=frames,
            checksums={frame: image.crc32c for frame, image in images.items()},
            ready=ahead.stop(),
        )
    finally:
        ahead.close()
    assert info.frames == len(frames)


@pytest.mark.parametrize("ending", ENDINGS)
def test_another_run_of_the_job_that_is_done_first_costs_its_segments_only(
    ending: str, images: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first = encoded(images, tmp_path / f"first.{ending}")
    join = encode.join_segments
    joins = []

    def emptied_once(segments, store: SegmentStore, key: str, encoding, *, cancelled):
        joins.append(key)
        if len(joins) == 1:
            store.clear()
        return join(segments, store, key, encoding, cancelled=cancelled)

    monkeypatch.setattr(encode, "join_segments", emptied_once)
    assert encoded(images, tmp_path / f"second.{ending}") == first
    assert len(joins) == 2


def test_a_lost_part_of_a_segment_is_found_and_the_segment_encoded_again(
    images: dict[int, Path], tmp_path: Path
):
    at_the_end = encoded(images, tmp_path / "end.mp4")
    with segments_ahead(tmp_path / "ahead.mp4") as ahead:
        told(ahead, images, list(FRAMES))
        assert all_encoded(ahead) == 2
        store = segment_store(tmp_path)
        (part, *_) = [key for key in kept(store) if not key.endswith(".json")]
        store.storage.remove(part)
        assert encoded(images, tmp_path / "ahead.mp4", ahead=ahead) == at_the_end


def test_what_a_killed_run_has_encoded_is_taken_by_the_next(
    images: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    at_the_end = encoded(images, tmp_path / "end.mp4")
    with segments_ahead(tmp_path / "video.mp4") as ahead:
        told(ahead, images, list(FRAMES))
        assert all_encoded(ahead) == 2
    commands: list[list[str]] = []
    run = ffmpeg_process.run
    monkeypatch.setattr(
        ffmpeg_process,
        "run",
        lambda command, **rest: (commands.append(command), run(command, **rest)),
    )
    assert encoded(images, tmp_path / "video.mp4") == at_the_end
    assert [command for command in commands if "-vcodec" in command] == []


def test_beside_rendering_it_has_the_lower_priority():
    lines: list[str] = []
    ffmpeg_process.run(
        ["nice"], on_line=lines.append, cancelled=threading.Event(), low_priority=True
    )
    assert int(lines[0]) > os.nice(0)
