"""The state of a running job, as its flow publishes it."""

from __future__ import annotations

import asyncio
import threading
from itertools import pairwise

import pytest

from povstorm_client import RenderSettings, WorkUnit
from povstorm_client.jobs.state import JobState, read_state, write_state
from povstorm_client.storage.folder import FolderStorage
from tasks.frames import job_progress
from tasks.frames.job_progress import JobProgress


@pytest.fixture
def progress(storage: FolderStorage, monkeypatch: pytest.MonkeyPatch) -> JobProgress:
    monkeypatch.setattr(FolderStorage, "poll_seconds", 0.01)
    return JobProgress(storage, "job", 4)


async def published(storage: FolderStorage, condition) -> None:
    """Wait until the stored state is such."""
    for _ in range(1000):
        state = read_state(storage, "job")
        if state is not None and condition(state):
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"waited in vain: {read_state(storage, 'job')}")


def test_it_names_the_frames_in_work(storage: FolderStorage, progress: JobProgress, sphere_unit):
    units: list[WorkUnit] = [sphere_unit(frame) for frame in (1, 2, 4)]

    async def work() -> None:
        async with progress:
            with progress.working_on(units[0]), progress.working_on(units[1]):
                with progress.working_on(units[2]):
                    await published(storage, lambda state: state.working == ((1, 2), (4, 4)))
                await published(
                    storage, lambda state: (state.working, state.running) == (((1, 2),), 2)
                )

    asyncio.run(work())

    assert read_state(storage, "job").working == ()


def test_it_is_written_again_although_nothing_changed(
    storage: FolderStorage, progress: JobProgress, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(job_progress, "HEARTBEAT_SECONDS", 0.05)

    async def wait() -> None:
        async with progress:
            await published(storage, lambda state: state.phase == "staging")
            first = read_state(storage, "job").updated
            await published(storage, lambda state: state.updated > first)

    asyncio.run(wait())


def test_a_write_that_is_on_its_way_at_the_end_does_not_replace_the_last(
    storage: FolderStorage, progress: JobProgress, monkeypatch: pytest.MonkeyPatch
):
    on_its_way, goes_on = threading.Event(), threading.Event()

    def slow_write(storage: FolderStorage, job_id: str, state: JobState) -> None:
        if state.phase == "reporting":
            on_its_way.set()
            assert goes_on.wait(60)
        write_state(storage, job_id, state)

    monkeypatch.setattr(job_progress, "write_state", slow_write)

    async def work() -> None:
        async with progress:
            progress.enter("reporting")
            assert await asyncio.to_thread(on_its_way.wait, 60)
            progress.enter("completed")
            # Late enough for a last write that does not wait for it.
            asyncio.get_running_loop().call_later(0.3, goes_on.set)

    asyncio.run(work())  # ends when its threads have ended

    assert read_state(storage, "job").phase == "completed"


def test_a_frame_that_several_have_rendered_counts_once(
    storage: FolderStorage, progress: JobProgress, sphere_unit
):
    unit: WorkUnit = sphere_unit(1)
    with progress.working_on(unit), progress.working_on(unit):
        assert progress.state.running == 1
    progress.rendered(unit, cached=False, now=True)
    with progress.working_on(unit):
        assert progress.state.running == 0, "it is done"
    progress.rendered(unit, cached=False, now=True)

    assert (progress.state.done, progress.state.timed, progress.state.running) == (1, 1, 0)


def test_a_frame_is_in_work_until_the_last_that_works_on_it_ends(
    storage: FolderStorage, progress: JobProgress, sphere_unit
):
    unit: WorkUnit = sphere_unit(1)
    with progress.working_on(unit):
        with progress.working_on(unit):
            pass
        assert progress.state.running == 1

    assert progress.state.running == 0


def test_it_says_what_prefect_has_no_record_of(storage: FolderStorage, progress: JobProgress):
    async def run() -> None:
        async with progress:
            progress.unrecorded("Prefect has no record of this run")

    asyncio.run(run())

    assert read_state(storage, "job").unrecorded == "Prefect has no record of this run"


def test_it_tells_failed_frames_and_a_sample_of_what_frames_took(
    storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
):
    settings = RenderSettings(scene="sphere.pov", width=4, height=3, final_frame=101)
    monkeypatch.setattr(job_progress, "_MOST_SAMPLED", 10)
    monkeypatch.setattr(job_progress, "_LATEST_SAMPLED", 3)
    progress = JobProgress(storage, "job", 101)

    async def work() -> None:
        async with progress:
            for frame in range(1, 100):
                unit = WorkUnit(settings, frame)
                with progress.working_on(unit):
                    pass
                progress.rendered(unit, cached=False, now=True)
            progress.rendered(WorkUnit(settings, 100), cached=True, now=False)
            progress.failed(WorkUnit(settings, 101))

    asyncio.run(work())

    state = read_state(storage, "job")
    assert state.failed_frames == ((101, 101),)
    sampled = [frame for frame, _ in state.sampled]
    assert sampled[0] == 1
    assert sampled[-3:] == [97, 98, 99], "the latest, and none from a cache"
    assert len(sampled) == 12
    assert max(after - frame for frame, after in pairwise(sampled)) == 11
