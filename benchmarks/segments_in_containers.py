"""What a user waits for after the last frame of a video on Cloud Run, on a virtual clock.

``python -m benchmarks.segments_in_containers [--frames 1000] [--seconds 10] [--size 1920x1080]``.
The dispatchers and planners of frames and segments are the real ones; Cloud Run is simulated, with
an instance's start of 10 s, a vCPU's time for each frame and segment, and quotas. What storage and
Admin API take is left out, as is the join, and what the flow encodes takes it a vCPU.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from benchmarks.simulated_cloud_run import MemoryStorage, SimulatedCloudRun
from benchmarks.virtual_time import run_in_virtual_time
from povstorm_client import RenderSettings, WorkUnit
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.given_segments import look_for
from povstorm_client.cloud_run.stored_plan import read_plan
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob
from povstorm_client.cloud_run.wave_share import SegmentWork, read_share
from povstorm_client.frames.job_settings import PREFERENCES
from povstorm_client.frames.result import FrameResult
from povstorm_client.storage import layout
from render_image.video.encode_share import LOOK_SECONDS
from render_image.video.segments import (
    MOST_FRAMES,
    Encoding,
    FrameImage,
    StoredImage,
    most_frames,
    plan_segments,
    segment_name,
)
from render_image.video.stored_segments import SegmentStore, StoredSegment
from render_image.video.video_formats import cost_of
from tasks.renderers.cloud_run.cloud_run_renderer import CloudRunRenderer
from tasks.video.cloud_run.rendering_rest import RenderingRest
from tasks.video.cloud_run.segment_dispatcher import SegmentDispatcher, SegmentPace
from tasks.video.cloud_run.segment_queue import SegmentQueue

JOB = "benchmark-1"
STARTUP_SECONDS = 10.0
MEMORY_MIB = 2048
ENCODING = Encoding(Path("video.mp4"), Fraction(24), "", "ffmpeg", "ffprobe")
ROW = "{:<51}{:>9}{:>16}{:>9}{:>8}"


@dataclass(frozen=True)
class Film:
    """frames of a size in pixels, rendered at_once; seconds_of: what each takes a vCPU."""

    frames: range
    size: tuple[int, int]
    at_once: int
    seconds_of: Callable[[int], float]

    @property
    def pixels(self) -> int:
        """Of a frame."""
        return self.size[0] * self.size[1]


class Containers(SimulatedCloudRun):
    """Those that encode take a vCPU's time and store what says that they have encoded."""

    def __init__(self, storage: MemoryStorage, film: Film, quota: int) -> None:
        super().__init__(
            storage,
            parallelism=quota,
            startup_seconds=STARTUP_SECONDS,
            seconds_of=film.seconds_of,
        )
        self._film = film

    async def encode(self, wave: str, task: int) -> None:
        """Encode a task's share, or what it is given."""
        share = read_share(self._storage, wave, task)
        for work in share.segments:
            await self._encode(work)
        number, clock = 0, asyncio.get_running_loop().time
        deadline = clock() + (share.patience or 0.0)
        while clock() < deadline:
            gift = look_for(self._storage, wave, task, number)
            if gift == "not yet":
                await asyncio.sleep(LOOK_SECONDS)
                continue
            if gift.segment is None:
                return
            began = clock()
            await self._encode(gift.segment)
            number, deadline = number + 1, deadline + clock() - began

    async def _encode(self, work: SegmentWork) -> None:
        width, height = self._film.size
        await asyncio.sleep(seconds(len(work.images), self._film.pixels))
        images = [
            FrameImage(image.frame, StoredImage(self._storage, image.key), image.crc32c)
            for image in work.images
        ]
        name = segment_name(images, ENCODING, has_alpha=False)
        stored = StoredSegment(
            name, len(images), width, height, "h264", has_alpha=False, some_have_alpha=False,
            ffmpeg="", parts=(), table=None,
        )  # fmt: skip
        SegmentStore(self._storage, layout.segments(JOB)).commit(stored)


def seconds(frames: int, pixels: int) -> float:
    """What encoding so many frames takes a vCPU."""
    return frames * pixels * cost_of(ENCODING.ending, ENCODING.options)[1]


@dataclass(frozen=True)
class Tail:
    """Seconds from the last frame to the last segment; the waves of segments: tasks, and USD."""

    seconds: float
    tasks: list[int]
    usd: float


