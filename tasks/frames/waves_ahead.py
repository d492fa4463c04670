"""WavesAhead: a job's frames on Cloud Run, in work before their task runs exist.

The flow enters it as soon as the job is read. It starts all frames that have to be rendered
together, from the manifest alone; a frame's task run starts when what became of the frame is known,
few at a time, so that neither how fast nor how many Prefect records delays any frame, or holds
memory for each. Retries are the task's, as with every renderer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

from povstorm_client.errors import RenderError
from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from tasks.frames.job_progress import JobProgress
from tasks.renderers.cloud_run.cloud_run_renderer import CloudRunRenderer

# Task runs at once. Each holds a tenth of a megabyte, and more of them are recorded no sooner.
_CATCHING_UP = 32


class WavesAhead:
    """Has units rendered, each once, from when it is entered.

    find_wanted: those of the units that have to be rendered, neither stored nor in the cache; it is
    called in a thread, when the renderer knows its version. The others are rendered only if their
    tasks ask for it. final_attempt: whether a frame that fails has no further attempt. progress:
    counts what is in work and done.
    """

    def __init__(
        self,
        renderer: CloudRunRenderer,
        units: Sequence[WorkUnit],
        *,
        final_attempt: bool,
        find_wanted: Callable[[Sequence[WorkUnit], str], Sequence[WorkUnit]],
        progress: JobProgress,
    ) -> None:
        self._renderer = renderer
        self._units = units
        self._final_attempt = final_attempt
        self._find_wanted = find_wanted
        self._progress = progress
        self._outcomes: dict[str, asyncio.Future[FrameResult]] = {}
        # Those of which it is known what became of them, and that were not told in_turn.
        self._ended: deque[WorkUnit] = deque()
        self._news = asyncio.Event()
        self._catching_up = asyncio.Semaphore(_CATCHING_UP)
        # The ids of units whose task runs are among these.
        self._caught: set[str] = set()

    @property
    def version(self) -> str:
        """The image that renders."""
        return self._renderer.version

    async def __aenter__(self) -> WavesAhead:
        """Raises CloudError if a render job cannot be reached."""
        await self._renderer.open()
        try:
            await self._begin()
        except BaseException:
            await self._renderer.close(orderly=False)
            raise
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Stop what is in work; finished frames are stored."""
        await self._renderer.close(orderly=exception[0] is None)

    async def _begin(self) -> None:
        wanted = await asyncio.to_thread(self._find_wanted, self._units, self.version)
        if not wanted:
            return
        self._progress.begin(wanted)
        outcomes = self._renderer.begin(wanted, final_attempt=self._final_attempt)
        for unit, outcome in zip(wanted, outcomes, strict=True):
            self._outcomes[unit.work_unit_id] = outcome
            outcome.add_done_callback(partial(self._has_ended, unit))

    def _has_ended(self, unit: WorkUnit, outcome: asyncio.Future[FrameResult]) -> None:
        self._progress.end(unit)
        if not outcome.cancelled() and outcome.exception() is None:
            self._progress.rendered(unit, cached=False, now=True)
        self._ended.append(unit)
        self._news.set()

    async def in_turn(self, units: Sequence[WorkUnit]) -> AsyncIterator[WorkUnit]:
        """Those that need no rendering at once, each of the others when it has been rendered."""
        to_come = {unit.work_unit_id for unit in units}
        for unit in units:
            outcome = self._outcomes.get(unit.work_unit_id)
            if outcome is None or outcome.done():
                to_come.discard(unit.work_unit_id)
                yield unit
        while to_come:
            while self._ended:
                unit = self._ended.popleft()
                if unit.work_unit_id in to_come:
                    to_come.discard(unit.work_unit_id)
                    yield unit
            if to_come:
                self._news.clear()
                await self._news.wait()

    @asynccontextmanager
    async def admission(self, unit: WorkUnit) -> AsyncIterator[None]:
        """Wait until one more task run may start."""
        await self._catching_up.acquire()
        self._caught.add(unit.work_unit_id)
        try:
            yield
        finally:
            self._let_go(unit)
            self._renderer.expect_no_more(unit)

    def _let_go(self, unit: WorkUnit) -> None:
        """Let another task run start in place of this one, which waits for its frame."""
        if unit.work_unit_id in self._caught:
            self._caught.discard(unit.work_unit_id)
            self._catching_up.release()

    async def render(self, unit: WorkUnit, *, attempt: int, final_attempt: bool) -> FrameResult:
        """The outcome of a first attempt, or a further one, which joins the next wave."""
        outcome = self._outcomes.get(unit.work_unit_id)
        if attempt == 1 and outcome is not None:
            try:
                # Whoever attaches may be cancelled; the frame is everybody's.
                return await asyncio.shield(outcome)
            except RenderError as error:
                if error.retryable and not final_attempt:
                    # Frames that were lost together are tried again together.
                    self._renderer.expect(unit)
                    self._let_go(unit)
                raise
        self._let_go(unit)
        return await self._renderer.render(unit, attempt=attempt, final_attempt=final_attempt)

    async def has_parsed(self) -> None:
        """The first wave is a sample, where the rest does not start with it."""
