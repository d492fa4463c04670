"""LocalRenderer: POV-Ray processes on this machine, as many at once as keep its cores busy.

POV-Ray 3.7 sleeps at its start, between its threads and at its end, so one single-threaded
process a core leaves cores idle; how many more are right depends on the scene, so it is measured.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil

from povstorm_client.frame_result import FrameResult
from povstorm_client.storage import Storage
from povstorm_client.tools import PovRay
from povstorm_client.work_unit import WorkUnit
from render_image.render_unit import render_unit
from tasks.renderers.process_limit import ProcessLimit, cores

_MEASURE_SECONDS = 0.25


class LocalRenderer:
    """Renders with POV-Ray processes here; an adaptive limit bounds how many run at once."""

    def __init__(
        self,
        storage: Storage,
        povray: PovRay,
        *,
        frame_timeout: float | None = None,
        limit: ProcessLimit | None = None,
    ) -> None:
        self._storage = storage
        self._povray = povray
        self._frame_timeout = frame_timeout
        self._limit = limit or ProcessLimit(cores())
        self._running = 0
        self._waiting = 0
        self._changed = asyncio.Condition()
        self._measuring: asyncio.Task[None] | None = None
        self._entered = time.time()

    @property
    def version(self) -> str:
        """POV-Ray's version."""
        return self._povray.version

    async def __aenter__(self) -> LocalRenderer:
        self._entered = time.time()
        self._measuring = asyncio.create_task(self._measure())
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._measuring is not None:
            self._measuring.cancel()
            await asyncio.gather(self._measuring, return_exceptions=True)

    @asynccontextmanager
    async def admission(self) -> AsyncIterator[None]:
        """Wait until the limit, and the free memory, allow one more process."""
        self._waiting += 1
        try:
            async with self._changed:
                await self._changed.wait_for(self._has_room)
                self._running += 1
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            async with self._changed:
                self._running -= 1
                self._changed.notify()

    async def render(self, unit: WorkUnit, *, attempt: int, final_attempt: bool) -> FrameResult:
        """Render and store one frame; RenderError if it fails."""
        result = await render_unit(
            unit,
            self._storage,
            self._povray,
            attempt=attempt,
            final_attempt=final_attempt,
            queued_since=self._entered,
            timeout=self._frame_timeout,
        )
        if result.statistics is not None:
            self._limit.saw_process(result.statistics.peak_memory_bytes)
        return result

    def _has_room(self) -> bool:
        return self._limit.allows(self._running, psutil.virtual_memory().available)

    async def _measure(self) -> None:
        """Adapt the limit to the CPU use of the machine, as long as frames are waiting."""
        psutil.cpu_percent()  # the first call only sets the start of the interval
        while True:
            await asyncio.sleep(_MEASURE_SECONDS)
            busy = psutil.cpu_percent() / 100
            if self._waiting and self._running:
                self._limit.adapt(self._running, busy)
            async with self._changed:
                self._changed.notify_all()
