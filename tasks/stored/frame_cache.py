"""FrameCache: the cache of frames in a storage, which is asked by name, and told of what is new.

A run of a job has one; Prefect gets at it through result_storage.py. In a folder each frame has an
entry of its own, as Prefect writes it, and one more of the job that was the last to take it over.
In a bucket, where each object costs money, an entry is the result that the frame's job has stored
anyway, and a list for many frames says which job that is (cache_lists.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version

from povstorm_client.errors import RecordError, StorageError
from povstorm_client.frames.cached_frame import cached_frame_record, parse_cached_frame
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.frame_results import FrameResults, Warn
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.parallel import in_parallel
from povstorm_client.storage.protocol import Storage
from tasks.stored.cache_lists import (
    MOST_TOGETHER,
    NAME,
    ListedFrames,
    Place,
    list_frames,
    store_lists,
)

_log = logging.getLogger(__name__)
# How long the first of a list waits for others.
_GATHER_SECONDS = 0.25


@dataclass(eq=False)
class _Bunch:
    """Results that are to be listed together."""

    results: list[tuple[str, FrameResult]] = field(default_factory=list)
    is_full: asyncio.Event = field(default_factory=asyncio.Event)


class FrameCache:
    """Entries are named as stored_results.cache_key does it.

    Of a bucket's lists, what other jobs add after the first look at an animation is not seen, and
    those of jobs that were deleted count for nothing. warn is told of an entry that is none, and,
    once, that the cache cannot be written, which costs no frame: it is rendered and stored. Who
    writes flushes it at the end.
    """

    def __init__(self, storage: Storage, warn: Warn = _log.warning) -> None:
        self.storage = storage
        self._warn = warn
        self._in_lists = not isinstance(storage, FolderStorage)
        # Of each animation that was listed; whoever asks for the first of its frames lists it.
        self._listed: dict[str, ListedFrames] = {}
        self._listing: dict[str, threading.Lock] = {}
        # Of each job the units whose results lie where find has found entries, until one is read;
        # and what a listing has then told of them.
        self._found: dict[str, list[str]] = defaultdict(list)
        self._telling: dict[str, threading.Lock] = {}
        self._told: dict[Place, FrameResult] = {}
        self._written: dict[str, Place] = {}
        self._absent: set[str] = set()
        self._bunch: _Bunch | None = None
        self._last_stored: asyncio.Task[None] | None = None
        self._completing: asyncio.Task[None] | None = None
        # Of each animation, name → the job, of frames that were listed as taken over.
        self._taken_over: dict[str, dict[str, str]] = defaultdict(dict)
        self._has_told = False

    def find(self, names: Collection[str]) -> set[str]:
        """Those of the names that there are entries for in a bucket, whatever those are worth.

        A listing for each animation that they belong to. They are to be read: a job that has many
        is asked for all of them, when the first is.
        """
        listed = self._of_groups(names)
        found = {name for name in names if name in listed[_group(name)].places}
        for name in found:
            newest = listed[_group(name)].places[name][-1]
            if newest is not None:
                self._found[newest.job_id].append(newest.work_unit_id)
        return found

    def _of_groups(self, names: Iterable[str]) -> dict[str, ListedFrames]:
        """What there is of the animations that these frames belong to."""
        groups = sorted({_group(name) for name in names})
        return dict(zip(groups, in_parallel(self._of_group, groups), strict=True))

    def _of_group(self, group: str) -> ListedFrames:
        """What there is of an animation: listed by one thread, while others wait for it."""
        with self._listing.setdefault(group, threading.Lock()):
            if group not in self._listed:
                self._listed[group] = list_frames(self.storage, group, self._warn)
            return self._listed[group]

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
            return self._in_folder(name)
        if name in self._written:
            return self._in_job(self._written[name])
        for place in reversed(self._of_group(_group(name)).places.get(name, ())):
            result = self._by_itself(name) if place is None else self._in_job_if_readable(place)
            if result is not None:
                return result
        return None

    def _in_folder(self, name: str) -> FrameResult | None:
        """Of the job that took it over last, or of the one that rendered it."""
        try:
            taken_over = self._by_itself(layout.taken_over(name))
        except RecordError as error:
            self._tell_of_next(error)
            taken_over = None
        if taken_over is not None:
            taken_over = self._in_job_if_readable(Place.of(taken_over))
        return taken_over or self._by_itself(name)

    def _by_itself(self, name: str) -> FrameResult | None:
        data = self.storage.find(layout.cached_frame(name))
        return None if data is None else parse_cached_frame(data, name)

    def _in_job(self, place: Place) -> FrameResult | None:
        """None if the job was deleted, or has rendered the frame anew."""
        with self._telling.setdefault(place.job_id, threading.Lock()):
            results = FrameResults(self.storage, place.job_id)
            for told in results.rendered_as_listed(self._found.pop(place.job_id, ())):
                self._told[Place.of(told)] = told
        if (result := self._told.pop(place, None)) is not None:
            return result
        result = results.rendered_by_id(place.work_unit_id)
        return result if result is not None and Place.of(result) == place else None

    def _in_job_if_readable(self, place: Place) -> FrameResult | None:
        try:
            return self._in_job(place)
        except RecordError as error:
            self._tell_of_next(error)
            return None

    def _tell_of_next(self, error: RecordError) -> None:
        self._warn(f"{error}: another job's is looked for")

    async def write(self, name: str, result: FrameResult) -> None:
        """Make the entry of a frame that its job has stored: rendered, or taken over (cache_hit).

        In a bucket it is listed soon, with others: flush waits for that. RecordError for what is no
        name.
        """
        parts = NAME.fullmatch(name)
        if parts is None:
            raise RecordError(f"{name!r} is no name of a frame in the cache")
        if result.container_image not in ("", parts["version"]):
            return  # rendered by an execution of before the image was replaced
        if self._in_lists:
            self._list_soon(name, result)
        else:
            try:
                await asyncio.to_thread(self._write_entry, name, result)
            except StorageError as error:
                self._cannot_write(error)
                return
        self._absent.discard(name)

    def _write_entry(self, name: str, result: FrameResult) -> None:
        taken_over = layout.taken_over(name)
        if not result.cache_hit:
            # Rendered although it was found there: its image is gone, or another.
            self.storage.remove(layout.cached_frame(taken_over))
        elif self._is_another_jobs(name, result):
            name = taken_over
        record = cached_frame_record(result, name, self._prefect_version)
        self.storage.write(layout.cached_frame(name), record)

    def _is_another_jobs(self, name: str, result: FrameResult) -> bool:
        """Whether a folder's entry leads to the frame of another job, which has to stay in it."""
        try:
            found = self._by_itself(name)
            if found is None or found.job_id == result.job_id:
                return False
            return self._in_job(Place.of(found)) is not None
        except RecordError:
            return False

    @cached_property
    def _prefect_version(self) -> str:
        return version("prefect")

    def _cannot_write(self, error: StorageError) -> None:
        """The frames are rendered and stored: what another job finds of them decides nothing."""
        if not self._has_told:
            self._has_told = True
            self._warn(f"rendered frames will not be found in the cache: {error}")

    def complete(self, results: Mapping[str, FrameResult]) -> None:
        """Make the entries that are missing of frames which an earlier run of their job has stored.

        A run that is killed has not come to all of them. results: by name. Soon: flush waits for
        it.
        """
        if results:
            self._completing = asyncio.create_task(self._complete(results))

    async def _complete(self, results: Mapping[str, FrameResult]) -> None:
        try:
            missing = await asyncio.to_thread(self._missing, results)
        except StorageError as error:
            self._cannot_write(error)
            return
        for name in missing:
            await self.write(name, results[name])

    def _missing(self, results: Mapping[str, FrameResult]) -> list[str]:
        if self._in_lists:
            listed = self._of_groups(results)
            return [
                name
                for name, result in results.items()
                if listed[_group(name)].lacks(name, Place.of(result))
            ]
        return [
            name
            for name in results
            if self.storage.stat(layout.cached_frame(name)) is None
            and self.storage.stat(layout.cached_frame(layout.taken_over(name))) is None
        ]

    def _list_soon(self, name: str, result: FrameResult) -> None:
        """Have it listed with those that come within a moment."""
        self._written[name] = Place.of(result)
        bunch = self._bunch
        if bunch is None:
            bunch = self._bunch = _Bunch()
            self._last_stored = asyncio.create_task(self._store(bunch, self._last_stored))
        bunch.results.append((name, result))
        if len(bunch.results) == MOST_TOGETHER:
            self._bunch = None
            bunch.is_full.set()

    async def flush(self) -> None:
        """Wait until all that was written is stored; what cannot be, warn was told of.

        Then lists go that those of this run have superseded.
        """
        if self._completing is not None:
            await asyncio.shield(self._completing)
        if self._bunch is not None:
            self._bunch.is_full.set()
        if self._last_stored is not None:
            # Who stops meanwhile takes no frames from the others' cache.
            await asyncio.shield(self._last_stored)
        if self._taken_over:
            await asyncio.to_thread(self._remove_superseded)

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
            self._cannot_write(error)

    def _store_lists(self, results: Sequence[tuple[str, FrameResult]]) -> None:
        for listed in store_lists(self.storage, results):
            for name, result in listed:
                if result.cache_hit:
                    self._taken_over[_group(name)][name] = result.job_id

    def _remove_superseded(self) -> None:
        try:
            for group, taken_over in self._taken_over.items():
                keys = self._of_group(group).superseded(taken_over)
                for _ in in_parallel(self.storage.remove, keys):
                    pass
        except StorageError as error:
            self._warn(f"lists of the cache stay that newer ones have superseded: {error}")


def _group(name: str) -> str:
    """What the frames of an animation share."""
    return name.partition("/")[0]
