"""Small jobs for the end-to-end tests, and the servers and containers that they run on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from povstorm_client import Cluster, Job, RenderSettings, WorkUnit
from tests.conftest import SPHERE
from tests.e2e.google_cloud import GoogleCloud, google_cloud
from tests.emulators.container.fixtures import render_container
from tests.emulators.gcs.fixtures import gcs_server, gcs_storage
from tests.emulators.gcs.server import GcsServer

__all__ = ["gcs_server", "gcs_storage", "render_container"]


@pytest.fixture(scope="module")
def gcs() -> Iterator[GcsServer]:
    with GcsServer() as server:
        yield server


@pytest.fixture
def cloud(tmp_path: Path, gcs: GcsServer) -> Iterator[GoogleCloud]:
    with google_cloud(tmp_path, gcs) as cloud:
        yield cloud


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
