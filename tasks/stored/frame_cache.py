"""FrameCache: the cache of frames in a storage, which is asked by name, and told of what is new.

A run of a job has one; Prefect gets at it through result_storage.py. In a folder each frame has an
entry of its own, as Prefect writes it. In a bucket, where each object costs money, an entry is the
result that the frame's job has stored anyway, and a list for many frames says which job that is.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import secrets
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated

from msgspec import Meta

from povstorm_client.errors import RecordError, StorageError
from povstorm_client.frames.cached_frame import parse_cached_frame
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.frame_results import FrameResults, Warn
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.parallel import in_parallel
from povstorm_client.storage.protocol import Storage, StoredObject
from povstorm_client.storage.records import JobId, Name, decode

_log = logging.getLogger(__name__)
# Frames of a list: so many fit well into what a listing tells of an object (2.9 kB). One that is
# far larger is not povstorm's.
_MOST_TOGETHER = 24
_MOST_BYTES = 1 << 16
# How long the first of a list waits for others.
_GATHER_SECONDS = 0.25
_NAME = re.compile(r"(?P<group>[0-9a-f]{16})/frame-(?P<digest>[0-9a-f]{64})-povray-(?P<version>.+)")


# A frame of a list: its unit's id and content digest, and its image's crc32c.
_Listed = tuple[Name, Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")], str]


@dataclass(frozen=True)
class _CacheList:
    """Frames of one animation that a job has rendered with one version of POV-Ray."""

    job_id: JobId
    renderer_version: str
    frames: Annotated[tuple[_Listed, ...], Meta(max_length=_MOST_TOGETHER)]


@dataclass(frozen=True)
class _InJob:
    """Where an entry's result lies, and which image it has to speak of."""

    job_id: str
    work_unit_id: str
    image_crc32c: str


@dataclass(eq=False)
class _Bunch:
    """Results that are to be listed together."""

    results: list[tuple[str, FrameResult]] = field(default_factory=list)
    is_full: asyncio.Event = field(default_factory=asyncio.Event)


