"""What orchestrating a frame costs: povstorm with a renderer that does nothing, and bare Prefect.

"map" is Prefect's own map of no-op tasks over its thread pool, "gather" the same tasks awaited in
one event loop; neither persists results, so neither has a cache. Each runs in a process of its own
against a fresh server: ``python -m benchmarks.orchestration [--frames 100 1000 10000]``. Aim: at
most 1.25 times the bare map's seconds a frame, under 600 MB, no thread for each frame.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from benchmarks.measure import measure
from povstorm_client import RenderSettings, WorkUnit
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from tasks.frames.job_progress import JobProgress
from tasks.frames.map_frames import map_frames
from tasks.frames.task_runs import TaskRuns
from tasks.stored.frame_cache import FrameCache
from tasks.stored.result_storage import choose_result_storage

AT_ONCE = 16
IMAGE = b"nothing"


class NothingRenderer:
    """Stores what a renderer stores, without rendering anything."""

    version = "nothing"

    def __init__(self, storage: FolderStorage) -> None:
        self._storage = storage
        self._slots = asyncio.Semaphore(AT_ONCE)
        self.most_threads = 0

    async def __aenter__(self) -> NothingRenderer:
        return self

    async def __aexit__(self, *exception: object) -> None:
        return None

    @contextlib.asynccontextmanager
    async def admission(self, unit: WorkUnit) -> AsyncIterator[None]:
        """Let as many frames in at once as a busy local renderer would."""
        async with self._slots:
            yield

    async def has_parsed(self) -> None:
        """There is nothing to parse."""

    async def render(self, unit: WorkUnit, *, attempt: int, final_attempt: bool) -> FrameResult:
        """Store a few bytes and a result."""
        self.most_threads = max(self.most_threads, threading.active_count())
        now = time.time()
        result = FrameResult(
            work_unit_id=unit.work_unit_id,
            job_id=unit.job_id,
            frame=unit.frame,
            state="rendered",
            attempt=attempt,
            host="",
            started=now,
            ended=now,
            image=unit.image_name,
            image_bytes=len(IMAGE),
        )
        self._storage.write(f"{unit.offload_gcs_prefix}/{unit.image_name}", IMAGE)
        FrameResults(self._storage, result.job_id).commit(result)
        return result


@flow(name="bench-povstorm")
async def povstorm(frames: int, folder: str) -> int:
    """Map the frames as the render-job flow does; returns the most threads seen."""
    storage = FolderStorage(Path(folder))
    settings = RenderSettings(scene="scene.pov", final_frame=frames)
    units = [
        WorkUnit(settings, frame=frame, inline_resource={"scene.pov": ""}).assigned(
            job_id="bench", shared_prefix="", offload_prefix=layout.output("bench")
        )
        for frame in range(1, frames + 1)
    ]
    renderer, cache = NothingRenderer(storage), FrameCache(storage)
    async with JobProgress(storage, "bench", frames) as progress:
        results = await map_frames(
            units,
            renderer=renderer,
            storage=storage,
            stored={},
            run=TaskRuns(
                renderer,
                storage,
                {},
                await choose_result_storage(cache, ""),
                retries=3,
            ),
            cache=cache,
            progress=progress,
            logger=get_run_logger(),
            warn=get_run_logger().warning,
        )
    if len(results) != frames or any(result.state != "rendered" for result in results):
        raise RuntimeError("not all frames came through")
    return renderer.most_threads


@task(name="nothing", persist_result=False, cache_policy=NO_CACHE)
def nothing(number: int) -> int:
    """A task that does nothing."""
    return number


@task(name="nothing-async", persist_result=False, cache_policy=NO_CACHE)
async def nothing_async(number: int) -> int:
    """The same for an event loop."""
    return number


@flow(name="bench-gather")
async def bare_gather(frames: int, folder: str) -> int:
    """As many no-op task runs in one event loop; returns the threads seen."""
    results = await asyncio.gather(*(nothing_async(number) for number in range(frames)))
    if len(results) != frames:
        raise RuntimeError("not all tasks came through")
    return threading.active_count()


@flow(name="bench-map")
async def bare_map(frames: int, folder: str) -> int:
    """As many no-op task runs by Prefect's map; returns the threads seen."""
    futures = nothing.map(range(frames))
    threads = threading.active_count()
    if len(futures.result()) != frames:
        raise RuntimeError("not all tasks came through")
    return threads


KINDS = {"map": bare_map, "gather": bare_gather, "povstorm": povstorm}


def measure_one(kind: str, frames: int) -> None:
    """Print, as JSON, what one flow of that kind took; runs in a process of its own."""
    run = KINDS[kind]
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(1, f"{folder}/warm"))
        before = time.monotonic()
        cpu_before = time.process_time()
        threads = asyncio.run(run(frames, f"{folder}/measured"))
        seconds = time.monotonic() - before
        cpu = time.process_time() - cpu_before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak": peak, "threads": threads}))


@contextlib.contextmanager
def prefect_server() -> Iterator[str]:
    """A server with a database of its own."""
    with socket.socket() as probe, tempfile.TemporaryDirectory() as home:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        server = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)],
            env={**os.environ, "PREFECT_HOME": home, "PREFECT_SERVER_ANALYTICS_ENABLED": "false"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        url = f"http://127.0.0.1:{port}/api"
        try:
            for _ in range(300):
                with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health"):  # noqa: S310
                    break
                time.sleep(0.2)
            yield url
        finally:
            server.terminate()
            server.wait(30)


def main() -> None:
    """Measure each kind at each size, and print the ratios to the first kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--measure", nargs=2, metavar=("KIND", "FRAMES"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure_one(arguments.measure[0], int(arguments.measure[1]))
        return
    row = "{:>7} {:9} {:>9} {:>12} {:>12} {:>9} {:>8} {:>7}"
    print(
        row.format("frames", "", "seconds", "ms a frame", "CPU ms", "peak MB", "threads", "ratio")
    )
    for frames in arguments.frames:
        taken: dict[str, float] = {}
        for kind in arguments.kinds:
            with prefect_server() as url:
                command = [sys.executable, "-m", "benchmarks.orchestration"]
                output = measure(
                    [*command, "--measure", kind, str(frames)],
                    environment={"PREFECT_API_URL": url, "PREFECT_LOGGING_LEVEL": "WARNING"},
                ).output
            found = json.loads(next(line for line in output.splitlines() if line.startswith("{")))
            taken[kind] = found["seconds"]
            print(
                row.format(
                    frames,
                    kind,
                    f"{found['seconds']:.1f}",
                    f"{1000 * found['seconds'] / frames:.2f}",
                    f"{1000 * found['cpu'] / frames:.2f}",
                    f"{found['peak'] / 1e6:.0f}",
                    found["threads"],
                    f"{taken[kind] / taken[arguments.kinds[0]]:.2f}",
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
