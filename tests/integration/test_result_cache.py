"""Prefect's cache of frames, in a folder and in a bucket: nothing in it chooses how it is read."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import pickle
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prefect.filesystems import LocalFileSystem
from prefect.results import ResultStore
from prefect.serializers import JSONSerializer

from povstorm_client import RenderSettings, WorkUnit
from povstorm_client.frames.result import FrameResult
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.protocol import Storage, StoredObject
from tasks.stored.result_storage import FrameCache
from tasks.stored.stored_results import cache_key, find_cached

NAME = "0123456789abcdef/frame-abc-povray-3.7"
RESULT = FrameResult("frame-0001-0123456789ab", "job", 1, "rendered", 1, "h", 1.0, 2.0)


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return FolderStorage(tmp_path / "storage")
    return request.getfixturevalue("gcs_storage")


@pytest.fixture
def cache(storage: Storage) -> FrameCache:
    return known(FrameCache(storage_uri=storage.uri))


def known(cache: FrameCache) -> FrameCache:
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


CRAFTED = [
    "pickle",
    "no metadata",
    "serializer outside",
    "object decoder",
    "JSON library",
    "class in the result",
]


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
    cache: FrameCache,
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


def test_what_prefect_persists_of_a_frame_is_found_again(storage: Storage, cache: FrameCache):
    store = ResultStore(
        result_storage=cache, serializer=JSONSerializer(), cache_result_in_memory=False
    )
    result = replace(RESULT, extra_outputs=["__class__"], extra_crc32c=["os.system"])

    asyncio.run(store.awrite(result.to_json(), NAME))

    assert look(store) == result
    other = ResultStore(result_storage=FrameCache(storage_uri=storage.uri))
    assert look(other) == result


def test_an_entry_of_a_povstorm_that_let_prefect_write_into_the_folder_is_found_again(
    tmp_path: Path,
):
    folder = tmp_path / "results"
    before = ResultStore(
        result_storage=LocalFileSystem(basepath=str(folder)), serializer=JSONSerializer()
    )
    asyncio.run(before.awrite(RESULT.to_json(), NAME))

    cache = FrameCache(storage_uri=tmp_path.as_uri())

    assert look(ResultStore(result_storage=cache)) == RESULT


def test_an_entry_that_is_replaced_between_prefects_two_looks_stays_what_it_was(
    storage: Storage, cache: FrameCache
):
    store = ResultStore(
        result_storage=cache, serializer=JSONSerializer(), cache_result_in_memory=False
    )
    asyncio.run(store.awrite(RESULT.to_json(), NAME))

    async def looked() -> Any:
        assert await store.aexists(NAME)
        storage.write(f"{layout.RESULT_CACHE}/{NAME}", b"{")
        return (await store.aread(NAME)).result

    assert FrameResult.from_json(asyncio.run(looked())) == RESULT
    assert look(store) is None


def test_where_there_is_no_entry_nothing_is_said(
    cache: FrameCache, caplog: pytest.LogCaptureFixture
):
    assert look(ResultStore(result_storage=cache)) is None
    assert caplog.messages == []


def test_entries_that_are_known_not_to_be_there_are_not_looked_for_until_they_are_written(
    storage: Storage, cache: FrameCache
):
    store = ResultStore(result_storage=cache)
    entry = record({"type": "json"}, json.dumps(RESULT.to_json()))
    storage.write(f"{layout.RESULT_CACHE}/{NAME}", entry)
    cache.has_none_of({NAME})

    assert look(store) is None
    asyncio.run(cache.write_path(NAME, entry))
    assert look(store) == RESULT


def test_the_entries_of_an_animation_are_found_by_one_listing(storage: Storage):
    settings = RenderSettings("scene.pov", final_frame=4)
    units = [WorkUnit(settings, frame) for frame in (1, 2, 3, 4)]
    others = replace(units[0], settings=replace(settings, width=10))
    for unit in (*units[:2], others):
        storage.write(f"{layout.RESULT_CACHE}/{cache_key(unit, '3.7')}", b"{}")
    storage.write(f"{layout.RESULT_CACHE}/{cache_key(units[2], '3.8')}", b"{}")
    listed: list[str] = []

    class Counted:
        def list(self, prefix: str) -> Iterator[StoredObject]:
            listed.append(prefix)
            return storage.list(prefix)

    assert find_cached(Counted(), units, "3.7") == {cache_key(unit, "3.7") for unit in units[:2]}
    assert len(listed) == 1
    assert all(layout.is_own(f"{layout.RESULT_CACHE}/{cache_key(unit, '3.7')}") for unit in units)


def test_frames_share_a_cache_group_whenever_they_have_one_digest():
    settings = RenderSettings("scene.pov", final_frame=4)
    # What POV-Ray is not told makes no other picture.
    same = replace(settings, antialias_depth=3)
    unit, equal = WorkUnit(settings, 2), WorkUnit(same, 2)

    assert unit.content_digest() == equal.content_digest()
    assert cache_key(unit, "3.7") == cache_key(equal, "3.7")
    assert unit.content_group() == WorkUnit(settings, 3).content_group()
