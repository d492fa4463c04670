"""Frames here are rendered, retried and cached by the rules of task runs; their journal tells."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Callable
from typing import BinaryIO

import pytest

from povstorm_client import RenderError, RenderSettings, WorkUnit
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from tasks.frames.job_progress import JobProgress
from tasks.frames.map_frames import map_frames
from tasks.frames.plain_runs import PlainRuns
from tasks.journal.events import FrameBegun, FrameEnded
from tasks.journal.journal import Journal
from tasks.journal.journal_reader import JournalReader
from tasks.stored.frame_cache import FrameCache
from tests.storing_renderer import StoringRenderer

LOG = logging.getLogger("povstorm")


def never(unit: WorkUnit, attempt: int) -> None:
    return None


def run(
    storage: FolderStorage,
    error: Callable[[WorkUnit, int], Exception | None],
    job: str = "job",
    journal: BinaryIO | None = None,
) -> tuple[dict[int, FrameResult], StoringRenderer]:
    """Map three frames outside of any flow; the results by frame, and the renderer."""
    settings = RenderSettings(scene="scene.pov", final_frame=3)
    units = [
        WorkUnit(settings, frame=frame, inline_resource={"scene.pov": ""}).assigned(
            job_id=job, shared_prefix="", offload_prefix=layout.output(job)
        )
        for frame in (1, 2, 3)
    ]
    renderer, cache = StoringRenderer(storage, error), FrameCache(storage)

    async def mapped() -> list[FrameResult]:
        return await map_frames(
            units,
            renderer=renderer,
            storage=storage,
            stored={},
            run=PlainRuns(renderer, storage, {}, 1, Journal(journal), LOG.warning, cache),
            cache=cache,
            progress=JobProgress(storage, job, 3),
            logger=LOG,
            warn=LOG.warning,
        )

    return {result.frame: result for result in asyncio.run(mapped())}, renderer


def test_a_lost_frame_is_tried_again(storage: FolderStorage):
    def error(unit: WorkUnit, attempt: int) -> Exception | None:
        return RenderError("lost", retryable=True) if (unit.frame, attempt) == (2, 1) else None

    results, renderer = run(storage, error)

    assert {result.state for result in results.values()} == {"rendered"}
    assert renderer.attempts == {1: 1, 2: 2, 3: 1}
    assert renderer.last == {2}


@pytest.mark.parametrize("retryable", [False, True])
def test_a_frame_that_fails_for_good_costs_no_other(retryable: bool, storage: FolderStorage):
    def error(unit: WorkUnit, attempt: int) -> Exception | None:
        return RenderError("no", retryable=retryable) if unit.frame == 2 else None

    results, renderer = run(storage, error)

    assert {frame: result.state for frame, result in results.items()} == {
        1: "rendered",
        2: "failed",
        3: "rendered",
    }
    assert renderer.attempts[2] == 1 + retryable


def test_what_is_rendered_is_in_the_cache_for_the_next_job(storage: FolderStorage):
    run(storage, never)
    results, renderer = run(storage, never, job="next")

    assert renderer.attempts == {}
    assert {result.cache_hit for result in results.values()} == {True}
    assert {result.job_id for result in results.values()} == {"next"}


def test_a_cached_frame_whose_image_is_gone_is_rendered(storage: FolderStorage):
    first, _ = run(storage, never)
    storage.remove(f"{layout.output('job')}/{first[2].image}")
    results, renderer = run(storage, never, job="next")

    assert renderer.attempts == {2: 1}
    assert {frame for frame, result in results.items() if result.cache_hit} == {1, 3}


def test_the_journal_tells_of_each_attempt_and_of_what_the_cache_had(storage: FolderStorage):
    def error(unit: WorkUnit, attempt: int) -> Exception | None:
        return RenderError("lost", retryable=True) if (unit.frame, attempt) == (2, 1) else None

    with tempfile.TemporaryFile() as first, tempfile.TemporaryFile() as second:
        run(storage, error, journal=first)
        results, _ = run(storage, never, job="next", journal=second)
        told = list(JournalReader(first.fileno()).new())
        told_of_next = list(JournalReader(second.fileno()).new())

    unit = FrameResults(storage, "job").all()[1].work_unit_id
    assert [event for event in told if event.unit == unit] == [
        FrameBegun(unit, 1),
        FrameEnded(unit, "lost", again=True),
        FrameBegun(unit, 2),
        FrameEnded(unit),
    ]
    ends = [event for event in told_of_next if isinstance(event, FrameEnded)]
    assert {(end.unit, end.how) for end in ends} == {
        (result.work_unit_id, "cached") for result in results.values()
    }
