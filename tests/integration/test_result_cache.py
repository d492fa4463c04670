"""Prefect's cache of frames, in a folder and in a bucket: nothing in it chooses how it is read."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import pickle
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prefect.filesystems import LocalFileSystem
from prefect.results import ResultStore
from prefect.serializers import JSONSerializer

from povstorm_client import RenderSettings, WorkUnit
from povstorm_client.errors import StorageError
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.protocol import Storage
from tasks.stored.cache_lists import MOST_TOGETHER
from tasks.stored.frame_cache import FrameCache
from tasks.stored.result_storage import PrefectResults
from tasks.stored.stored_results import cache_key

NAME = f"0123456789abcdef/frame-{'0123456789abcdef' * 4}-povray-3.7"
RESULT = FrameResult("frame-0001-0123456789ab", "job", 1, "rendered", 1, "h", 1.0, 2.0)


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return FolderStorage(tmp_path / "storage")
    return request.getfixturevalue("gcs_storage")


@pytest.fixture
def cache(storage: Storage) -> PrefectResults:
    return known(PrefectResults(storage_uri=storage.uri))


def known(cache: PrefectResults) -> PrefectResults:
    """The block as Prefect has it once its server knows it."""
    cache._block_document_id = uuid.uuid4()
    return cache


class Payload:
    """What a pickle of it does when it is read."""

    def __init__(self, program: str) -> None:
        self.program = program

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (self.program,)


def record(serializer: dict[str, Any], result: str) -> bytes:
    metadata = {
        "storage_key": NAME,
        "expiration": None,
        "serializer": serializer,
        "prefect_version": "3.8.8",
        "storage_block_id": None,
    }
    return json.dumps({"metadata": metadata, "result": result}).encode()


def crafted(canary: Path) -> dict[str, bytes]:
    """Records that make a file when Prefect decodes them."""
    program = f"touch {canary}"
    pickled = base64.encodebytes(pickle.dumps(Payload(program))).decode()
    (canary.parent / "module.py").write_text(
        f"import pathlib\npathlib.Path({str(canary)!r}).touch()\ndef hook(found): return found\n"
    )
    plain = json.dumps(RESULT.to_json())
    return {
        "pickle": record({"type": "pickle"}, pickled),
        "no metadata": json.dumps({"result": pickled}).encode(),
        "serializer outside": json.dumps(
            {"serializer": {"type": "pickle"}, "result": pickled}
        ).encode(),
        "object decoder": record({"type": "json", "object_decoder": "module.hook"}, plain),
        "JSON library": record({"type": "json", "jsonlib": "module"}, plain),
        "class in the result": record({"type": "json"}, '{"__class__": "module.hook", "data": 1}'),
    }


ENTRY = record({"type": "json"}, json.dumps(RESULT.to_json()))
CRAFTED = [
    "pickle",
    "no metadata",
    "serializer outside",
    "object decoder",
    "JSON library",
    "class in the result",
]


def persist(
    storage: Storage, store: ResultStore, cache: PrefectResults, result: FrameResult
) -> None:
    """What Prefect's engine does with a frame that a job has rendered, and the flow at its end."""
    storage.write(layout.job_manifest(result.job_id), b"{}")

    async def write() -> None:
        await store.awrite(result.to_json(), NAME)
        await cache._frames().flush()

    asyncio.run(write())


def look(store: ResultStore) -> FrameResult | None:
    """What Prefect's engine does: it looks whether there is a record, then reads it."""

    async def looked() -> FrameResult | None:
        if not await store.aexists(NAME):
            return None
        return FrameResult.from_json((await store.aread(NAME)).result)

    return asyncio.run(looked())


