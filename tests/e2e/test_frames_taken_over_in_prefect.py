"""Task runs of Prefect's take frames over, and enter them in the cache, as runs without it do."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from pathlib import Path

from prefect import flow
from prefect.settings import PREFECT_API_URL, temporary_settings

from povstorm_client.cleaning.job_deletion import delete_job
from povstorm_client.frames.result import FrameResult
from povstorm_client.storage.folder import FolderStorage
from tasks.frames.job_progress import JobProgress
from tasks.frames.map_frames import map_frames
from tasks.frames.task_runs import TaskRuns
from tasks.stored.frame_cache import FrameCache
from tasks.stored.result_storage import choose_result_storage
from tests.storing_renderer import StoringRenderer, make_frames, submit

LOG = logging.getLogger(__name__)


def run(storage: FolderStorage, job: str, url: str) -> tuple[list[FrameResult], Counter[int]]:
    """Map a job's frames as task runs: their results, and those that were rendered."""
    units = make_frames(job)
    submit(storage, units)
    renderer, cache = StoringRenderer(storage), FrameCache(storage)

    @flow(name="taken-over-frames")
    async def mapped() -> list[FrameResult]:
        results = await choose_result_storage(cache, "")
        return await map_frames(
            units,
            renderer=renderer,
            storage=storage,
            stored={},
            run=TaskRuns(renderer, storage, {}, results, retries=0),
            cache=cache,
            progress=JobProgress(storage, job, len(units)),
            logger=LOG,
            warn=LOG.warning,
        )

    with temporary_settings({PREFECT_API_URL: url}):
        return asyncio.run(mapped()), renderer.attempts


def test_frames_outlive_the_job_that_rendered_them_in_one_that_took_them_over(
    tmp_path: Path, on_server: str
):
    storage = FolderStorage(tmp_path / "storage")
    results, rendered = run(storage, "a", on_server)
    assert (len(results), len(rendered)) == (3, 3)
    assert not run(storage, "b", on_server)[1]

    delete_job(storage, "a", with_cache=True)

    results, rendered = run(storage, "c", on_server)
    assert not rendered
    assert [(result.job_id, result.cache_hit) for result in results] == 3 * [("c", True)]