class FrameCache:
    """Entries are named as stored_results.cache_key does it.

    Of a bucket's lists, what other jobs add after the first look at an animation is not seen, and
    those of jobs that were deleted count for nothing. warn is told of a list that is none, and of
    one that cannot be stored. Who writes flushes it at the end.
    """

    def __init__(self, storage: Storage, warn: Warn = _log.warning) -> None:
        self.storage = storage
        self._warn = warn
        self._in_lists = not isinstance(storage, FolderStorage)
        # Of each animation that was listed.
        self._listed: dict[str, dict[str, list[_InJob | None]]] = {}
        self._written: dict[str, _InJob] = {}
        self._absent: set[str] = set()
        self._bunch: _Bunch | None = None
        self._last_stored: asyncio.Task[None] | None = None

    def find(self, names: Collection[str]) -> set[str]:
        """Those of the names that there are entries for, whatever those are worth.

        A listing for each animation that they belong to.
        """
        groups = sorted({name.partition("/")[0] for name in names})
        for group, listed in zip(groups, in_parallel(self._list, groups), strict=True):
            self._listed[group] = listed
        return {name for name in names if name in self._listed[name.partition("/")[0]]}

    def has_none_of(self, names: Iterable[str]) -> None:
        """Say that there are no such entries, which is not looked for then."""
        self._absent.update(names)

    def is_without(self, name: str) -> bool:
        """Whether that was said of this entry, and it was not made since: no call, no thread."""
        return name in self._absent

    def read(self, name: str) -> FrameResult | None:
        """The result in the entry of that name, None if there is none.

        RecordError if it is none as povstorm's flows write them, StorageError if the storage fails.
        """
        if name in self._absent:
            return None
        if not self._in_lists:
            return self._by_itself(name)
        if name in self._written:
            return self._in_job(self._written[name])
        group = name.partition("/")[0]
        if group not in self._listed:
            self._listed[group] = self._list(group)
        for place in reversed(self._listed[group].get(name, [])):
            if place is None:
                result = self._by_itself(name)
            else:
                try:
                    result = self._in_job(place)
                except RecordError as error:
                    self._warn(f"{error}: another job's is looked for")
                    continue
            if result is not None:
                return result
        return None

    def _by_itself(self, name: str) -> FrameResult | None:
        data = self.storage.find(layout.cached_frame(name))
        return None if data is None else parse_cached_frame(data, name)

    def _in_job(self, place: _InJob) -> FrameResult | None:
        """None if the job was deleted, or has rendered the frame anew."""
        result = FrameResults(self.storage, place.job_id).rendered_by_id(place.work_unit_id)
        is_the_same = result is not None and result.image_crc32c == place.image_crc32c
        return result if is_the_same else None

    async def write(self, name: str, result: FrameResult, record: bytes) -> None:
        """Make the entry of a result that its job has stored; record: as Prefect writes it.

        In a bucket it is listed soon, with others: flush waits for that. StorageError if an entry
        by itself cannot be stored, RecordError for what is no name.
        """
        if self._in_lists:
            self._list_soon(name, result)
        else:
            await asyncio.to_thread(self.storage.write, layout.cached_frame(name), record)
        self._absent.discard(name)

    def _list(self, group: str) -> dict[str, list[_InJob | None]]:
        """What there is of an animation, by name, the newest last; None: an entry by itself."""
        found: dict[str, list[_InJob | None]] = defaultdict(list)
        entries = list(self.storage.list(layout.cached_frames(group), contents=True))
        for entry in entries:
            name = layout.cached_frame_name(entry.key)
            if _NAME.fullmatch(name):
                found[name].append(None)
        lists = [entry for entry in entries if layout.job_of_cache_list(entry.key)]
        lists.sort(key=lambda entry: entry.changed)
        read = [each for each in in_parallel(self._read_list, lists) if each is not None]
        there = self._not_deleted(sorted({each.job_id for each in read}))
        for each in read:
            if each.job_id in there:
                for unit_id, digest, checksum in each.frames:
                    name = f"{group}/frame-{digest}-povray-{each.renderer_version}"
                    place = _InJob(each.job_id, unit_id, checksum)
                    if place not in found[name]:
                        found[name].append(place)
        return dict(found)

    def _not_deleted(self, job_ids: Sequence[str]) -> set[str]:
        """A list may stay when its job is deleted, until povstorm clean finds it."""
        manifests = in_parallel(
            lambda job_id: self.storage.stat(layout.job_manifest(job_id)), job_ids
        )
        pairs = zip(job_ids, manifests, strict=True)
        return {job_id for job_id, manifest in pairs if manifest is not None}

    def _read_list(self, entry: StoredObject) -> _CacheList | None:
        try:
            if entry.size > _MOST_BYTES:
                raise RecordError(f"{self.storage.uri}/{entry.key} has {entry.size} bytes")
            data = self.storage.find(entry.key) if entry.content is None else entry.content
            if data is None:
                return None  # its job was deleted in this moment
            read = decode(data, _CacheList, entry.key, self.storage)
            if read.job_id != layout.job_of_cache_list(entry.key):
                raise RecordError(f"{self.storage.uri}/{entry.key} is of another job's frames")
            return read
        except RecordError as error:
            self._warn(f"{error}: its frames are rendered again")
            return None

    def _list_soon(self, name: str, result: FrameResult) -> None:
        """Have it listed with those that come within a moment."""
        if _NAME.fullmatch(name) is None:
            raise RecordError(f"{name!r} is no name of a frame in the cache")
        self._written[name] = _InJob(result.job_id, result.work_unit_id, result.image_crc32c)
        bunch = self._bunch
        if bunch is None:
            bunch = self._bunch = _Bunch()
            self._last_stored = asyncio.create_task(self._store(bunch, self._last_stored))
        bunch.results.append((name, result))
        if len(bunch.results) == _MOST_TOGETHER:
            self._bunch = None
            bunch.is_full.set()

    async def flush(self) -> None:
        """Wait until all that was written is stored; what cannot be, warn was told of."""
        if self._bunch is not None:
            self._bunch.is_full.set()
        if self._last_stored is not None:
            # Who stops meanwhile takes no frames from the others' cache.
            await asyncio.shield(self._last_stored)

    async def _store(self, bunch: _Bunch, before: asyncio.Task[None] | None) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(bunch.is_full.wait(), _GATHER_SECONDS)
        # One at a time: the slower the storage, the more come together, and threads stay free.
        if before is not None and not before.done():
            await asyncio.wait({before})
        if self._bunch is bunch:
            self._bunch = None
        try:
            await asyncio.to_thread(self._store_lists, bunch.results)
        except StorageError as error:
            # The frames are rendered and stored: what another job finds of them decides nothing.
            self._warn(f"rendered frames will not be found in the cache: {error}")

    def _store_lists(self, results: Sequence[tuple[str, FrameResult]]) -> None:
        lists: dict[tuple[str, str, str], list[_Listed]] = defaultdict(list)
        for name, result in results:
            parts = _NAME.fullmatch(name)
            assert parts is not None  # noqa: S101 - _list_soon has looked
            frame = (result.work_unit_id, parts["digest"], result.image_crc32c)
            lists[parts["group"], result.job_id, parts["version"]].append(frame)
        for (group, job_id, version), frames in lists.items():
            listed = _CacheList(job_id, version, tuple(frames))
            key = layout.cache_list(group, job_id, secrets.token_hex(8))
            self.storage.create(key, json.dumps(asdict(listed)).encode())
