"""What CloudRunRenderer makes of results that it did not wait for; whole jobs are in tests/e2e."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from dataclasses import replace

import google_crc32c
import pytest

from povstorm_client import WorkUnit
from povstorm_client.cloud_run.api import ExecutionState
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.scene_estimate import Estimate
from povstorm_client.cloud_run.terraform_outputs import RenderJob
from povstorm_client.errors import CloudError
from povstorm_client.frames.result import FrameResult
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from render_image.render_unit import store_failure, store_result
from tasks.renderers.cloud_run.cloud_run_renderer import CloudRunRenderer

JOB = "job"
FLEET = CloudRunFleet("project", "region", (RenderJob("render", 1, 512, 4, 0, 600),))


class NothingCanBeStarted:
    """The Admin API of a project that refuses to start executions."""

    def image(self, job: str) -> str:
        return "render:test"

    def executions(self, job: str) -> Iterator[ExecutionState]:
        return iter(())

    def run(self, job: str, *, wave_uri: str, tasks: int) -> str:
        raise CloudError(f"{wave_uri} was to be started", kind="refused")


@pytest.fixture
def unit(sphere_unit) -> WorkUnit:
    return sphere_unit().assigned(job_id=JOB, shared_prefix="", offload_prefix=layout.output(JOB))


def rendered(unit: WorkUnit, image: bytes) -> FrameResult:
    return FrameResult(
        unit.work_unit_id,
        JOB,
        unit.frame,
        "rendered",
        attempt=1,
        host="another",
        started=1.0,
        ended=2.0,
        image=unit.image_name,
        image_bytes=len(image),
        image_crc32c=base64.b64encode(google_crc32c.Checksum(image).digest()).decode(),
    )


async def try_again(unit: WorkUnit, storage: FolderStorage, between) -> FrameResult:
    """A frame's second attempt; ``between`` happens after the renderer has seen the first."""
    failed = replace(rendered(unit, b""), state="retrying", image="", error="killed")
    store_failure(storage, failed)
    renderer = CloudRunRenderer(
        storage,
        JOB,
        FLEET,
        NothingCanBeStarted(),
        estimate=Estimate(frames=1, total_cpu_seconds=1.0),
    )
    async with renderer, renderer.admission(unit):
        between()
        return await renderer.render(unit, attempt=2, final_attempt=False)


def test_what_another_has_rendered_meanwhile_is_taken_and_not_deleted(
    unit: WorkUnit, storage: FolderStorage
):
    image = f"{layout.output(JOB)}/{unit.image_name}"
    other = rendered(unit, b"an image")

    def another_renders() -> None:
        storage.write(image, b"an image")
        store_result(storage, other)

    assert asyncio.run(try_again(unit, storage, another_renders)) == other
    assert storage.read(image) == b"an image"


@pytest.mark.parametrize("image", [b"", b"cut"])
def test_a_result_without_its_whole_image_is_deleted_and_the_frame_rendered_again(
    unit: WorkUnit, storage: FolderStorage, image: bytes
):
    def another_commits() -> None:
        if image:
            storage.write(f"{layout.output(JOB)}/{unit.image_name}", image)
        store_result(storage, rendered(unit, b"an image"))

    with pytest.raises(CloudError, match="was to be started"):
        asyncio.run(try_again(unit, storage, another_commits))
    assert list(storage.list(layout.results(JOB))) == []
    assert list(storage.list(layout.output(JOB))) == []
