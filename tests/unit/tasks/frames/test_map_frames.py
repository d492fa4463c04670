"""Frames are rendered in order, no more at once than the renderer admits, and fail alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from povstorm_client import RenderError, RenderSettings, ToolError, WorkUnit
from povstorm_client.frames.chain_link import ChainLink
from povstorm_client.frames.result import FrameResult
from povstorm_client.storage.folder import FolderStorage
from tasks.frames import head_start, plain_runs
from tasks.frames.job_progress import JobProgress
from tasks.frames.map_frames import map_frames
from tasks.frames.plain_runs import PlainRuns
from tasks.journal.journal import Journal
from tasks.stored.frame_cache import FrameCache

LOG = logging.getLogger(__name__)


def units_of(frames: int) -> list[WorkUnit]:
    settings = RenderSettings("scene.pov", final_frame=frames)
    return [
        WorkUnit(settings, frame=frame).assigned(job_id="j", shared_prefix="", offload_prefix="o")
        for frame in range(1, frames + 1)
    ]


class InMemory:
    """A renderer of two frames at once that renders what it is told to, or fails."""

    version = "3.7.test"

    def __init__(
        self, failing: dict[int, Exception] | None = None, *, is_new: bool = False
    ) -> None:
        self.failing = failing or {}
        self.rendered: list[tuple[int, int, bool]] = []
        self.admitted: list[int] = []
        self.at_work = self.most_at_work = 0
        self.most_before_parsed = 0
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.parsed = asyncio.Event()
        if not is_new:
            self.parsed.set()
        self._room = asyncio.Semaphore(2)

    @asynccontextmanager
    async def admission(self, unit: WorkUnit) -> AsyncIterator[None]:
        async with self._room:
            self.admitted.append(unit.frame)
            self.at_work += 1
            self.most_at_work = max(self.most_at_work, self.at_work)
            try:
                yield
            finally:
                self.at_work -= 1

    async def has_parsed(self) -> None:
        await self.parsed.wait()

    async def render(self, unit: WorkUnit, *, attempt: int, final_attempt: bool) -> FrameResult:
        if not self.parsed.is_set():
            self.most_before_parsed = max(self.most_before_parsed, self.at_work)
        await asyncio.sleep(0)
        await self.may_end.wait()
        self.rendered.append((unit.frame, attempt, final_attempt))
        if attempt == 1 and unit.frame in self.failing:
            raise self.failing[unit.frame]
        self.parsed.set()
        return FrameResult(
            work_unit_id=unit.work_unit_id,
            job_id="j",
            frame=unit.frame,
            state="rendered",
            attempt=attempt,
            host="",
            started=1.0,
            ended=2.0,
            renderer_version=self.version,
        )


class Mapped:
    """What mapping frames has come to."""

    def __init__(self) -> None:
        self.results: list[FrameResult] = []
        self.progress: JobProgress | None = None


async def mapped(
    folder: Path,
    renderer: InMemory,
    units: list[WorkUnit],
    *,
    retries: int = 3,
    stored: dict[str, FrameResult] | None = None,
) -> Mapped:
    storage = FolderStorage(folder)
    cache = FrameCache(storage)
    outcome = Mapped()
    outcome.progress = JobProgress(storage, "j", len(units))
    known = stored or {}
    outcome.results = await map_frames(
        units,
        renderer=renderer,
        storage=storage,
        stored=known,
        run=PlainRuns(renderer, storage, known, retries, Journal(None), LOG.warning, cache),
        cache=cache,
        progress=outcome.progress,
        logger=LOG,
        warn=LOG.warning,
    )
    return outcome


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_runs, "RETRY_SECONDS", 0.0)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Mapped]:
    return lambda renderer, units, **named: asyncio.run(mapped(tmp_path, renderer, units, **named))


def failures(outcome: Mapped) -> dict[int, str]:
    return {result.frame: result.error for result in outcome.results if result.state == "failed"}


def test_all_frames_are_rendered_in_order_and_no_more_at_once_than_the_renderer_admits(run):
    renderer = InMemory()
    outcome = run(renderer, units_of(5))

    assert renderer.admitted == [1, 2, 3, 4, 5]
    assert renderer.most_at_work == 2
    assert [result.frame for result in outcome.results] == [1, 2, 3, 4, 5]
    assert outcome.progress.state.done == 5


def test_a_failed_attempt_is_followed_by_the_next_one(run):
    renderer = InMemory({3: RenderError("lost", retryable=True)})
    outcome = run(renderer, units_of(4))

    assert [each for each in renderer.rendered if each[0] == 3] == [(3, 1, False), (3, 2, False)]
    assert failures(outcome) == {}


def test_the_last_attempt_is_told_to_be_one(run):
    renderer = InMemory()
    run(renderer, units_of(1), retries=0)

    assert renderer.rendered == [(1, 1, True)]


def test_a_frame_that_is_stored_already_is_not_rendered(run):
    units = units_of(3)
    kept = asyncio.run(InMemory().render(units[1], attempt=1, final_attempt=False))
    renderer = InMemory()
    outcome = run(renderer, units, stored={units[1].work_unit_id: kept})

    assert sorted(frame for frame, _, _ in renderer.rendered) == [1, 3]
    assert outcome.results[1] == kept
    assert outcome.progress.state.timed == 2, "this run has rendered two"


def chain() -> list[WorkUnit]:
    units: list[WorkUnit] = []
    settings = RenderSettings("scene.pov", final_frame=9)
    for frame in range(1, 10):
        unit = WorkUnit(settings, frame=frame, link=ChainLink("scene/own"))
        after = units[-1].work_unit_id if units else ""
        units.append(unit.assigned(job_id="j", shared_prefix="", offload_prefix="o", after=after))
    return units


def test_frames_that_go_on_from_each_other_are_in_work_one_at_a_time(run):
    renderer = InMemory(is_new=True)
    outcome = run(renderer, chain())

    assert [frame for frame, _, _ in renderer.rendered] == list(range(1, 10))
    assert renderer.most_at_work == 1
    assert failures(outcome) == {}


def test_no_frame_is_begun_that_would_go_on_from_one_that_failed(run):
    renderer = InMemory({3: RenderError("out of memory", retryable=True)})
    outcome = run(renderer, chain(), retries=0)

    assert renderer.admitted == [1, 2, 3]
    assert set(failures(outcome)) == set(range(3, 10))


def test_a_chain_goes_on_from_what_is_stored(run):
    units = chain()
    stored = {
        unit.work_unit_id: asyncio.run(InMemory().render(unit, attempt=1, final_attempt=False))
        for unit in units[:4]
    }
    renderer = InMemory()
    run(renderer, units, stored=stored)

    assert [frame for frame, _, _ in renderer.rendered] == [5, 6, 7, 8, 9]


def test_being_cancelled_stops_what_is_in_work(tmp_path: Path):
    renderer = InMemory()
    renderer.may_end.clear()

    async def stopped() -> None:
        mapping = asyncio.create_task(mapped(tmp_path, renderer, units_of(4)))
        while renderer.at_work < 2:
            await asyncio.sleep(0)
        mapping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await mapping
        assert renderer.at_work == 0

    asyncio.run(stopped())
    assert renderer.rendered == []


def test_what_keeps_frames_from_being_rendered_at_all_is_raised(run):
    with pytest.raises(ToolError, match="POV-Ray is gone"):
        run(InMemory({1: ToolError("POV-Ray is gone")}), units_of(4))


@pytest.mark.parametrize("parses_late", [False, True])
def test_a_scene_that_cannot_be_parsed_is_tried_in_few_frames_only(
    run, parses_late: bool, monkeypatch: pytest.MonkeyPatch
):
    if parses_late:
        monkeypatch.setattr(head_start, "_SECONDS", 0.0)
    error = RenderError("Parse Error", retryable=False)
    renderer = InMemory(dict.fromkeys(range(1, 101), error), is_new=True)
    run(renderer, units_of(100))

    if parses_late:
        # Five failures are enough; those that were admitted meanwhile are few.
        assert 5 <= len(renderer.rendered) < 20
    else:
        assert renderer.admitted == [1, 100, 51]


def test_a_first_frame_that_fails_alone_costs_only_itself(run):
    renderer = InMemory({1: RenderError("Parse Error", retryable=False)}, is_new=True)
    outcome = run(renderer, units_of(9))

    assert set(failures(outcome)) == {1}
    assert len(renderer.rendered) == 9


def test_a_lost_first_frame_says_nothing_of_the_scene(run):
    renderer = InMemory({1: RenderError("lost", retryable=True)}, is_new=True)
    outcome = run(renderer, units_of(9))

    assert failures(outcome) == {}
    assert len(renderer.rendered) == 10


def test_one_frame_is_alone_until_it_has_parsed_the_scene(run):
    renderer = InMemory(is_new=True)
    run(renderer, units_of(9))

    assert renderer.most_before_parsed == 1
    assert renderer.most_at_work == 2
