"""TaskRuns: a frame's run is a task run of Prefect's, which retries it and asks the cache.

The render_job flow hands it to map_frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.tasks import Task
from prefect.utilities.annotations import quote

from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.storage.protocol import Storage
from tasks.render_frame import render_frame
from tasks.renderers.renderer import Renderer
from tasks.stored.result_storage import PrefectResults


class TaskRuns:
    """Runs render_frame. stored: results of an earlier run of the job, by work unit id."""

    def __init__(
        self,
        renderer: Renderer,
        storage: Storage,
        stored: Mapping[str, FrameResult],
        result_storage: PrefectResults,
        retries: int,
    ) -> None:
        self._renderer = renderer
        self._storage = storage
        self._stored = stored
        self._retries = retries
        self._task: Task[..., Any] = render_frame.with_options(
            retries=retries, result_storage=result_storage
        )

    async def __call__(self, unit: WorkUnit, *, refresh: bool = False) -> tuple[FrameResult, bool]:
        """A frame's result, and whether it is the cache's; refresh: which is not to be asked."""
        stored = self._stored.get(unit.work_unit_id)
        task = self._task.with_options(refresh_cache=True) if refresh else self._task
        if stored is not None:
            # What an earlier run has left, by the version of its own, is not this version's entry.
            task = self._task.with_options(cache_policy=NO_CACHE, persist_result=False)
        # Quoted: Prefect would look through all of a unit's fields for futures to wait for.
        state: State[dict[str, Any]] = await task(
            quote(unit),
            quote(self._renderer),
            quote(self._storage),
            retries=self._retries,
            stored=quote(stored),
            return_state=True,
        )
        forget_results()
        return FrameResult.from_json(await state.aresult()), state.name == "Cached"


def forget_results() -> None:
    """Let go of the last states of the flow run's task runs.

    By these Prefect knows whose results are handed to other tasks, as a frame's never is; they
    would be held until the flow ends.
    """
    if (context := FlowRunContext.get()) is not None:
        context.run_results.clear()
