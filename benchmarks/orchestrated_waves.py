"""A whole job on Cloud Run with the orchestrator's own time in it: real flow, real Prefect server.

benchmarks/cloud_run_waves.py prints it. The flow runs as on a user's machine (flows/local_run.py),
against a folder and, in a process of its own, simulated containers that store real results without
rendering anything, in real time: a frame takes the seconds that it is said to take.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import multiprocessing.connection
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import measure
from benchmarks.orchestration import prefect_server
from benchmarks.simulated_cloud_run import SimulatedCloudRun
from povstorm_client import RenderSettings, WorkUnit
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob
from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.jobs.manifest import JobManifest, write_manifest
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.job_address import job_uri

JOB_ID = "benchmark-1"
_KEY = b"benchmark"


@dataclass(frozen=True)
class Whole:
    """What a whole job took, in seconds from the start of the flow's process.

    first_run: to the first `run` call, and the flow's CPU seconds until then; last_frame: to the
    last frame's result; end: to the end of the process. cpu: CPU seconds of the flow, peak: its
    peak memory in bytes, submit_peak: that of who has stored the job. sizes: bytes of what the
    job's end stores, by name.
    """

    first_run: float
    first_run_cpu: float
    last_frame: float
    end: float
    cpu: float
    peak: int
    submit_peak: int
    sizes: dict[str, int]


def run_whole_job(frames: int, seconds: float, parallelism: int, startup: float) -> Whole:
    """Submit a job, run its flow to the end, and tell what that took."""
    with tempfile.TemporaryDirectory() as name, prefect_server() as url:
        folder = Path(name)
        submitted = _python("--submit", folder, frames, parallelism)
        address = str(folder / "cloud.socket")
        ready = multiprocessing.Event()
        cloud = multiprocessing.Process(
            target=_serve_cloud,
            args=(folder / "storage", address, ready, seconds, parallelism, startup),
        )
        cloud.start()
        try:
            ready.wait()
            started = time.time()
            flow = _python("--flow", folder, address, environment={"PREFECT_API_URL": url})
            end = time.time() - started
            with multiprocessing.connection.Client(address, authkey=_KEY) as connection:
                connection.send(("first_run", (), {}))
                first_run = connection.recv() - started
        finally:
            cloud.terminate()
            cloud.join()
        storage = FolderStorage(folder / "storage")
        last = max(entry.changed for entry in storage.list(layout.results(JOB_ID))) - started
        sizes = {
            Path(entry.key).name: entry.size
            for entry in storage.list(layout.job(JOB_ID))
            if entry.key.count("/") == 2
        }
    return Whole(
        first_run,
        flow["first_run_cpu"],
        last,
        end,
        flow["cpu"],
        flow["peak"],
        submitted["peak"],
        sizes,
    )


def _python(
    what: str, *arguments: object, environment: dict[str, str] | None = None
) -> dict[str, Any]:
    """Run a part of this module in a process of its own; what it prints last."""
    command = [sys.executable, "-m", "benchmarks.orchestrated_waves", what]
    output = measure(
        [*command, *map(str, arguments)],
        environment={"PREFECT_LOGGING_LEVEL": "WARNING", **(environment or {})},
    ).output
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def _submit(folder: Path, frames: int, parallelism: int) -> None:
    storage = FolderStorage(folder / "storage")
    settings = RenderSettings("shared/scene.pov", 320, 240, final_frame=frames)
    units = [
        WorkUnit(settings, frame).assigned(
            job_id=JOB_ID, shared_prefix="", offload_prefix=layout.output(JOB_ID)
        )
        for frame in range(1, frames + 1)
    ]
    job = CloudRunJob("render", 1, 1024, parallelism, 0, 3600)
    manifest = JobManifest(
        job_id=JOB_ID,
        name="benchmark",
        frames=tuple(unit.frame for unit in units),
        shared_tree="",
        shared_files={},
        settings=JobSettings(video=None, prefer="fastest"),
        created=time.time(),
        created_by="",
        version="",
        cloud_run=CloudRunFleet("project", "region", (job,), "fastest"),
    )
    write_manifest(storage, manifest, units)


def _serve_cloud(
    folder: Path,
    address: str,
    ready: Any,  # noqa: ANN401 - multiprocessing has no public type
    seconds: float,
    parallelism: int,
    startup: float,
) -> None:
    """Answer calls to the Admin API, each a connection, while containers work."""
    loop = asyncio.new_event_loop()
    cloud = SimulatedCloudRun(
        FolderStorage(folder),
        parallelism=parallelism,
        startup_seconds=startup,
        seconds_of=lambda frame: seconds,
    )
    first_run: list[float] = []

    async def call(name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> object:
        if name == "first_run":
            return first_run[0]
        if name == "run":
            first_run.append(time.time())
        return getattr(cloud, name)(*arguments, **named)

    def serve() -> None:
        with multiprocessing.connection.Listener(address, authkey=_KEY) as listener:
            ready.set()
            while True:
                with listener.accept() as connection:
                    name, arguments, named = connection.recv()
                    connection.send(
                        asyncio.run_coroutine_threadsafe(
                            call(name, arguments, named), loop
                        ).result()
                    )

    threading.Thread(target=serve, daemon=True).start()
    loop.run_forever()


class _RemoteCloudRun:
    """The Admin API as the flow sees it; each call is one to the process of the containers."""

    def __init__(self, address: str) -> None:
        self._address = address
        # Of this process, in CPU seconds.
        self.first_run: float | None = None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever the API takes
            if name == "run" and self.first_run is None:
                self.first_run = time.process_time()
            with multiprocessing.connection.Client(self._address, authkey=_KEY) as connection:
                connection.send((name, arguments, named))
                return connection.recv()

        return call


def _flow(folder: Path, address: str) -> tuple[int, float | None]:
    from flows import local_run
    from povstorm_client.cloud_run import api

    remote = _RemoteCloudRun(address)
    api.GoogleCloudRun = lambda credentials: remote  # type: ignore[assignment, misc]
    uri = job_uri(FolderStorage(folder / "storage"), JOB_ID)
    return local_run._main(uri, "", str(folder / "temporary")), remote.first_run


def _tell_what_it_took(first_run: float | None) -> None:
    taken = resource.getrusage(resource.RUSAGE_SELF)
    cpu = taken.ru_utime + taken.ru_stime
    told = {"cpu": cpu, "peak": taken.ru_maxrss * 1024, "first_run_cpu": first_run}
    print(json.dumps(told), flush=True)


def main(what: str, *arguments: str) -> int:
    """Be the process that submits, or that of the flow."""
    if what == "--submit":
        _submit(Path(arguments[0]), int(arguments[1]), int(arguments[2]))
        code, first_run = 0, None
    else:
        # The flow stops when its standard input ends.
        reading, _ = os.pipe()
        os.dup2(reading, 0)
        code, first_run = _flow(Path(arguments[0]), arguments[1])
    _tell_what_it_took(first_run)
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
