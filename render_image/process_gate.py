"""ProcessGate: lets as many POV-Ray processes run at once as keep the cores busy.

With povray_waits.py that is about one a core. Without, POV-Ray 3.7 sleeps at its start, between its
threads and at its end, so one single-threaded process a core leaves cores idle; how many more are
right depends on the scene, so it is measured.
LocalRenderer uses it on this machine, the container's entrypoint on Cloud Run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from povstorm_client.frames.result import FrameResult
from povstorm_client.programs.cores import whole_cores
from povstorm_client.programs.memory import available_memory
from povstorm_client.programs.povray_waits import waits_library
from render_image.machine import CpuUse
from render_image.process_limit import ProcessLimit

_MEASURE_SECONDS = 0.25


class ProcessGate:
    """An adaptive limit on POV-Ray processes; ``async with`` keeps it measured.

    at_most: processes for which there is room, if that is known; None if not.
    """

    def __init__(self, limit: ProcessLimit | None = None, *, at_most: int | None = None) -> None:
        sleeps = waits_library() is None
        self._limit = limit or ProcessLimit(whole_cores(), sleeps=sleeps, at_most=at_most)
        self._running = 0
        # Those too whose process has ended, and that hold memory until they are stored.
        self._in_work = 0
        self._waiting = 0
        self._changed = asyncio.Condition()
        self._told = asyncio.Event()
        self._at_work: list[asyncio.Task[None]] = []

    @property
    def most(self) -> int:
        """As many processes as are never exceeded."""
        return self._limit.most

    async def __aenter__(self) -> ProcessGate:
        self._at_work = [asyncio.create_task(work) for work in (self._measure(), self._tell())]
        return self

    async def __aexit__(self, *exception: object) -> None:
        for task in self._at_work:
            task.cancel()
        await asyncio.gather(*self._at_work, return_exceptions=True)

    @asynccontextmanager
    async def admission(self) -> AsyncIterator[Callable[[], None]]:
        """Wait until the limit, and the free memory, allow one more process.

        Whoever knows calls what this gives when the process has ended: another one can start while
        what came of it is stored. Else that is at the end of the block.
        """
        self._waiting += 1
        try:
            async with self._changed:
                await self._changed.wait_for(self._has_room)
                self._running += 1
                self._in_work += 1
        finally:
            self._waiting -= 1
        ended = False

        def has_ended() -> None:
            nonlocal ended
            if not ended:
                ended = True
                self._running -= 1
                self._told.set()

        try:
            yield has_ended
        finally:
            has_ended()
            self._in_work -= 1
            self._told.set()

    def saw(self, result: FrameResult) -> None:
        """Take note of what a frame needed."""
        if result.statistics is not None:
            self._limit.saw_process(result.statistics.peak_memory_bytes)

    def _has_room(self) -> bool:
        # All who wait look four times a second; what memory is left takes a dozen files to tell.
        if 0 < self._running >= self._limit.processes:
            return False
        return self._limit.allows(self._running, available_memory(), in_work=self._in_work)

    async def _measure(self) -> None:
        """Adapt the limit to the CPU use, as long as frames are waiting."""
        use = CpuUse()
        while True:
            await asyncio.sleep(_MEASURE_SECONDS)
            busy = use.share()
            if self._waiting and self._running:
                self._limit.adapt(self._running, busy)
            self._told.set()

    async def _tell(self) -> None:
        """Have who waits look again, when a process has ended or the limit was measured."""
        while True:
            await self._told.wait()
            self._told.clear()
            async with self._changed:
                self._changed.notify_all()
