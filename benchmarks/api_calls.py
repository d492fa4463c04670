"""What a frame on Google Cloud asks of others: calls to GCS, Cloud Run and Prefect, all counted.

The real flow runs against a real GCS server, the Cloud Run stand-in and a real Prefect server; the
container stores results without rendering. Calls a frame must not grow with the time that a job
takes: results are learned by listing, a thousand a call.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.counting_proxy import CountingProxy
from povstorm_client import Cluster, Job, RenderSettings, WorkUnit
from povstorm_client.launch import telling_time
from tests.chaos.processes import processes_of
from tests.e2e.google_cloud import RENDERER, google_cloud
from tests.emulators.gcs.server import GcsServer
from tests.emulators.processes import free_port, wait_for_port

# Prefect Cloud's smallest plan, as its documentation of rate limits has it in 2026-11.
PREFECT_CALLS_A_MINUTE, PREFECT_EVENTS_A_MINUTE = 625, 2000
CONTAINER = (sys.executable, "-P", str(Path(__file__).with_name("instant_container.py")))


def main() -> None:
    """Run jobs of the given sizes, each once more as another job, and print the calls of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, nargs="+", default=[100, 1000])
    for frames in parser.parse_args().frames:
        _measure(frames)


def _measure(frames: int) -> None:
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["PREFECT_HOME"] = str(folder)
        (folder / "gcs").mkdir()
        server = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for_port(port, server, 120)
            time.sleep(5)  # its services start after it listens
            with (
                CountingProxy(port) as prefect,
                GcsServer(folder=folder / "gcs") as gcs,
            ):
                os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{prefect.port}/api"
                with google_cloud(folder, gcs, CONTAINER) as cloud:
                    cluster = Cluster.from_terraform_outputs(cloud.outputs)
                    seconds = _run(_job(cluster, frames))
                    runs = Counter(cloud.run.statistics()["calls"])
                    storage = Counter(cloud.storage.asked)
                    by_containers = Counter(cloud.storage.asked_by[RENDERER])
                    prefect_calls = Counter(prefect.calls)
                    os.environ[telling_time.VARIABLE] = telling_time.NEVER
                    _run(_job(cluster, frames))
                    del os.environ[telling_time.VARIABLE]
                    of_cached = Counter(cloud.storage.asked) - storage
            time.sleep(5)  # events reach the database in batches
        finally:
            server.terminate()
            server.wait(60)
        stored = _stored_by_prefect(folder / "prefect.db")
    print(f"\n{frames} frames in {seconds:.0f} s, client and flow together")
    _print("Google Cloud Storage", storage, frames)
    _print("of these by containers", by_containers, frames)
    _print("of frames that another job takes over", of_cached, frames)
    _print("Cloud Run", runs, frames)
    _print("Prefect", prefect_calls, frames)
    _print("stored by Prefect", stored, frames)
    calls = prefect_calls.total() / frames
    events = max(stored.total(), 1) / frames
    print(
        f"Prefect Cloud's smallest plan carries {PREFECT_CALLS_A_MINUTE / calls:.0f} frames a "
        f"minute by its calls, {PREFECT_EVENTS_A_MINUTE / events:.0f} by its logs and events"
    )


def _run(job: Job) -> float:
    """Run a job, and wait for all that goes on behind it; returns the seconds that it took."""
    started = time.monotonic()
    job.run(show_progress=False)
    seconds = time.monotonic() - started
    while processes_of(job.job_id):  # who tells Prefect of it goes on
        time.sleep(0.2)
    return seconds


def _job(cluster: Cluster, frames: int) -> Job:
    job = Job(cluster, "calls", video=None, prefer="fastest")
    settings = RenderSettings(scene="a.pov", width=32, height=24, final_frame=frames)
    for frame in range(1, frames + 1):
        unit = WorkUnit(settings, frame)
        unit.add_inline_resource("a.pov", b"sphere { 0, 1 }")
        job.add_work_unit(unit)
    return job


def _stored_by_prefect(database: Path) -> Counter[str]:
    """Log lines and events in the server's database; Prefect Cloud limits both together."""
    with sqlite3.connect(database) as connection:
        return Counter(
            {
                table: connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]  # noqa: S608
                for table in ("log", "events")
            }
        )


def _print(name: str, calls: Counter[str], frames: int) -> None:
    print(f"{name}: {calls.total()}, {calls.total() / frames:.2f} a frame")
    for kind, count in calls.most_common(30):
        print(f"  {count:8} {count / frames:8.3f}  {kind}")


if __name__ == "__main__":
    main()
