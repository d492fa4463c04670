"""Frames on Cloud Run: one execution a frame, and povstorm's waves, on a virtual clock.

Prints, side by side, how many vCPU-seconds are billed for each that renders, and how long the job
takes against the least that is possible. The real dispatcher and planner run; Cloud Run is
simulated with its documented limits. Of a known scene an earlier run has told what each frame
takes. Aim: 1.10 billed (cheapest), 1.25 of the time (fastest), 1.20 where frames differ.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from benchmarks.orchestrated_waves import run_whole_job
from benchmarks.simulated_cloud_run import RUN_CALLS_A_MINUTE, MemoryStorage, SimulatedCloudRun
from benchmarks.virtual_time import run_in_virtual_time
from povstorm_client import RenderSettings, WorkUnit
from povstorm_client.cloud_run import prices_and_limits
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.frame_times import FrameTimes
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob
from povstorm_client.cloud_run.wave_share import WaveFrame, WaveShare, write_wave
from povstorm_client.errors import CloudError
from povstorm_client.frames.job_settings import PREFERENCES
from povstorm_client.storage import layout
from tasks.renderers.cloud_run.cloud_run_renderer import CloudRunRenderer

JOB_ID = "benchmark-1"
STARTUP_SECONDS = 10.0
# Of the jobs with the orchestrator's own time.
PARALLELISM = 1000
_Way = Callable[[SimulatedCloudRun, MemoryStorage, list[WorkUnit]], Awaitable[None]]
ROW = "{:34} {:>9} {:>10} {:>9} {:>10} {:>8} {:>9}"


@dataclass(frozen=True)
class Outcome:
    """makespan in seconds from the first call to the last stored frame; calls: to the Admin API."""

    makespan: float
    billed_seconds: float
    calls: int


def main() -> None:
    """Print the table for frames of one length, and for frames that differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument(
        "--orchestrated",
        type=int,
        nargs="+",
        metavar="FRAMES",
        help="whole jobs of so many even frames instead, in real time, with 1000 tasks at once",
    )
    options = parser.parse_args()
    if options.orchestrated:
        _orchestrate(options.orchestrated, options.seconds)
        return
    logging.disable(logging.WARNING)
    even = dict.fromkeys(range(1, options.frames + 1), options.seconds)
    generator = random.Random(7)  # noqa: S311 - no secret
    uneven = {
        frame: options.seconds * generator.lognormvariate(-0.125, 0.5)
        for frame in range(1, options.frames + 1)
    }
    # Something comes near in the middle: neighbours take alike long.
    peak = {
        frame: options.seconds
        * (0.5 + 3.0 * math.exp(-(((frame / options.frames - 0.5) / 0.1) ** 2)))
        for frame in range(1, options.frames + 1)
    }
    print(ROW.format("", "makespan", "to least", "billed s", "to render", "USD", "API calls"))
    for parallelism in (100, 1000):
        for name, seconds in (("even", even), ("uneven", uneven), ("with a peak", peak)):
            print(
                f"\n{options.frames} frames of {options.seconds:g} s ({name}), "
                f"{parallelism} tasks at once"
            )
            _compare(seconds, parallelism)


