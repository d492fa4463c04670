"""map_frames, where a renderer fails as nobody expected, and where a scene cannot be parsed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from prefect import flow
from prefect.settings import PREFECT_API_URL, temporary_settings

from povstorm_client import RenderError, RenderSettings, WorkUnit
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from tasks.frames.job_progress import JobProgress
from tasks.frames.map_frames import map_frames
from tasks.frames.task_runs import TaskRuns
from tasks.stored.frame_cache import FrameCache

LOG = logging.getLogger(__name__)
JOB = "job"
IMAGE = b"an image"


class FakeRenderer:
    """Does what it is told for a frame; keeps what was asked of it."""

    version = "3.7.0.test"

    def __init__(self, storage: FolderStorage, deed: Callable[[WorkUnit], None]) -> None:
        self._storage = storage
        self._deed = deed
        self._parsed = asyncio.Event()
        self.tried: list[int] = []
        self.slots_taken = self.slots_released = 0
        self.at_once = self.most_before_parsed = 0

    @asynccontextmanager
    async def admission(self, unit: WorkUnit) -> AsyncIterator[None]:
        self.slots_taken += 1
        try:
            yield
        finally:
            self.slots_released += 1

    async def has_parsed(self) -> None:
        await self._parsed.wait()

    async def render(self, unit: WorkUnit, *, attempt: int, final_attempt: bool) -> FrameResult:
        self.tried.append(unit.frame)
        self.at_once += 1
        if not self._parsed.is_set():
            self.most_before_parsed = max(self.most_before_parsed, self.at_once)
        # Others that were started with it get their turn.
        for _ in range(20):
            await asyncio.sleep(0)
        self.at_once -= 1
        result = FrameResult(
            unit.work_unit_id,
            JOB,
            unit.frame,
            "rendered",
            attempt=attempt,
            host="",
            started=1.0,
            ended=2.0,
            image=unit.image_name,
            image_bytes=len(IMAGE),
        )
        try:
            self._deed(unit)
        except RenderError as error:
            failed = replace(result, state="failed", image="", error=str(error))
            FrameResults(self._storage, JOB).fail(failed)
            raise
        self._parsed.set()
        self._storage.write(f"{unit.offload_gcs_prefix}/{unit.image_name}", IMAGE)
        FrameResults(self._storage, JOB).commit(result)
        if unit.frame == 4:
            raise KeyError("after the frame was stored")
        return result


def run(deed: Callable[[WorkUnit], None], tmp_path: Path, url: str, frames: int):
    """Map frames of one scene; returns the results by frame, and the renderer."""
    storage = FolderStorage(tmp_path / "storage")
    settings = RenderSettings(scene="scene.pov", final_frame=frames)
    units = [
        WorkUnit(settings, frame=frame, inline_resource={"scene.pov": ""}).assigned(
            job_id=JOB, shared_prefix="", offload_prefix=layout.output(JOB)
        )
        for frame in range(1, frames + 1)
    ]

    @flow(name="odd-frames")
    async def mapped() -> tuple[list[FrameResult], FakeRenderer]:
        renderer = FakeRenderer(storage, deed)
        async with JobProgress(storage, JOB, frames) as progress:
            results = await map_frames(
                units,
                renderer=renderer,
                storage=storage,
                stored={},
                run=TaskRuns(renderer, storage, {}, tmp_path / "results", retries=2),
                cache=FrameCache(storage),
                progress=progress,
                logger=LOG,
                warn=LOG.warning,
            )
        return results, renderer

    with temporary_settings({PREFECT_API_URL: url}):
        results, renderer = asyncio.run(mapped())
    assert renderer.slots_released == renderer.slots_taken >= len(results)
    return {result.frame: result for result in results}, renderer


def test_an_error_of_ours_in_one_frame_is_its_failure_and_costs_no_other(
    tmp_path: Path, on_server: str
):
    def deed(unit: WorkUnit) -> None:
        if unit.frame == 2:
            raise TypeError("nobody thought of this")

    results, renderer = run(deed, tmp_path, on_server, frames=4)

    assert renderer.tried.count(2) == 1, "it would fail again"
    assert {frame: result.state for frame, result in results.items()} == {
        1: "rendered",
        2: "failed",
        3: "rendered",
        4: "rendered",
    }
    assert "povstorm itself failed on this frame (TypeError: nobody" in results[2].error


def test_a_scene_that_cannot_be_parsed_is_tried_in_three_frames_only(
    tmp_path: Path, on_server: str
):
    def deed(unit: WorkUnit) -> None:
        raise RenderError("Parse Error", retryable=False)

    results, renderer = run(deed, tmp_path, on_server, frames=400)

    assert renderer.tried == [1, 400, 201]
    assert renderer.most_before_parsed == 1
    assert {result.error for result in results.values()} == {"Parse Error"}


@pytest.mark.parametrize("bad", [set(), {1}, {1, 30}, {1, 30, 2, 3, 5, 6}])
def test_an_error_that_is_in_some_frames_only_leaves_the_others(
    bad: set[int], tmp_path: Path, on_server: str
):
    def deed(unit: WorkUnit) -> None:
        if unit.frame in bad:
            raise RenderError("Parse Error", retryable=False)

    results, renderer = run(deed, tmp_path, on_server, frames=30)

    assert {frame for frame, result in results.items() if result.state == "failed"} == bad
    assert len(results) == 30
    assert renderer.most_before_parsed == 1
