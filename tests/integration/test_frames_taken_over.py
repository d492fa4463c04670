"""A frame stays in the cache as long as the job has it that rendered it, or took it over last."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from povstorm_client import WorkUnit
from povstorm_client.cleaning.job_deletion import delete_job
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.frame_results import FrameResults, Warn
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.protocol import Storage
from tasks.frames.job_progress import JobProgress
from tasks.frames.map_frames import map_frames
from tasks.frames.plain_runs import PlainRuns
from tasks.journal.journal import Journal
from tasks.stored.frame_cache import FrameCache
from tasks.stored.stored_results import cache_key, find_stored_results
from tests.storing_renderer import FRAMES, StoringRenderer, make_frames, submit

LOG = logging.getLogger("povstorm")


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return FolderStorage(tmp_path / "storage")
    return request.getfixturevalue("gcs_storage")


async def begin(storage: Storage, units: list[WorkUnit], warn: Warn = pytest.fail) -> Counter[int]:
    """Do what a run of a job does with its frames; returns those that it has rendered."""
    renderer, cache = StoringRenderer(storage), FrameCache(storage, warn)
    stored = (await asyncio.to_thread(find_stored_results, storage, units)).rendered
    cache.complete({cache_key(u, renderer.version): stored[u.work_unit_id] for u in units
                    if u.work_unit_id in stored})  # fmt: skip
    results = await map_frames(
        units,
        renderer=renderer,
        storage=storage,
        stored=stored,
        run=PlainRuns(renderer, storage, stored, 0, Journal(None), warn, cache),
        cache=cache,
        progress=JobProgress(storage, units[0].job_id, len(units)),
        logger=LOG,
        warn=warn,
    )
    await cache.flush()
    assert [result.frame for result in results] == [unit.frame for unit in units]
    assert {result.state for result in results} == {"rendered"}
    return renderer.attempts


def run(
    storage: Storage, job: str, frames: Iterable[int] = FRAMES, warn: Warn = pytest.fail
) -> Counter[int]:
    units = make_frames(job, frames)
    submit(storage, units)
    return asyncio.run(begin(storage, units, warn))


def entries(storage: Storage) -> list[str]:
    """What the cache has of objects: files of frames, or lists."""
    return sorted(stored.key for stored in storage.list(layout.RESULT_CACHE))


def listing_jobs(keys: Iterable[str]) -> set[str | None]:
    return {layout.job_of_cache_list(key) for key in keys}


@pytest.mark.parametrize("with_cache", [True, False], ids=["cleaned", "deleted"])
@pytest.mark.parametrize("deleted", ["a", "c", "bc", "ab"])
def test_any_job_may_go_before_those_that_have_taken_its_frames_over(
    deleted: str, with_cache: bool, storage: Storage
):
    assert sorted(run(storage, "a")) == [1, 2, 3]
    assert not run(storage, "b")
    assert not run(storage, "c")

    for job in deleted:
        delete_job(storage, job, with_cache=with_cache)

    assert not run(storage, "d")
    assert {each.cache_hit for each in FrameResults(storage, "d").all()} == {True}


def test_the_cache_does_not_grow_with_the_jobs_that_take_frames_over(storage: Storage):
    run(storage, "a")
    rendered = entries(storage)
    for night in range(6):
        assert not run(storage, f"night-{night}")

    added = set(entries(storage)) - set(rendered)
    assert set(rendered) < set(entries(storage))
    if isinstance(storage, FolderStorage):
        assert len(added) == len(FRAMES)
    else:
        assert listing_jobs(added) == {"night-5"}


def test_a_list_stays_while_others_have_but_a_part_of_its_frames(gcs_storage: Storage):
    run(gcs_storage, "a")
    run(gcs_storage, "b")
    run(gcs_storage, "c", frames=[1, 2])
    assert listing_jobs(entries(gcs_storage)) == {"a", "b", "c"}

    run(gcs_storage, "d", frames=[2, 3])

    jobs = listing_jobs(entries(gcs_storage))
    assert jobs == {"a", "c", "d"}, "each frame that b has listed two of these have"


def test_a_job_that_is_run_again_adds_nothing_to_the_cache(storage: Storage):
    run(storage, "a")
    run(storage, "b")
    before = entries(storage)

    for job in ("a", "b", "a"):
        assert not run(storage, job)

    assert entries(storage) == before


@pytest.mark.parametrize("killed", ["a", "b"])
def test_what_a_killed_run_has_not_entered_is_entered_by_the_jobs_next_one(
    killed: str, storage: Storage
):
    run(storage, "a")
    if killed == "b":
        run(storage, "b")
        delete_job(storage, "a", with_cache=True)
    storage.delete(layout.RESULT_CACHE)

    assert not run(storage, killed)

    assert not run(storage, "next")


def test_two_runs_of_a_job_at_once_leave_a_cache_that_the_next_one_finds_all_in(storage: Storage):
    run(storage, "a")
    units = make_frames("b")
    submit(storage, units)

    async def both() -> None:
        await asyncio.gather(begin(storage, units), begin(storage, list(units)))

    asyncio.run(both())
    delete_job(storage, "a", with_cache=True)

    for job in ("c", "d", "e"):
        assert not run(storage, job)
    if not isinstance(storage, FolderStorage):
        assert listing_jobs(entries(storage)) == {"d", "e"}


def test_a_bucket_is_asked_for_a_list_to_take_frames_over_and_to_supersede_another(
    gcs_storage: Storage,
):
    frames = range(1, 31)
    run(gcs_storage, "a", frames)
    run(gcs_storage, "b", frames)
    asked: Counter[str] = Counter()

    class Watched:
        def __getattr__(self, name: str) -> object:
            def call(key: str, *arguments: object, **named: object) -> object:
                if key.startswith(layout.RESULT_CACHE):
                    asked[name] += 1
                return getattr(gcs_storage, name)(key, *arguments, **named)

            attribute = getattr(gcs_storage, name)
            return call if callable(attribute) else attribute

    assert not run(Watched(), "c", frames)

    assert asked["list"] == 1
    assert 2 <= asked["create"] < len(frames) / 2
    assert asked["remove"] >= 1
    assert set(asked) == {"list", "create", "remove"}


@pytest.mark.parametrize("damage", [b"{", b"{}"])
def test_a_damaged_entry_of_the_last_job_hides_no_others(damage: bytes, tmp_path: Path):
    storage = FolderStorage(tmp_path)
    run(storage, "a")
    run(storage, "b")
    unit = make_frames("b")[0]
    name = cache_key(unit, StoringRenderer.version)
    storage.write(layout.cached_frame(layout.taken_over(name)), damage)
    told: list[str] = []

    result = FrameCache(storage, told.append).read(name)

    assert isinstance(result, FrameResult)
    assert result.job_id == "a"
    (line,) = told
    assert line.endswith("another job's is looked for")


def test_an_image_that_is_damaged_where_it_was_taken_over_is_rendered_again_once(storage: Storage):
    run(storage, "a")
    run(storage, "b")
    image = FrameResults(storage, "b").all()[1].image
    storage.write(f"{layout.output('b')}/{image}", b"another image")

    told: list[str] = []

    assert sorted(run(storage, "c", warn=told.append)) == [2]
    assert told
    assert not run(storage, "d")