def _orchestrate(jobs: list[int], seconds: float) -> None:
    """Print what whole jobs take, the orchestrator's own time in it."""
    row = "{:>7} {:>10} {:>7} {:>11} {:>9} {:>10} {:>11} {:>9} {:>11}"
    print("seconds from the start of the flow; CPU and peak memory of its process")
    print(
        row.format(
            *("frames", "first run", "(CPU)", "last frame", "to least", "to the end", "ms a frame"),
            *("peak MB", "submit MB"),
        )
    )
    for frames in jobs:
        taken = run_whole_job(frames, seconds, PARALLELISM, STARTUP_SECONDS)
        least = STARTUP_SECONDS + math.ceil(frames / PARALLELISM) * seconds
        print(
            row.format(
                frames,
                f"{taken.first_run:.1f}",
                f"{taken.first_run_cpu:.1f}",
                f"{taken.last_frame:.1f}",
                f"{taken.last_frame / least:.2f}",
                f"{taken.end:.1f}",
                f"{1000 * taken.cpu / frames:.2f}",
                f"{taken.peak / 1e6:.0f}",
                f"{taken.submit_peak / 1e6:.0f}",
            )
        )
        sizes = sorted(taken.sizes.items(), key=lambda item: -item[1])
        print(", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in sizes), flush=True)


def _compare(seconds: dict[int, float], parallelism: int) -> None:
    rendering = sum(seconds.values())
    least = STARTUP_SECONDS + max(rendering / parallelism, *seconds.values())

    def show(name: str, outcome: Outcome) -> None:
        usd = prices_and_limits.usd(outcome.billed_seconds, vcpus=1, memory_mib=1024)
        print(
            ROW.format(
                name,
                f"{outcome.makespan:.0f} s",
                f"{outcome.makespan / least:.2f}",
                f"{outcome.billed_seconds:.0f}",
                f"{outcome.billed_seconds / rendering:.2f}",
                f"{usd:.3f}",
                outcome.calls,
            )
        )

    show("one execution a frame", _run(seconds, parallelism, _one_execution_a_frame))
    for prefer in PREFERENCES:
        for known in (True, False):
            told = rendering / len(seconds) if known else None
            fleet = _fleet(parallelism, prefer, told)
            source = "known" if known else "unknown"
            length = len(seconds)
            times = FrameTimes(
                tuple(((frame - 1) / (length - 1), taken) for frame, taken in seconds.items())
                if known
                else ()
            )
            show(
                f"povstorm {prefer}, {source} scene",
                _run(seconds, parallelism, partial(_waves, fleet=fleet, times=times)),
            )


def _run(seconds: dict[int, float], parallelism: int, way: _Way) -> Outcome:
    async def work() -> Outcome:
        storage = MemoryStorage(asyncio.get_running_loop().time)
        cloud = SimulatedCloudRun(
            storage,
            parallelism=parallelism,
            startup_seconds=STARTUP_SECONDS,
            seconds_of=seconds.__getitem__,
        )
        settings = RenderSettings("scene.pov", 320, 240, final_frame=len(seconds))
        units = [
            WorkUnit(settings, frame).assigned(
                job_id=JOB_ID, shared_prefix="", offload_prefix=layout.output(JOB_ID)
            )
            for frame in seconds
        ]
        await way(cloud, storage, units)
        makespan = max(entry.changed for entry in storage.list(layout.results(JOB_ID)))
        while any(task.get_name() == "cloud-task" for task in asyncio.all_tasks()):
            await asyncio.sleep(1)
        return Outcome(makespan, cloud.billed_seconds, cloud.calls)

    return run_in_virtual_time(work())[0]


async def _one_execution_a_frame(
    cloud: SimulatedCloudRun, storage: MemoryStorage, units: list[WorkUnit]
) -> None:
    """As fast as the quota of run calls allows."""
    for number, unit in enumerate(units):
        wave = layout.wave(JOB_ID, f"w{number}")
        write_wave(storage, wave, [WaveShare((WaveFrame(unit, 1, True, 0.0),), None)])
        while True:
            try:
                cloud.run("job", wave_uri=f"{storage.uri}/{wave}", tasks=1)
                break
            except CloudError:
                await asyncio.sleep(60 / RUN_CALLS_A_MINUTE)
    while sum(1 for _ in storage.list(layout.results(JOB_ID))) < len(units):
        await asyncio.sleep(1)


async def _waves(
    cloud: SimulatedCloudRun,
    storage: MemoryStorage,
    units: list[WorkUnit],
    fleet: CloudRunFleet,
    times: FrameTimes,
) -> None:
    async with CloudRunRenderer(storage, JOB_ID, fleet, cloud, times=times) as renderer:
        await asyncio.gather(*renderer.begin(units, final_attempt=False))


def _fleet(parallelism: int, prefer: str, seconds_per_frame: float | None) -> CloudRunFleet:
    job = CloudRunJob("render", 1, 1024, parallelism, 0, 3600)
    return CloudRunFleet("project", "region", (job,), prefer, None, seconds_per_frame)


if __name__ == "__main__":
    main()
