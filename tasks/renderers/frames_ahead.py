"""FramesAhead: a renderer whose frames are in work before their task runs exist.

Where the flow runs on this machine it is entered as soon as the manifest is read, while Prefect is
still starting; render_frame's task runs then attach to what is in work, or done. Retries are the
task's, as with every renderer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from tasks.renderers.renderer import Renderer

# Called with each frame that is begun: whether it has to be rendered at all.
IsWanted = Callable[[WorkUnit], Awaitable[bool]]


class _Frame:
    """A frame in work: begun once it was admitted; outcome is its first attempt's."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.outcome: asyncio.Task[FrameResult] | None = None


class FramesAhead:
    """Renders units in their order, each once, from when it is entered.

    renderer: what renders. final_attempt: whether a frame that fails has no further attempt.
    is_wanted: asked before a frame is begun; one that is not wanted (it is stored, or in the cache)
    is rendered only if its task asks for it all the same.
    """

    def __init__(
        self,
        renderer: Renderer,
        units: Iterable[WorkUnit],
        *,
        final_attempt: bool,
        is_wanted: IsWanted,
    ) -> None:
        self._renderer = renderer
        self._units = list(units)
        self._final_attempt = final_attempt
        self._is_wanted = is_wanted
        self._frames = {unit.work_unit_id: _Frame() for unit in self._units}
        self._beginning: asyncio.Task[None] | None = None
        self._entered = AsyncExitStack()

    @property
    def version(self) -> str:
        """POV-Ray's version."""
        return self._renderer.version

    async def __aenter__(self) -> FramesAhead:
        if self._beginning is None:
            await self._entered.enter_async_context(self._renderer)
            self._beginning = asyncio.create_task(self._begin_all())
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Stop what is in work; finished frames are stored."""
        working = [frame.outcome for frame in self._frames.values() if frame.outcome is not None]
        stopping = [task for task in (self._beginning, *working) if task is not None]
        for task in stopping:
            task.cancel()
        await asyncio.gather(*stopping, return_exceptions=True)
        await self._entered.aclose()

    def admission(self, unit: WorkUnit) -> AbstractAsyncContextManager[None]:
        """Wait until the frame is in work: its task run does not read Running before."""
        return self._admission(unit)

    @asynccontextmanager
    async def _admission(self, unit: WorkUnit) -> AsyncIterator[None]:
        frame = self._frames.get(unit.work_unit_id)
        if frame is None:
            async with self._renderer.admission(unit):
                yield
            return
        await self._or_broken(frame.begun.wait())
        yield

    async def render(self, unit: WorkUnit, *, attempt: int, final_attempt: bool) -> FrameResult:
        """The outcome of a first attempt that is in work or done; a further one is rendered now."""
        frame = self._frames.get(unit.work_unit_id)
        if frame is None:
            return await self._renderer.render(unit, attempt=attempt, final_attempt=final_attempt)
        if attempt == 1 and frame.outcome is not None:
            # Whoever attaches may be cancelled; the frame is everybody's.
            return await asyncio.shield(frame.outcome)
        async with self._renderer.admission(unit):
            return await self._renderer.render(unit, attempt=attempt, final_attempt=final_attempt)

    async def _begin_all(self) -> None:
        for unit in self._units:
            frame = self._frames[unit.work_unit_id]
            if await self._is_wanted(unit):
                admitted = AsyncExitStack()
                await admitted.enter_async_context(self._renderer.admission(unit))
                frame.outcome = asyncio.create_task(self._render_first(unit, admitted))
                # Nobody may ever attach: a failure is stored, and then no unheard exception.
                frame.outcome.add_done_callback(_hear)
            frame.begun.set()

    async def _render_first(self, unit: WorkUnit, admitted: AsyncExitStack) -> FrameResult:
        async with admitted:
            return await self._renderer.render(unit, attempt=1, final_attempt=self._final_attempt)

    async def _or_broken(self, waiting: Awaitable[object]) -> None:
        """Wait, unless frames can't be begun any more; then raise why."""
        assert self._beginning is not None, "enter it first"  # noqa: S101 - a mistake of ours
        waiter = asyncio.ensure_future(waiting)
        try:
            await asyncio.wait({waiter, self._beginning}, return_when=asyncio.FIRST_COMPLETED)
            if not waiter.done():
                self._beginning.result()
                await waiter
        finally:
            waiter.cancel()


def _hear(outcome: asyncio.Task[FrameResult]) -> None:
    if not outcome.cancelled():
        outcome.exception()
