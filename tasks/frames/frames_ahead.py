"""FramesAhead: a renderer whose frames are in work before their task runs exist.

The flow of a job on this machine enters it as soon as the job is read, while Prefect is still
starting; render_frame's task runs then attach to what is in work, or done. Retries are the task's,
as with every renderer.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from povstorm_client.errors import RenderError
from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from tasks.frames.head_start import has_failed_first, head_frames
from tasks.frames.job_progress import JobProgress
from tasks.renderers.renderer import SAME_FAILURES, Renderer

# Called with each frame that is begun: whether it has to be rendered at all.
IsWanted = Callable[[WorkUnit], Awaitable[bool]]
# Task runs that catch up at once with frames that need no rendering any more; they hold memory.
_CATCHING_UP = 16


class _Frame:
    """A frame in work: begun once it was admitted; outcome is its first attempt's."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.outcome: asyncio.Task[FrameResult] | None = None

    @property
    def is_in_work(self) -> bool:
        return self.outcome is not None and not self.outcome.done()


class FramesAhead:
    """Renders units in their order, each once, from when it is entered.

    Of a scene that cannot be parsed no more is tried than map_frames would. renderer: what renders.
    stored: ids of units that are rendered already. final_attempt: whether a frame that fails has no
    further attempt. is_wanted: asked before a frame is begun; one that is not wanted (it is stored,
    or in the cache) is rendered only if its task asks for it all the same. progress: counts what is
    in work and done.
    """

    def __init__(
        self,
        renderer: Renderer,
        units: Sequence[WorkUnit],
        *,
        stored: Collection[str] = (),
        final_attempt: bool,
        is_wanted: IsWanted,
        progress: JobProgress,
    ) -> None:
        self._renderer = renderer
        self._units = list(units)
        self._heads = head_frames(self._units, stored)
        self._stored = frozenset(stored)
        self._final_attempt = final_attempt
        self._is_wanted = is_wanted
        self._progress = progress
        self._frames = {unit.work_unit_id: _Frame() for unit in self._units}
        self._catching_up = asyncio.Semaphore(_CATCHING_UP)
        self._failures: Counter[str] = Counter()
        self._any_begun = asyncio.Event()
        self._any_rendered = False
        self._beginning: asyncio.Task[None] | None = None
        self._left = False
        self._entered = AsyncExitStack()

    @property
    def version(self) -> str:
        """POV-Ray's version."""
        return self._renderer.version

    @property
    def is_at_work(self) -> bool:
        """Whether it was entered and not left."""
        return self._beginning is not None and not self._left

    async def __aenter__(self) -> FramesAhead:
        if self._beginning is None:
            await self._entered.enter_async_context(self._renderer)
            self._beginning = asyncio.create_task(self._begin_all())
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Stop what is in work; finished frames are stored."""
        self._left = True
        stopping = [task for task in (self._beginning, *self._outcomes()) if task is not None]
        for task in stopping:
            task.cancel()
        await asyncio.gather(*stopping, return_exceptions=True)
        await self._entered.aclose()

    async def first_begun(self) -> None:
        """Wait until a frame is in work, or none is to be."""
        await self._or_broken(self._any_begun.wait())

    async def all_done(self) -> None:
        """Wait until nothing is in work, nor will be unless a task asks for it."""
        if self._beginning is not None:
            await asyncio.wait({self._beginning})
        if outcomes := self._outcomes():
            await asyncio.wait(outcomes)

    async def in_turn(self, units: Sequence[WorkUnit]) -> AsyncIterator[WorkUnit]:
        """The units in their order: so they are rendered."""
        for unit in units:
            yield unit

    def admission(self, unit: WorkUnit) -> AbstractAsyncContextManager[None]:
        """Wait until the frame is in work: its task run does not read Running before."""
        return self._admission(unit)

    @asynccontextmanager
    async def _admission(self, unit: WorkUnit) -> AsyncIterator[None]:
        frame = self._frames[unit.work_unit_id]
        await self._or_broken(frame.begun.wait())
        if frame.is_in_work:
            yield
            return
        async with self._catching_up:
            yield

    async def render(self, unit: WorkUnit, *, attempt: int, final_attempt: bool) -> FrameResult:
        """The outcome of a first attempt that is in work or done; a further one is rendered now."""
        outcome = self._frames[unit.work_unit_id].outcome
        if attempt == 1 and outcome is not None:
            # Whoever attaches may be cancelled; the frame is everybody's.
            return await asyncio.shield(outcome)
        async with self._renderer.admission(unit):
            return await self._renderer.render(unit, attempt=attempt, final_attempt=final_attempt)

    async def has_parsed(self) -> None:
        """Wait until a frame of this run is past parsing its scene, where that is told at all."""
        await self._renderer.has_parsed()

    async def _begin_all(self) -> None:
        failed = 0
        for unit in self._heads:
            outcome = await self._begin(unit)
            if outcome is None or not await self._has_failed_first(outcome):
                break
            failed += 1
        if not self._heads or failed < len(self._heads) or len(self._failures) > 1:
            for unit in self._units:
                if self._is_hopeless() or not await self._can_go_on(unit):
                    break
                if not self._frames[unit.work_unit_id].begun.is_set():
                    await self._begin(unit)
        # What was not begun is its task's to render, or to leave.
        for frame in self._frames.values():
            frame.begun.set()
        self._any_begun.set()

    async def _can_go_on(self, unit: WorkUnit) -> bool:
        """Wait for the frame that this one goes on from, if any; whether it is rendered."""
        if unit.link is None or not unit.link.after:
            return True
        outcome = self._frames[unit.link.after].outcome
        if outcome is None:
            return unit.link.after in self._stored
        await asyncio.wait({outcome})
        return not outcome.cancelled() and outcome.exception() is None

    async def _begin(self, unit: WorkUnit) -> asyncio.Task[FrameResult] | None:
        frame = self._frames[unit.work_unit_id]
        if await self._is_wanted(unit):
            async with AsyncExitStack() as slot:
                await slot.enter_async_context(self._renderer.admission(unit))
                # The frame's task has it from here, and releases it however the frame ends.
                frame.outcome = asyncio.create_task(self._render_first(unit, slot.pop_all()))
            # Nobody may ever attach: a failure is stored, and then no unheard exception.
            frame.outcome.add_done_callback(_hear)
        frame.begun.set()
        self._any_begun.set()
        return frame.outcome

    async def _render_first(self, unit: WorkUnit, slot: AsyncExitStack) -> FrameResult:
        async with slot:
            try:
                with self._progress.working_on(unit):
                    result = await self._renderer.render(
                        unit, attempt=1, final_attempt=self._final_attempt
                    )
            except RenderError as error:
                if self._final_attempt or not error.retryable:
                    self._failures[_line(unit, error)] += 1
                raise
            self._any_rendered = True
            self._progress.rendered(unit, cached=False, now=True)
            return result

    async def _has_failed_first(self, outcome: asyncio.Task[FrameResult]) -> bool:
        """Whether a frame that goes ahead has failed for good."""
        before = self._failures.total()

        async def state() -> bool:
            await asyncio.wait({outcome})
            return self._failures.total() > before

        return await has_failed_first(self._renderer, asyncio.ensure_future(state()))

    def _is_hopeless(self) -> bool:
        """Whether the first frames have all failed alike."""
        return (
            not self._any_rendered
            and len(self._failures) == 1
            and self._failures.total() >= SAME_FAILURES
        )

    def _outcomes(self) -> list[asyncio.Task[FrameResult]]:
        return [frame.outcome for frame in self._frames.values() if frame.outcome is not None]

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


def _line(unit: WorkUnit, error: RenderError) -> str:
    """What failed, without the frame and the end of its log: those always differ."""
    return str(error).partition("\n")[0].removeprefix(f"frame {unit.frame}: ")


def _hear(outcome: asyncio.Task[FrameResult]) -> None:
    if not outcome.cancelled():
        outcome.exception()