@pytest.mark.parametrize("kind", CRAFTED)
def test_a_crafted_entry_runs_nothing_and_counts_as_none(
    kind: str,
    storage: Storage,
    cache: PrefectResults,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.syspath_prepend(tmp_path)
    canary = tmp_path / "canary"
    storage.write(f"{layout.RESULT_CACHE}/{NAME}", crafted(canary)[kind])

    with caplog.at_level("WARNING"):
        assert look(ResultStore(result_storage=cache)) is None

    assert not canary.exists()
    [line] = [message for message in caplog.messages if NAME in message]
    assert line.endswith("the frame is rendered again")
    assert "\n" not in line


@pytest.mark.parametrize("kind", ["pickle", "object decoder", "class in the result"])
def test_the_crafted_entries_do_run_what_they_name_where_prefect_reads_the_folder_itself(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "module", raising=False)
    canary = tmp_path / "canary"
    (tmp_path / NAME).parent.mkdir()
    (tmp_path / NAME).write_bytes(crafted(canary)[kind])

    store = ResultStore(result_storage=LocalFileSystem(basepath=str(tmp_path)))
    try:
        asyncio.run(store.aread(NAME))
    except Exception as error:  # whatever comes of it
        print(error)

    assert canary.exists()


def test_what_prefect_persists_of_a_frame_is_found_again(storage: Storage, cache: PrefectResults):
    store = ResultStore(
        result_storage=cache, serializer=JSONSerializer(), cache_result_in_memory=False
    )
    result = replace(RESULT, extra_outputs=["__class__"], extra_crc32c=["os.system"])
    FrameResults(storage, "job").commit(result)

    persist(storage, store, cache, result)

    assert look(store) == result
    other = ResultStore(result_storage=PrefectResults(storage_uri=storage.uri))
    assert look(other) == result


def test_an_entry_of_a_povstorm_that_let_prefect_write_into_the_folder_is_found_again(
    tmp_path: Path,
):
    folder = tmp_path / "results"
    before = ResultStore(
        result_storage=LocalFileSystem(basepath=str(folder)), serializer=JSONSerializer()
    )
    asyncio.run(before.awrite(RESULT.to_json(), NAME))

    cache = PrefectResults(storage_uri=tmp_path.as_uri())

    assert look(ResultStore(result_storage=cache)) == RESULT


def test_an_entry_that_is_replaced_between_prefects_two_looks_stays_what_it_was(
    storage: Storage, cache: PrefectResults
):
    store = ResultStore(
        result_storage=cache, serializer=JSONSerializer(), cache_result_in_memory=False
    )
    FrameResults(storage, "job").commit(RESULT)
    persist(storage, store, cache, RESULT)

    async def looked() -> Any:
        assert await store.aexists(NAME)
        storage.write(f"{layout.RESULT_CACHE}/{NAME}", b"{")
        return (await store.aread(NAME)).result

    assert FrameResult.from_json(asyncio.run(looked())) == RESULT
    # What a bucket's list names is the frame's result itself.
    other = ResultStore(result_storage=known(PrefectResults(storage_uri=storage.uri)))
    assert look(other) == (None if isinstance(storage, FolderStorage) else RESULT)


def test_where_there_is_no_entry_nothing_is_said(
    cache: PrefectResults, caplog: pytest.LogCaptureFixture
):
    assert look(ResultStore(result_storage=cache)) is None
    assert caplog.messages == []


def test_entries_that_are_known_not_to_be_there_are_not_looked_for_until_they_are_written(
    storage: Storage,
):
    cache = FrameCache(storage)
    storage.write(f"{layout.RESULT_CACHE}/{NAME}", ENTRY)
    cache.has_none_of({NAME})

    assert cache.read(NAME) is None
    FrameResults(storage, "job").commit(RESULT)
    asyncio.run(cache.write(NAME, RESULT))
    assert cache.read(NAME) == RESULT


def test_the_entries_of_an_animation_are_found_by_one_listing(storage: Storage):
    settings = RenderSettings("scene.pov", final_frame=4)
    units = [WorkUnit(settings, frame) for frame in (1, 2, 3, 4)]
    others = replace(units[0], settings=replace(settings, width=10))
    for unit in (*units[:2], others):
        storage.write(f"{layout.RESULT_CACHE}/{cache_key(unit, '3.7')}", b"{}")
    storage.write(f"{layout.RESULT_CACHE}/{cache_key(units[2], '3.8')}", b"{}")
    counted = Counted(storage)
    wanted = {cache_key(unit, "3.7") for unit in units}

    found = FrameCache(counted).find(wanted)

    assert found == {cache_key(unit, "3.7") for unit in units[:2]}
    assert counted.calls == {"list": 1}
    assert all(layout.is_own(f"{layout.RESULT_CACHE}/{cache_key(unit, '3.7')}") for unit in units)


class Counted:
    """A storage that counts what is asked of it."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        self.calls[name] += 1
        return getattr(self._storage, name)


def rendered_frames(storage: Storage, job_id: str, frames: int) -> dict[str, FrameResult]:
    """Frames that a job has rendered: the names of their entries to come, and their results."""
    settings = RenderSettings("scene.pov", final_frame=100)
    storage.write(layout.job_manifest(job_id), b"{}")
    found = {}
    for frame in range(1, frames + 1):
        unit = WorkUnit(settings, frame, job_id=job_id)
        result = replace(
            RESULT, job_id=job_id, work_unit_id=unit.work_unit_id, frame=frame,
            image=unit.image_name, image_crc32c=f"crc{frame:03}=="
        )  # fmt: skip
        found[cache_key(unit, "3.7")] = FrameResults(storage, job_id).commit(result)
    return found


def write_at_once(cache: FrameCache, results: dict[str, FrameResult]) -> None:
    async def write() -> None:
        for name, result in results.items():
            await cache.write(name, result)
        await cache.flush()

    asyncio.run(write())


def test_in_a_bucket_frames_that_end_together_have_one_list_and_no_entry_of_their_own(
    gcs_storage: Storage,
):
    results = rendered_frames(gcs_storage, "job", 40)
    counted = Counted(gcs_storage)

    write_at_once(FrameCache(counted), results)

    assert counted.calls == {"create": 2}
    counted.calls.clear()
    cache = FrameCache(counted)
    assert cache.find(results) == set(results)
    assert counted.calls == {"list": 1, "stat": 1}
    assert {name: cache.read(name) for name in results} == results
    assert counted.calls == {"list": 1, "stat": 1, "page": 1}, "a listing tells what they are"
    stored = [entry.key for entry in gcs_storage.list(layout.RESULT_CACHE)]
    assert len(stored) == 2
    assert all(layout.is_own(key) for key in stored)


def test_the_list_of_a_job_that_is_gone_hides_no_other_jobs_frames(gcs_storage: Storage):
    older = rendered_frames(gcs_storage, "job-a", 2)
    write_at_once(FrameCache(gcs_storage), older)
    newer = rendered_frames(gcs_storage, "job-b", 2)
    write_at_once(FrameCache(gcs_storage), newer)

    assert [FrameCache(gcs_storage).read(name) for name in older] == list(newer.values())
    gcs_storage.delete(layout.results("job-b"))
    assert [FrameCache(gcs_storage).read(name) for name in older] == list(older.values())
    gcs_storage.delete(layout.results("job-a"))
    assert [FrameCache(gcs_storage).read(name) for name in older] == [None, None]


def test_what_was_written_does_not_hide_what_other_jobs_have(gcs_storage: Storage):
    results = rendered_frames(gcs_storage, "job", 2)
    (first, of_first), (second, of_second) = results.items()
    write_at_once(FrameCache(gcs_storage), {second: of_second})
    cache = FrameCache(gcs_storage)

    write_at_once(cache, {first: of_first})

    assert (cache.read(first), cache.read(second)) == (of_first, of_second)


def test_in_a_bucket_an_entry_is_none_once_its_frame_was_rendered_anew_or_its_job_is_gone(
    gcs_storage: Storage,
):
    results = rendered_frames(gcs_storage, "job", 3)
    write_at_once(FrameCache(gcs_storage), results)
    kept, changed, gone = results
    again = replace(results[changed], image_crc32c="another=")
    key = layout.result("job", again.work_unit_id)
    gcs_storage.write(key, json.dumps(again.to_json()).encode())
    gcs_storage.remove(layout.result("job", results[gone].work_unit_id))
    cache = FrameCache(gcs_storage)

    assert cache.read(kept) == results[kept]
    assert (cache.read(changed), cache.read(gone)) == (None, None)


@pytest.mark.parametrize(
    "change",
    [
        {"job_id": "../other"},
        {"frames": [["a/b", "0" * 64, ""]]},
        {"frames": [["a", "../x", ""]]},
        {"renderer_version": 1},
    ],
)
def test_a_crafted_list_counts_as_none_and_is_told(change: dict[str, Any], gcs_storage: Storage):
    results = rendered_frames(gcs_storage, "job", 1)
    write_at_once(FrameCache(gcs_storage), results)
    (entry,) = gcs_storage.list(layout.RESULT_CACHE)
    listed = json.loads(gcs_storage.read(entry.key))
    gcs_storage.write(entry.key, json.dumps(listed | change).encode())
    told: list[str] = []

    assert FrameCache(gcs_storage, told.append).find(results) == set()
    (line,) = told
    assert line.endswith("its frames are rendered again")


def test_while_one_list_is_stored_the_next_gathers_all_that_come(gcs_storage: Storage):
    results = rendered_frames(gcs_storage, "job", 12)
    (first, of_first), *others = results.items()
    begun, go_on = threading.Event(), threading.Event()

    class Slow(Counted):
        def create(self, key: str, data: bytes) -> bool:
            begun.set()
            go_on.wait()
            self.calls["create"] += 1
            return self._storage.create(key, data)

    storage = Slow(gcs_storage)
    cache = FrameCache(storage)

    async def write() -> None:
        await cache.write(first, of_first)
        await asyncio.to_thread(begun.wait)
        for name, result in others:
            await cache.write(name, result)
            await asyncio.sleep(0.05)
        go_on.set()
        await cache.flush()

    asyncio.run(write())

    assert storage.calls == {"create": 2}
    assert FrameCache(gcs_storage).find(results) == set(results)


class NoCache(Counted):
    """A bucket that takes everything but the cache."""

    def create(self, key: str, data: bytes) -> bool:
        raise StorageError(f"cannot write {key}")


def test_a_cache_that_cannot_be_written_is_told_once_and_fails_nothing(storage: Storage):
    results = rendered_frames(storage, "job", MOST_TOGETHER + 1)
    # A file where the folder of the cache should be.
    storage.write(layout.RESULT_CACHE, b"")
    told: list[str] = []
    cache = FrameCache(
        storage if isinstance(storage, FolderStorage) else NoCache(storage), told.append
    )

    write_at_once(cache, results)

    (line,) = told
    assert line.startswith("rendered frames will not be found in the cache: cannot write ")


def test_for_prefect_a_cache_that_cannot_be_written_is_none_of_the_frames_failures(
    storage: Storage, caplog: pytest.LogCaptureFixture
):
    cache = known(PrefectResults(storage_uri=storage.uri))
    cache._cache = FrameCache(
        storage if isinstance(storage, FolderStorage) else NoCache(storage),
        logging.getLogger("povstorm").warning,
    )
    storage.write(layout.RESULT_CACHE, b"")
    store = ResultStore(result_storage=cache, serializer=JSONSerializer())

    persist(storage, store, cache, RESULT)

    told = "rendered frames will not be found in the cache: cannot write "
    assert [line.startswith(told) for line in caplog.messages] == [True]


def test_threads_that_ask_for_an_animation_at_once_list_it_once(gcs_storage: Storage):
    results = rendered_frames(gcs_storage, "job", 8)
    write_at_once(FrameCache(gcs_storage), results)
    counted = Counted(gcs_storage)
    cache, together = FrameCache(counted), threading.Barrier(8)

    def read(name: str) -> FrameResult | None:
        together.wait(60)
        return cache.read(name)

    with ThreadPoolExecutor(8) as pool:
        assert dict(zip(results, pool.map(read, results), strict=True)) == results
    assert (counted.calls["list"], counted.calls["stat"]) == (1, 1)


def test_a_frame_of_another_image_than_is_asked_for_is_not_entered(storage: Storage):
    results = rendered_frames(storage, "job", 2)
    old, new = results
    cache = FrameCache(storage)
    write_at_once(
        cache,
        {
            old: replace(results[old], container_image="render:1"),
            new: replace(results[new], container_image="3.7"),
        },
    )

    assert list(entries(storage)) == ["3.7"]


def entries(storage: Storage) -> Iterator[str]:
    """Of each frame in the cache the version that rendered it."""
    for stored in storage.list(layout.RESULT_CACHE):
        if layout.job_of_cache_list(stored.key):
            listed = json.loads(storage.read(stored.key))
            yield from len(listed["frames"]) * [listed["renderer_version"]]
        else:
            yield stored.key.rpartition("-povray-")[2]


def test_a_list_of_a_job_that_was_deleted_counts_for_nothing(gcs_storage: Storage):
    gone, there = (rendered_frames(gcs_storage, job, 2) for job in ("job-a", "job-b"))
    for results in (gone, there):
        write_at_once(FrameCache(gcs_storage), results)
    gcs_storage.remove(layout.job_manifest("job-a"))
    counted = Counted(gcs_storage)
    cache = FrameCache(counted)

    assert cache.find(gone) == set(there)
    assert counted.calls == {"list": 1, "stat": 2}
    gcs_storage.remove(layout.job_manifest("job-b"))
    assert FrameCache(gcs_storage).find(gone) == set()


def test_a_result_that_is_not_readable_hides_no_other_jobs(gcs_storage: Storage):
    older, newer = (rendered_frames(gcs_storage, job, 1) for job in ("job-a", "job-b"))
    for results in (older, newer):
        write_at_once(FrameCache(gcs_storage), results)
    (name,) = newer
    gcs_storage.write(layout.result("job-b", newer[name].work_unit_id), b"{")
    told: list[str] = []

    assert FrameCache(gcs_storage, told.append).read(name) == older[name]
    (line,) = told
    assert line.endswith("another job's is looked for")


@pytest.mark.parametrize("how", ["of another job", "too many frames", "too large"])
def test_a_list_is_held_to_its_key_and_its_size(gcs_storage: Storage, how: str):
    results = rendered_frames(gcs_storage, "job", 1)
    write_at_once(FrameCache(gcs_storage), results)
    (entry,) = gcs_storage.list(layout.RESULT_CACHE)
    listed = json.loads(gcs_storage.read(entry.key))
    if how == "of another job":
        listed["job_id"] = "job-b"
    else:
        listed["frames"] *= 25 if how == "too many frames" else 3000
    gcs_storage.write(entry.key, json.dumps(listed).encode())
    told: list[str] = []

    assert FrameCache(gcs_storage, told.append).find(results) == set()
    (line,) = told
    assert line.endswith("its frames are rendered again")


def test_frames_share_a_cache_group_whenever_they_have_one_digest():
    settings = RenderSettings("scene.pov", final_frame=4)
    # What POV-Ray is not told makes no other picture.
    same = replace(settings, antialias_depth=3)
    unit, equal = WorkUnit(settings, 2), WorkUnit(same, 2)

    assert unit.content_digest() == equal.content_digest()
    assert cache_key(unit, "3.7") == cache_key(equal, "3.7")
    assert unit.content_group() == WorkUnit(settings, 3).content_group()
