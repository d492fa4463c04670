"""How long a video takes after the last frame: one ffmpeg over all frames, and povstorm's segments.

``python -m benchmarks.video_tail [--frames 240] [--size 1280x720]`` encodes frames in which a
textured ground passes and things move over it. "Ahead" is what is left to do where all frames but
those of the last segment were there before; "joined" where those were too, as on Cloud Run.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from povstorm_client.programs.tools import require_ffmpeg
from povstorm_client.storage.checksum import crc32c
from povstorm_client.storage.folder import FolderStorage
from render_image.video import ffmpeg_process
from render_image.video.segments import Encoding, FrameImage, most_frames, plan_segments
from render_image.video.stored_segments import SegmentStore
from render_image.video.video_formats import encoding_commands
from tasks.video.encode import encode_video
from tasks.video.segments_ahead import SegmentsAhead

ENDINGS = ("mp4", "webm", "mov")
FPS = Fraction(24)
ROW = "{:<6}{:<34}{:>8}{:>9}{:>10}{:>9}"


def make_frames(folder: Path, count: int, size: tuple[int, int]) -> dict[int, Path]:
    """PNGs of a textured ground that passes, with things that move over it."""
    width, height = size
    noise = Image.effect_noise((width * 2, height), 50).filter(ImageFilter.GaussianBlur(1.5))
    ground = ImageChops.offset(noise, 3).convert("RGB")
    made = {}
    for frame in range(1, count + 1):
        left = frame * 2 % width
        image = ground.crop((left, 0, left + width, height))
        draw = ImageDraw.Draw(image)
        for thing in range(6):
            x, y = (thing * width // 6 + frame * 5) % width, 60 + thing * height // 8
            draw.ellipse((x, y, x + height // 6, y + height // 6), fill=(40 * thing, 200, 90))
        made[frame] = folder / f"frame_{frame}.png"
        image.save(made[frame], compress_level=1)
    return made


def timed(work: Callable[[], object]) -> float:
    """The seconds that it takes."""
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


def single_pass(frames: dict[int, Path], target: Path, size: tuple[int, int]) -> None:
    """One ffmpeg with as many threads as it likes, its frames counted."""
    ffmpeg, ffprobe = require_ffmpeg()
    [command] = encoding_commands(target, fps=FPS, has_alpha=False, size=size, program=ffmpeg)
    threads = command.index("-threads", command.index("pipe:0"))
    del command[threads : threads + 2]
    never = threading.Event()
    contents = (path.read_bytes() for path in frames.values())
    with target.open("wb") as file:

        def take(piece: bytes) -> None:
            file.write(piece)

        ffmpeg_process.run(command, contents=contents, on_data=take, cancelled=never)
    ffmpeg_process.run([ffprobe, "-v", "error", "-count_frames", str(target)], cancelled=never)


def compare(folder: Path, frames: dict[int, Path], ending: str, size: tuple[int, int]) -> None:
    """Print the rows of one format."""
    images = {n: FrameImage(n, path, crc32c(path)) for n, path in frames.items()}
    storage = FolderStorage(folder / f"storage-{ending}")
    store = SegmentStore(storage, "segments")
    key = f"video.{ending}"

    def joined(ahead: SegmentsAhead | None) -> None:
        encode_video(
            list(frames.items()),
            store,
            key,
            fps=FPS,
            expected_frames=list(frames),
            checksums={n: image.crc32c for n, image in images.items()},
            ready=None if ahead is None else ahead.stop(),
        )

    single = folder / f"single.{ending}"
    whole = timed(lambda: single_pass(frames, single, size))

    def row(name: str, seconds: float, video: Path) -> None:
        made = video.stat().st_size
        share = made / single.stat().st_size
        words = (f"{seconds:.2f}", f"{seconds / whole:.2f}", f"{made / 1e6:.2f}", f"{share:.2f}")
        print(ROW.format(ending, name, *words), flush=True)

    row("one ffmpeg, all threads", whole, single)
    row("segments, none ahead", timed(lambda: joined(None)), storage.path(key))
    encoding = Encoding.of(Path(key), FPS, "")
    plan = plan_segments(list(frames), most_frames(size[0] * size[1], encoding))
    for left in (plan[-1], ()):
        ahead = SegmentsAhead(plan, store, encoding, print)
        try:
            for frame in frames:
                if frame not in left:
                    ahead.frame_is_final(frame, images[frame])
            wanted = len(plan) - bool(left)
            while len(ahead.ready()) < wanted or not all(
                future.done() for future in ahead.ready().values()
            ):
                time.sleep(0.05)
            seconds = timed(partial(joined, ahead))
            name = f"segments, all but {len(left)} frames ahead" if left else "segments, joined"
            row(name, seconds, storage.path(key))
        finally:
            ahead.close()


def main() -> None:
    """Compare the formats on frames of one size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--video", choices=ENDINGS, action="append")
    chosen = parser.parse_args()
    width, height = (int(part) for part in chosen.size.split("x"))
    print(f"{chosen.frames} frames of {chosen.size}")
    print(ROW.format("", "", "seconds", "to one", "MB", "to one"))
    with tempfile.TemporaryDirectory(prefix="povstorm-video-tail-") as name:
        (Path(name) / "frames").mkdir()
        frames = make_frames(Path(name) / "frames", chosen.frames, (width, height))
        for ending in chosen.video or ENDINGS:
            compare(Path(name), frames, ending, (width, height))


if __name__ == "__main__":
    main()
