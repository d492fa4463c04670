"""What CloudRunRenderer makes of results that it did not wait for; whole jobs are in tests/e2e."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import google_crc32c
import pytest

from povstorm_client import WorkUnit
from povstorm_client.cloud_run.api import ExecutionState, TaskState
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.scene_estimate import Estimate
from povstorm_client.cloud_run.stored_plan import StoredWave, reserve, spent_usd
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob
from povstorm_client.errors import CloudError, RenderError
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.protocol import StoredObject
from tasks.renderers.cloud_run.cloud_run_renderer import CloudRunRenderer
from tasks.renderers.cloud_run.wave_setting import Pace

JOB = "job"
NOTE = layout.cancel_request(JOB)
HASTE = Pace(gather_quiet=0.02, poll=0.01)
FLEET = CloudRunFleet("project", "region", (CloudRunJob("render", 1, 512, 4, 0, 600),))


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
    FrameResults(storage, failed.job_id).fail(failed)
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
        FrameResults(storage, other.job_id).commit(other)

    assert asyncio.run(try_again(unit, storage, another_renders)) == other
    assert storage.read(image) == b"an image"


@pytest.mark.parametrize("image", [b"", b"cut"])
def test_a_result_without_its_whole_image_is_deleted_and_the_frame_rendered_again(
    unit: WorkUnit, storage: FolderStorage, image: bytes
):
    def another_commits() -> None:
        if image:
            storage.write(f"{layout.output(JOB)}/{unit.image_name}", image)
        FrameResults(storage, unit.job_id).commit(rendered(unit, b"an image"))

    with pytest.raises(CloudError, match="was to be started"):
        asyncio.run(try_again(unit, storage, another_commits))
    assert list(storage.list(layout.results(JOB))) == []
    assert list(storage.list(layout.output(JOB))) == []


class OneExecution:
    """The Admin API of a project in which one execution was started, and can be cancelled."""

    def __init__(self, tasks: int = 1) -> None:
        self.state = ExecutionState("execution", "", tasks, 0, 0, 0, 0, 0, 1.0, None, "")
        self.started = 0
        self.looks_at_the_end = 0

    def image(self, job: str) -> str:
        return "render:test"

    def executions(self, job: str) -> Iterator[ExecutionState]:
        return iter([self.state] if self.state.wave_uri else [])

    def run(self, job: str, *, wave_uri: str, tasks: int) -> str:
        self.started += 1
        self.state = replace(self.state, wave_uri=wave_uri)
        return self.state.name

    def execution(self, name: str) -> ExecutionState:
        self.looks_at_the_end += self.state.completed is not None
        return self.state

    def tasks(self, execution: str) -> list[TaskState]:
        return [TaskState(0, "cancelled", 0, 0, "", 1.0, 2.0)]

    def cancel(self, execution: str) -> None:
        self.state = replace(self.state, cancelled=1, completed=2.0)


class NotedLooks(FolderStorage):
    """A storage that counts how often it is asked whether the job is to stop."""

    looks = 0

    def stat(self, key: str) -> StoredObject | None:
        self.looks += key == NOTE
        return super().stat(key)


async def until(condition: Callable[[], bool], rendering: asyncio.Task[FrameResult]) -> None:
    while not condition() and not rendering.done():
        await asyncio.sleep(0.01)


def test_a_frame_whose_container_was_stopped_by_cancelling_the_job_is_neither_failed_nor_retried(
    unit: WorkUnit, storage: FolderStorage
):
    async def cancel_while_it_renders() -> None:
        api = OneExecution()
        async with (
            CloudRunRenderer(storage, JOB, FLEET, api, pace=HASTE) as renderer,
            renderer.admission(unit),
        ):
            rendering = asyncio.create_task(renderer.render(unit, attempt=1, final_attempt=True))
            await until(lambda: api.started == 1, rendering)
            storage.write(NOTE, b"{}")
            api.cancel("execution")
            await until(lambda: api.looks_at_the_end > 3, rendering)
            assert not rendering.done(), rendering.exception()
            assert list(storage.list(layout.results(JOB))) == []
            # Whoever takes the note back, by running the job again, wants to know.
            storage.remove(NOTE)
            with pytest.raises(RenderError, match="was cancelled"):
                await rendering
        assert api.started == 1

    asyncio.run(cancel_while_it_renders())


def test_no_wave_starts_while_the_job_is_to_stop(unit: WorkUnit, tmp_path: Path):
    storage = NotedLooks(tmp_path)

    async def cancel_while_it_waits() -> None:
        api = OneExecution()
        async with (
            CloudRunRenderer(storage, JOB, FLEET, api, pace=HASTE) as renderer,
            renderer.admission(unit),
        ):
            storage.write(NOTE, b"{}")
            rendering = asyncio.create_task(renderer.render(unit, attempt=1, final_attempt=True))
            await until(lambda: api.started > 0 or storage.looks > 3, rendering)
            assert api.started == 0
            storage.remove(NOTE)
            await until(lambda: api.started > 0, rendering)
            assert api.started == 1
            rendering.cancel()

    asyncio.run(cancel_while_it_waits())


def test_frames_that_are_begun_together_are_started_by_one_call(
    sphere_unit, storage: FolderStorage
):
    async def begin() -> OneExecution:
        api = OneExecution(tasks=3)
        units = [
            sphere_unit(frame).assigned(
                job_id=JOB, shared_prefix="", offload_prefix=layout.output(JOB)
            )
            for frame in (1, 2, 3)
        ]
        async with CloudRunRenderer(storage, JOB, FLEET, api, pace=HASTE) as renderer:
            outcomes = renderer.begin(units, final_attempt=False)
            async with asyncio.timeout(60):
                while not api.started:
                    await asyncio.sleep(0.01)
            for unit in units:
                storage.write(f"{layout.output(JOB)}/{unit.image_name}", b"an image")
                FrameResults(storage, JOB).commit(rendered(unit, b"an image"))
            results = await asyncio.gather(*outcomes)
            assert [result.frame for result in results] == [1, 2, 3]
            api.state = replace(api.state, completed=2.0)
        return api

    assert asyncio.run(begin()).started == 1


def test_what_google_refuses_to_start_is_the_frames_error(unit: WorkUnit, storage: FolderStorage):
    async def begin() -> None:
        async with CloudRunRenderer(
            storage, JOB, FLEET, NothingCanBeStarted(), pace=HASTE
        ) as renderer:
            (outcome,) = renderer.begin([unit], final_attempt=False)
            with pytest.raises(CloudError, match="was to be started"):
                await outcome

    asyncio.run(begin())


class SegmentsBeginMeanwhile(FolderStorage):
    """A storage in which containers for the video are reserved once the frames' cost is counted."""

    def __init__(self, root: Path, usd: float) -> None:
        super().__init__(root)
        self.usd = usd
        self.counted = 0

    def find(self, key: str) -> bytes | None:
        found = super().find(key)
        if key == layout.plan(JOB):
            self.counted += 1
            if self.counted == 1:
                wave = StoredWave(
                    wave="v0001-a", segments=3, render_job="render", tasks=1, frames=0,
                    submitted=1.0, completed=None, failed_tasks=0,
                    predicted_seconds=60.0, predicted_usd=self.usd, billed_usd=None,
                )  # fmt: skip
                assert reserve(self, JOB, wave, None) is None
        return found


@pytest.mark.parametrize(("usd", "starts"), [(0.0001, 1), (0.01, 0)])
def test_segments_that_begin_in_the_same_moment_count_for_what_frames_may_cost(
    unit: WorkUnit, tmp_path: Path, usd: float, starts: int
):
    storage, api = SegmentsBeginMeanwhile(tmp_path, usd), OneExecution()

    async def render() -> None:
        async with (
            CloudRunRenderer(
                storage, JOB, replace(FLEET, max_usd=0.01), api, pace=HASTE,
                estimate=Estimate(frames=1, total_cpu_seconds=1.0),
            ) as renderer,
            renderer.admission(unit),
        ):  # fmt: skip
            rendering = asyncio.create_task(renderer.render(unit, attempt=1, final_attempt=True))
            await until(lambda: api.started > 0, rendering)
            if starts:
                rendering.cancel()
            else:
                with pytest.raises(CloudError, match=r"after \$0.010 .* the most it may cost"):
                    await rendering

    asyncio.run(render())
    assert api.started == starts
    assert spent_usd(storage, JOB) <= 0.01
