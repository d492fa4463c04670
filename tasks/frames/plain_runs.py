"""PlainRuns: a frame's run without Prefect, by the rules of a task run; for jobs on this machine.

What happens goes into the run's journal, from which Prefect is told. It imports no Prefect.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping

from povstorm_client.errors import RecordError
from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.frame_results import Warn
from povstorm_client.storage.protocol import Storage
from tasks.journal.events import FrameBegun, FrameEnded, How
from tasks.journal.journal import Journal, frame_logger
from tasks.renderers.renderer import Renderer
from tasks.steps.frame_attempt import RETRY_JITTER, RETRY_SECONDS, attempt_frame, can_pass
from tasks.stored.frame_cache import FrameCache
from tasks.stored.stored_results import cache_key


class PlainRuns:
    """Renders frames. stored: results of an earlier run of the job, by work unit id.

    warn is told of an entry of the cache that is none.
    """

    def __init__(
        self,
        renderer: Renderer,
        storage: Storage,
        stored: Mapping[str, FrameResult],
        retries: int,
        journal: Journal,
        warn: Warn,
        cache: FrameCache,
    ) -> None:
        self._renderer = renderer
        self._storage = storage
        self._stored = stored
        self._retries = retries
        self._journal = journal
        self._warn = warn
        self._cache = cache

    async def __call__(self, unit: WorkUnit, *, refresh: bool = False) -> tuple[FrameResult, bool]:
        """A frame's result, and whether it is the cache's; refresh: which is not to be asked."""
        renderer = self._renderer
        if kept := self._stored.get(unit.work_unit_id):
            self._found(unit, "stored")
            return kept, False
        name = cache_key(unit, renderer.version)
        if not refresh and not self._cache.is_without(name):
            cached = await asyncio.to_thread(self._cached, name)
            if cached is not None:
                self._found(unit, "cached")
                return cached, True
        result = await self._rendered(unit)
        await self._cache.write(name, result)
        return result, False

    def _cached(self, name: str) -> FrameResult | None:
        """What Prefect would be handed of the cache."""
        try:
            return self._cache.read(name)
        except RecordError as error:
            self._warn(f"{error}: the frame is rendered again")
            return None

    def _found(self, unit: WorkUnit, how: How) -> None:
        self._journal.write(FrameBegun(unit.work_unit_id))
        self._journal.write(FrameEnded(unit.work_unit_id, how=how))

    async def _rendered(self, unit: WorkUnit) -> FrameResult:
        attempt = 1
        while True:
            self._journal.write(FrameBegun(unit.work_unit_id, attempt))
            attempting = attempt_frame(
                unit,
                self._renderer,
                self._storage,
                attempt=attempt,
                retries=self._retries,
                logger=frame_logger(unit),
            )
            try:
                result = await attempting
            except Exception as error:
                again = attempt <= self._retries and can_pass(error)
                self._journal.write(FrameEnded(unit.work_unit_id, _words(error), again))
                if not again:
                    raise
            else:
                self._journal.write(FrameEnded(unit.work_unit_id, host=result.host))
                return result
            await asyncio.sleep(
                RETRY_SECONDS * 2 ** (attempt - 1) * random.uniform(1.0, 1.0 + RETRY_JITTER)  # noqa: S311
            )
            attempt += 1


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
