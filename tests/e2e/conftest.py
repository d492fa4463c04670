"""A real Prefect server for the tests of one process, and small jobs to run against it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from povstorm_client import Cluster, Job, RenderSettings, WorkUnit
from tests.conftest import SPHERE
from tests.emulators.container.fixtures import render_container
from tests.emulators.gcs.fixtures import gcs_server, gcs_storage

__all__ = ["gcs_server", "gcs_storage", "render_container"]

SERVER_START_SECONDS = 400


@pytest.fixture(scope="session")
def prefect_server(prefect_home) -> Iterator[str]:
    """The API url of a server; flows started while it lives report to it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1"]
    log = Path(os.environ["PREFECT_HOME"]) / "server.txt"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*command, "--port", str(port)], stdout=output, stderr=subprocess.STDOUT
        )
    try:
        _wait_until_healthy(url, server, log)
        yield url
    finally:
        server.terminate()
        server.wait(30)


def _wait_until_healthy(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + SERVER_START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    pytest.fail(f"the Prefect server did not start:\n{log.read_text()}")


@pytest.fixture
def on_server(prefect_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have the test's flows report to the server, which saves starting one for each."""
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    return prefect_server


@pytest.fixture
def sphere_job(cluster: Cluster):
    """A function that makes a job of small sphere frames; scenes can be replaced by frame."""

    def make(
        name: str = "sphere", frames: int = 4, scenes: dict[int, str] | None = None, **options
    ):
        job = Job(cluster, name, **options)
        settings = RenderSettings(scene="sphere.pov", width=32, height=24, final_frame=frames)
        for frame in range(1, frames + 1):
            unit = WorkUnit(settings, frame=frame)
            unit.add_inline_resource("sphere.pov", (scenes or {}).get(frame, SPHERE))
            job.add_work_unit(unit)
        return job

    return make
