"""What a flow has left to do for its video when containers have encoded the segments.

``python -m benchmarks.cloud_video_tail [--frames 1000] [--size 1920x1080] [--video mp4]`` stores
the segments as containers do (which is not counted, nor is their start), and then has a process
make the video of them: seconds, CPU seconds, its peak memory, and the most that was in its
temporary folder. Beside it one ffmpeg over all frames, of which ``--single 120`` are run and the
rest are reckoned. The storage is a folder, where a join copies; a bucket composes.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from itertools import cycle, islice
from pathlib import Path

from benchmarks.video_tail import FPS, make_frames, single_pass
from povstorm_client.storage.checksum import crc32c
from povstorm_client.storage.folder import FolderStorage
from render_image.video.segments import (
    Encoding,
    FrameImage,
    encode_segment,
    most_frames,
    plan_segments,
)
from render_image.video.stored_segments import SegmentStore
from tasks.video.encode import encode_video

# So many different frames, over and over: all segments but the last have the same.
DISTINCT = 120
ROW = "{:<34}{:>9}{:>9}{:>12}{:>12}{:>10}"


def shown(folder: Path, count: int, size: tuple[int, int]) -> dict[int, Path]:
    """The frames: few files, each shown again and again."""
    files = [folder / f"frame_{number}.png" for number in range(1, DISTINCT + 1)]
    if not files[0].exists():
        make_frames(folder, DISTINCT, size)
    return dict(enumerate(islice(cycle(files), count), start=1))


def stitch(folder: Path, frames: dict[int, Path], key: str) -> None:
    """Make the video, of what segments there are."""
    sums = {path: crc32c(path) for path in set(frames.values())}
    encode_video(
        list(frames.items()),
        SegmentStore(FolderStorage(folder / "storage"), "segments"),
        key,
        fps=FPS,
        expected_frames=list(frames),
        checksums={frame: sums[path] for frame, path in frames.items()},
    )


def encode_all(folder: Path, frames: dict[int, Path], key: str, pixels: int) -> None:
    """What containers do."""
    store = SegmentStore(FolderStorage(folder / "storage"), "segments")
    encoding = Encoding.of(Path(key), FPS, "")
    sums = {path: crc32c(path) for path in set(frames.values())}
    for segment in plan_segments(list(frames), most_frames(pixels, encoding)):
        images = [FrameImage(frame, frames[frame], sums[frames[frame]]) for frame in segment]
        encode_segment(images, store, encoding, has_alpha=False, cancelled=threading.Event())


def most_in(folder: Path, ended: threading.Event) -> int:
    """The most bytes that were in a folder at once, until the event."""
    most = 0
    while not ended.wait(0.01):
        sizes = []
        for path in folder.rglob("*"):
            try:
                # Holes take no room.
                sizes.append(path.stat().st_blocks * 512)
            except OSError:
                continue
        most = max(most, sum(sizes))
    return most


def measured(command: list[str], temporary: Path) -> tuple[float, float, float, float]:
    """Seconds, CPU seconds, peak MiB of a process or one of its own, MiB on disk of a command."""
    ended = threading.Event()
    found: list[int] = []
    watch = threading.Thread(target=lambda: found.append(most_in(temporary, ended)))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    watch.start()
    begin = time.monotonic()
    subprocess.run(command, check=True, env={**os.environ, "TMPDIR": str(temporary)})
    seconds = time.monotonic() - begin
    ended.set()
    watch.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu, after.ru_maxrss / 1024, found[0] / 2**20


def main() -> None:
    """Compare the tail with one ffmpeg."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--size", default="1920x1080")
    parser.add_argument("--video", choices=("mp4", "mov", "mkv", "webm"), default="mp4")
    parser.add_argument("--single", type=int, default=DISTINCT)
    parser.add_argument("--do", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    width, height = (int(part) for part in chosen.size.split("x"))
    key = f"video.{chosen.video}"
    if chosen.do:
        what, where = chosen.do
        frames = shown(Path(where) / "frames", chosen.frames, (width, height))
        if what == "stitch":
            stitch(Path(where), frames, key)
        else:
            target = Path(where) / f"single.{chosen.video}"
            single_pass(dict(list(frames.items())[: chosen.single]), target, (width, height))
        return
    print(f"{chosen.frames} frames of {chosen.size}, {chosen.video}")
    print(ROW.format("", "seconds", "CPU s", "peak MiB", "disk MiB", "MB"))
    with tempfile.TemporaryDirectory(prefix="povstorm-tail-") as name:
        folder = Path(name)
        (folder / "frames").mkdir()
        (folder / "temporary").mkdir()
        frames = shown(folder / "frames", chosen.frames, (width, height))
        encode_all(folder, frames, key, width * height)
        given = [f"--frames={chosen.frames}", f"--size={chosen.size}", f"--video={chosen.video}"]
        given.append(f"--single={chosen.single}")
        for what, words in (("stitch", "the flow: segments joined"), ("single", "one ffmpeg")):
            command = [sys.executable, "-m", "benchmarks.cloud_video_tail", *given]
            seconds, cpu, peak, disk = measured(
                [*command, "--do", what, name], folder / "temporary"
            )
            factor = chosen.frames / chosen.single if what == "single" else 1.0
            video = folder / ("storage/" + key if what == "stitch" else f"single.{chosen.video}")
            size = video.stat().st_size * factor / 1e6
            numbers = (f"{seconds * factor:.1f}", f"{cpu * factor:.1f}", f"{peak:.0f}")
            print(ROW.format(words, *numbers, f"{disk:.1f}", f"{size:.1f}"), flush=True)


if __name__ == "__main__":
    main()