async def render(film: Film, quota: int, prefer: str, most: int, *, ahead: bool) -> Tail:
    """One film; most: frames of a segment; ahead: whether containers are started ahead of them."""
    loop = asyncio.get_running_loop()
    storage = MemoryStorage(loop.time)
    api = Containers(storage, film, quota)
    job = CloudRunJob("render", 1.0, MEMORY_MIB, film.at_once, 0, 3600)
    # As an earlier run has told.
    known = film.seconds_of(1)
    fleet = CloudRunFleet("project", "region", (job,), lean=prefer, seconds_per_frame=known)
    store = SegmentStore(storage, layout.segments(JOB))
    queue, rest = SegmentQueue(plan_segments(film.frames, most), store, ENCODING), RenderingRest()
    # Else none is due.
    pace = SegmentPace() if ahead else SegmentPace(worth_ahead=float("inf"))
    dispatcher = SegmentDispatcher(
        queue, rest, film.pixels, storage, JOB, fleet, ENCODING, lambda: api,
        logging.getLogger(), lambda line: None, retries=3, pace=pace,
    )  # fmt: skip
    last = 0.0

    def on_final(result: FrameResult) -> None:
        nonlocal last
        last = max(last, result.ended)
        image = StoredImage(storage, f"{layout.output(JOB)}/{result.image}")
        rest.frame_took(result.ended - result.started, loop.time())
        # Each another picture.
        queue.frame_is_final(result.frame, FrameImage(result.frame, image, str(result.frame)))

    async def encode() -> None:
        while not queue.is_stopped or queue.pending() or not dispatcher.is_idle:
            await asyncio.sleep(pace.poll)
            await dispatcher.start_due()
            await dispatcher.look()

    encoding = asyncio.create_task(encode())
    settings = RenderSettings("scene.pov", *film.size, final_frame=film.frames[-1])
    units = [
        WorkUnit(settings, frame).assigned(
            job_id=JOB, shared_prefix="", offload_prefix=layout.output(JOB)
        )
        for frame in film.frames
    ]
    async with CloudRunRenderer(storage, JOB, fleet, api) as renderer:
        rendering = renderer.begin(units, final_attempt=False)
        for future in rendering:
            future.add_done_callback(lambda done: on_final(done.result()))
        await asyncio.gather(*rendering)
    ready = queue.stop()
    ended = loop.time()
    while not queue.is_done:
        await asyncio.sleep(0.05)
        ended = loop.time()
    here = sum(len(images) for images, future in ready.items() if future.exception() is not None)
    await encoding
    plan = read_plan(storage, JOB)
    waves = [wave for wave in (plan.waves if plan is not None else ()) if wave.segments]
    return Tail(
        max(ended - last, 0.0) + seconds(here, film.pixels),
        [wave.tasks for wave in waves],
        sum(wave.spent_usd for wave in waves),
    )


def main() -> None:
    """Compare the ways."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--size", default="1920x1080")
    parser.add_argument("--at-once", type=int, nargs="+", default=[19, 100, 1000])
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    width, height = (int(part) for part in options.size.split("x"))
    even = range(1, options.frames + 1)
    print(ROW.format("", "longest s", "after the last", "tasks", "USD"))
    for at_once in options.at_once:
        print(f"{options.frames} frames of {options.seconds:g} s, {at_once} tasks at once")
        film = Film(even, (width, height), at_once, lambda frame: options.seconds)
        short = most_frames(film.pixels, ENCODING)
        ways = [("fastest", MOST_FRAMES, False, 2), ("fastest", short, False, 2)]
        ways += [(prefer, short, True, 2) for prefer in PREFERENCES]
        ways += [("fastest", short, ahead, 1) for ahead in (False, True)]
        for prefer, most, ahead, room in ways:
            tail, _ = run_in_virtual_time(render(film, room * at_once, prefer, most, ahead=ahead))
            when = "started ahead" if ahead else "started then"
            full = "" if room > 1 else ", no room beside"
            print(
                ROW.format(
                    f"  {most} frames, {when}, {prefer}{full}",
                    f"{seconds(most, film.pixels):.1f}",
                    f"{tail.seconds:.1f} s",
                    "+".join(map(str, tail.tasks)) or "flow",
                    f"{tail.usd:.3f}",
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
