"""FrameResults: where a job's results, logs and images lie, and in which order they go.

An image, its log and whatever else its frame wrote are stored first and the FrameResult last: that
commits the frame. render_image writes through it, here and in containers; the flow, Job, the status
and the report read through it, and no other module knows a result's key.
"""

from __future__ import annotations

import json
import logging
import time
from bisect import bisect_right
from collections.abc import (
    Callable,
    Collection,
    Container,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from povstorm_client.errors import InputError, RecordError, StorageError
from povstorm_client.frames.result import FrameResult, is_image_name
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.frame_outputs import damage_lines, damage_of, is_intact, output_key
from povstorm_client.paths import check_inline_path
from povstorm_client.storage import layout
from povstorm_client.storage.parallel import in_parallel
from povstorm_client.storage.protocol import PAGE_OBJECTS, Storage, StoredObject
from povstorm_client.storage.records import read_record, readable

_log = logging.getLogger(__name__)
# What a listing of a page costs: 0.005 of a dollar for a thousand, and a read 0.0004.
_READS_FOR_A_LISTING = 12
Warn = Callable[[str], None]


@dataclass(frozen=True)
class FoundResults:
    """A job's results, ascending by frame; unreadable: frame → what is wrong with its result.

    versions: work unit id → the StoredObject.version of all that were listed.
    """

    results: list[FrameResult]
    unreadable: dict[int, str] = field(default_factory=dict)
    versions: dict[str, tuple[float, int]] = field(default_factory=dict)

    @property
    def rendered(self) -> list[FrameResult]:
        """Those that have an image."""
        return [result for result in self.results if result.state == "rendered"]


class FrameResults:
    """What a storage has of the frames of one job. All methods raise StorageError if it fails."""

    def __init__(self, storage: Storage, job_id: str) -> None:
        self._storage = storage
        self._job_id = job_id

    def listed(self) -> dict[str, StoredObject]:
        """Work unit id → its result, as a listing tells it; a call for each thousand."""
        return self._by_unit(self._storage.list(layout.results(self._job_id)))

    def _by_unit(self, entries: Iterable[StoredObject]) -> dict[str, StoredObject]:
        prefix = f"{layout.results(self._job_id)}/"
        return {entry.key.removeprefix(prefix).removesuffix(".json"): entry for entry in entries}

    def listed_of(
        self, unit_ids: Iterable[str], *, contents: bool = False
    ) -> dict[str, StoredObject]:
        """The same of those of these frames that have a result, and maybe of others.

        No call for a thousand of others: of a job that gets on from its first frame to its last it
        costs what is new, and not all that is there. contents: as Storage.list has it.
        """
        keys = sorted(map(self._key, unit_ids))
        found: dict[str, StoredObject] = {}
        asked = 0
        while asked < len(keys):
            page = self._storage.page(layout.results(self._job_id), keys[asked], contents=contents)
            found |= self._by_unit(page)
            if len(page) < PAGE_OBJECTS:
                break
            asked = bisect_right(keys, page[-1].key)
        return found

    def begun(self) -> set[str]:
        """The ids of units of which an attempt has stored anything: its log comes first."""
        prefix = layout.logs(self._job_id)
        return {
            entry.key.removeprefix(f"{prefix}/").removesuffix(".txt")
            for entry in self._storage.list(prefix)
        }

    def images(self, units: Sequence[WorkUnit]) -> set[str]:
        """The ids of those units that have an image, whichever attempt stored it; one listing."""
        there = {entry.key for entry in self._storage.list(layout.output(self._job_id))}
        return {unit.work_unit_id for unit in units if self._image(unit) in there}

    def has_image(self, unit: WorkUnit) -> bool:
        """Whether there is an image of this frame, whichever attempt stored it."""
        return self._storage.stat(self._image(unit)) is not None

    def image(self, unit: WorkUnit) -> bytes:
        """The frame's stored image, as it is."""
        return self._storage.read(self._image(unit))

    def log(self, unit: WorkUnit) -> bytes | None:
        """What POV-Ray printed in the frame's last attempt; None where no log is stored."""
        return self._storage.find(layout.log(self._job_id, unit.work_unit_id))

    def log_uri(self, unit: WorkUnit) -> str:
        """Where that lies, for people."""
        return f"{self._storage.uri}/{layout.log(self._job_id, unit.work_unit_id)}"

    def all(self) -> list[FrameResult]:
        """All results that can be read, ascending by frame, without asking for the work units."""

        def read(item: tuple[str, StoredObject]) -> FrameResult | None:
            unit_id, entry = item
            try:
                data = self._storage.read(entry.key) if entry.content is None else entry.content
                return self._parse_own(data, unit_id)
            except StorageError:
                return None  # it was deleted, or is none

        listed = self._storage.list(layout.results(self._job_id), contents=True)
        found = in_parallel(read, self._by_unit(listed).items())
        return sorted((each for each in found if each), key=lambda each: each.frame)

    def of(self, units: Sequence[WorkUnit]) -> FoundResults:
        """The results that are stored of these frames; a bad one takes no other frame down."""
        if not units:
            return FoundResults([])
        there = self._by_unit(self._storage.list(layout.results(self._job_id), contents=True))
        results: list[FrameResult] = []
        unreadable: dict[int, str] = {}
        for unit, found in self._read_listed(units, there):
            if isinstance(found, RecordError):
                unreadable[unit.frame] = str(found)
            elif isinstance(found, StorageError):
                raise found
            elif found is not None:
                results.append(found)
        return FoundResults(
            sorted(results, key=lambda result: result.frame),
            unreadable,
            {unit_id: entry.version for unit_id, entry in there.items()},
        )

    def new(
        self, units: Sequence[WorkUnit], listed: Iterable[str]
    ) -> Iterator[tuple[WorkUnit, FrameResult | StorageError | None]]:
        """Each of these frames, which a listing has told of, with its result.

        Or with the error by which it could not be read, RecordError if it is none, or None where
        it is gone. listed: ids of all units that the listing has told of, by which many frames' are
        taken from another listing instead of a call for each.
        """
        ids = sorted(unit.work_unit_id for unit in units)
        between = sum(ids[0] <= unit_id <= ids[-1] for unit_id in listed) if ids else 0
        there: dict[str, StoredObject] = {}
        if len(ids) >= _READS_FOR_A_LISTING * -(-between // PAGE_OBJECTS):
            there = self.listed_of(ids, contents=True)
        known = {unit.work_unit_id: there.get(unit.work_unit_id) for unit in units}
        yield from self._read_listed(units, known)

    def _read_listed(
        self, units: Sequence[WorkUnit], there: Mapping[str, StoredObject | None]
    ) -> Iterator[tuple[WorkUnit, FrameResult | StorageError | None]]:
        """The results of those units that are there, read where the listing does not tell them."""

        def content(unit: WorkUnit) -> bytes | None:
            entry = there[unit.work_unit_id]
            return None if entry is None else entry.content

        def found(unit: WorkUnit) -> FrameResult | StorageError | None:
            data = content(unit)
            try:
                return self.read(unit) if data is None else self._parse(data, unit)
            except StorageError as error:
                return error

        chosen = [unit for unit in units if unit.work_unit_id in there]
        unknown = in_parallel(found, [unit for unit in chosen if content(unit) is None])
        for unit in chosen:
            yield unit, next(unknown) if content(unit) is None else found(unit)

    def read(self, unit: WorkUnit) -> FrameResult | None:
        """What is stored of a frame, None for nothing; RecordError if it is not its result."""
        key = self._key(unit.work_unit_id)
        try:
            data = self._storage.read(key)
        except StorageError:
            if self._storage.stat(key) is None:
                return None
            raise
        return self._parse(data, unit)

    def read_if_readable(self, unit: WorkUnit) -> FrameResult | None:
        """The same; None too for what cannot be read, which commits nothing."""
        try:
            return self.read(unit)
        except StorageError:
            return None

    def newest(self, result: FrameResult) -> FrameResult:
        """A rendered frame's result as it is stored now; the one given where that is another's."""
        now = self._read_own(result.work_unit_id)
        same = ("rendered", result.frame, result.image)
        return now if now is not None and (now.state, now.frame, now.image) == same else result

    def rendered_by_id(self, work_unit_id: str) -> FrameResult | None:
        """The result of a rendered frame that is known by its id only; None if there is none.

        RecordError if what is there is not readable.
        """
        data = self._storage.find(self._key(work_unit_id))
        if data is None:
            return None
        result = self._parse_own(data, work_unit_id)
        return result if result.state == "rendered" else None

    def rendered_as_listed(self, unit_ids: Collection[str]) -> list[FrameResult]:
        """Those results of rendered frames, known by their ids only, that a listing tells.

        A call for a thousand. None where they are so few that reading them costs less, and what
        is not told or not readable is left out: rendered_by_id has that.
        """
        if len(unit_ids) < _READS_FOR_A_LISTING:
            return []
        listed = self.listed_of(unit_ids, contents=True)
        told = ((each, listed[each].content) for each in unit_ids if each in listed)
        found = (self._committed(data, each) for each, data in told if data is not None)
        return [result for result in found if result is not None]

    def rendered(self, unit: WorkUnit) -> bool:
        """Whether a result commits this frame; for whoever may read what is there, not list."""
        key = self._key(unit.work_unit_id)
        if self._storage.stat(key) is None:
            return False
        return self._committed(self._storage.read(key), unit.work_unit_id) is not None

    def commit_files(
        self,
        result: FrameResult,
        image: Path,
        extra: Mapping[str, Path],
        *,
        log: bytes,
    ) -> FrameResult:
        """Store a rendered frame: its log, what else it wrote, its image, and the result last.

        extra: name below ``output/`` → file, in the order of the result's extra_outputs. Returns
        the FrameResult that is stored now, with the files' checksums and when it ended.
        """
        self._write_log(result.work_unit_id, log)
        checksums = [
            self._storage.upload(output_key(result.job_id, name), extra[name])
            for name in result.extra_outputs
        ]
        stored = replace(
            result,
            ended=time.time(),
            extra_crc32c=checksums,
            image_crc32c=self._storage.upload(output_key(result.job_id, result.image), image),
        )
        return self.commit(stored)

    def leave(self, unit: WorkUnit, files: Mapping[str, bytes]) -> None:
        """Store what a frame of a chain leaves to the next: path in its workspace → content."""
        key = layout.left(self._job_id, unit.work_unit_id)
        data = msgspec.json.encode(files)
        if not self._storage.create(key, data):
            self._storage.write(key, data)

    def left_to(self, unit: WorkUnit) -> dict[str, bytes]:
        """What the frame before left to this one; RecordError if that is not readable.

        Nothing for a frame by itself, and for the first of a chain.
        """
        if unit.link is None or not unit.link.after:
            return {}
        key = layout.left(self._job_id, unit.link.after)
        found = read_record(self._storage, key, dict[str, bytes])
        with readable(key, self._storage):
            for path in found:
                check_inline_path(path)
        return found

    def has_left(self, unit: WorkUnit) -> bool:
        """Whether what a frame of a chain leaves to the next is there."""
        return self._storage.stat(layout.left(self._job_id, unit.work_unit_id)) is not None

    def commit(self, result: FrameResult) -> FrameResult:
        """Store the FrameResult of a rendered frame whose image is there: its commit point.

        Where another container has rendered the same image before, its result stays. Returns the
        FrameResult that is stored now.
        """
        key = self._key(result.work_unit_id)
        text = json.dumps(result.to_json()).encode()
        if not self._storage.create(key, text):
            stored = self._committed(self._storage.read(key), result.work_unit_id)
            if stored is not None and stored.image_crc32c == result.image_crc32c:
                return stored
            self._storage.write(key, text)
        return result

    def fail(self, result: FrameResult, *, log: bytes | None = None) -> FrameResult:
        """Store a FrameResult that is not rendered, unless somebody else has rendered the frame.

        A task may be delivered to two containers, of which one fails; a lost container may have
        stored its last frame after all. log: what POV-Ray printed, stored first; None for nothing.
        Returns the FrameResult that is stored now.
        """
        if log is not None:
            self._write_log(result.work_unit_id, log)
        text = json.dumps(result.to_json()).encode()
        while not self._storage.create(self._key(result.work_unit_id), text):
            stored = self.discard_unless_rendered(result.work_unit_id)
            if stored is not None:
                return stored
        return result

    def discard_unless_rendered(self, work_unit_id: str) -> FrameResult | None:
        """Delete a stored FrameResult that is not rendered; returns one that is, which stays."""
        stayed = self._storage.remove_unless(
            self._key(work_unit_id), lambda data: self._committed(data, work_unit_id) is not None
        )
        return None if stayed is None else self._committed(stayed, work_unit_id)

    def discard_unless_intact(self, unit: WorkUnit) -> None:
        """Delete a frame's result, unless it is of a rendered frame whose outputs are all there.

        So one stays by which another run of the job has replaced it since it was looked at.
        """

        def is_sound(data: bytes) -> bool:
            try:
                result = self._parse(data, unit)
            except RecordError:
                return False
            return result.state == "rendered" and is_intact(self._storage, result)

        self._storage.remove_unless(self._key(unit.work_unit_id), is_sound)

    def clear_for_another_attempt(self, unit: WorkUnit) -> FrameResult | None:
        """Delete what an earlier attempt stored; returns the result if that rendered the frame.

        A container may create objects and not replace them, so nothing may be in its way. The
        result goes first: without it, what is left of the attempt commits nothing.
        """
        rendered = self.discard_unless_rendered(unit.work_unit_id)
        if rendered is not None:
            if is_intact(self._storage, rendered):
                return rendered
            self._storage.remove(self._key(unit.work_unit_id))
        self._storage.remove(layout.log(self._job_id, unit.work_unit_id))
        if unit.link is not None:
            self._storage.remove(layout.left(self._job_id, unit.work_unit_id))
        self._storage.remove(self._image(unit))
        return None

    def adopt(
        self, unit: WorkUnit, result: FrameResult, warn: Warn = _log.warning
    ) -> FrameResult | None:
        """Take an earlier job's frame into this job: image, log and result under its own prefix.

        Returns None if that job's image is gone, goes in this moment, or is not what was rendered;
        the frame has to be rendered then. warn is told why, unless it is only gone.
        """
        try:
            _check_is_of(result, unit)
        except InputError as error:
            warn(
                f"{unit.name} is rendered again, since its cache entry is of another frame: {error}"
            )
            return None
        damage = damage_of(self._storage, result)
        if damage is not None:
            for line in damage_lines({unit.frame: damage}):
                warn(line)
            return None
        if result.job_id == self._job_id:
            # Its image is there; of its result that was not sure, or nobody would ask the cache.
            return self.commit(result)
        adopted = replace(
            result,
            job_id=self._job_id,
            work_unit_id=unit.work_unit_id,
            cache_hit=True,
            queue_seconds=0.0,
        )
        left = layout.left(result.job_id, result.work_unit_id)
        if unit.link is not None and self._storage.stat(left) is None:
            return None  # the next frame could not go on from it
        log = layout.log(result.job_id, result.work_unit_id)
        try:
            for name in result.checksums:
                self._storage.copy(
                    output_key(result.job_id, name), output_key(adopted.job_id, name)
                )
            if unit.link is not None:
                self._storage.copy(left, layout.left(self._job_id, unit.work_unit_id))
            self._copy_if_there(log, layout.log(self._job_id, unit.work_unit_id))
        except StorageError:
            # Of a job that is being deleted the manifest goes first.
            if self._storage.stat(layout.job_manifest(result.job_id)) is None:
                return None
            raise
        self.commit(adopted)
        return adopted

    def _copy_if_there(self, source: str, target: str) -> None:
        """Copy what hardly ever is missing, without a look at it before."""
        try:
            self._storage.copy(source, target)
        except StorageError:
            if self._storage.stat(source) is not None:
                raise

    def keep_attempt(self, unit: WorkUnit, number: int, noticed: float) -> None:
        """Copy the result of an attempt that failed to where the next one does not replace it.

        number: of the attempt, from 1; noticed: Unix seconds.
        """
        self._storage.copy(
            self._key(unit.work_unit_id),
            layout.attempt(self._job_id, unit.work_unit_id, number, noticed),
        )

    def failed_attempts(self, most: int) -> tuple[list[FrameResult], int]:
        """Of the last so many attempts that failed those that can be read; how many there are."""
        keys, results = self.new_failed_attempts((), most)
        return results, len(keys)

    def new_failed_attempts(
        self, known: Container[str], most: int
    ) -> tuple[set[str], list[FrameResult]]:
        """The keys of the attempts that failed but for those known, and the last so many of them.

        Ascending by time; those that can be read. For whoever looks again and again.
        """
        entries = sorted(
            (
                entry
                for entry in self._storage.list(layout.attempts(self._job_id))
                if entry.key not in known
            ),
            key=lambda entry: entry.changed,
        )

        def read(entry: StoredObject) -> FrameResult | None:
            try:
                result = FrameResult.from_bytes(self._storage.read(entry.key), entry.key)
            except StorageError:
                return None  # it was deleted, or is none
            return result if result.job_id == self._job_id else None

        found = in_parallel(read, entries[-most:])
        return {entry.key for entry in entries}, [each for each in found if each is not None]

    def _key(self, work_unit_id: str) -> str:
        return layout.result(self._job_id, work_unit_id)

    def _image(self, unit: WorkUnit) -> str:
        return output_key(self._job_id, unit.image_name)

    def _write_log(self, work_unit_id: str, log: bytes) -> None:
        self._storage.write(layout.log(self._job_id, work_unit_id), log)

    def _parse(self, data: bytes, unit: WorkUnit) -> FrameResult:
        """The frame's result from its JSON; RecordError, naming its key, for anything else."""
        key = self._key(unit.work_unit_id)
        with readable(key, self._storage):
            result = FrameResult.from_bytes(data, key)
            if result.job_id != self._job_id:
                raise InputError(f"it is a result of job {result.job_id!r}")
            _check_is_of(result, unit)
        return result

    def _parse_own(self, data: bytes, work_unit_id: str) -> FrameResult:
        """A result of this job from its JSON, of a frame that is known by its id only."""
        key = self._key(work_unit_id)
        with readable(key, self._storage):
            result = FrameResult.from_bytes(data, key)
            if (result.job_id, result.work_unit_id) != (self._job_id, work_unit_id):
                raise InputError(f"it is a result of {result.work_unit_id!r} of {result.job_id!r}")
        return result

    def _read_own(self, work_unit_id: str) -> FrameResult | None:
        try:
            return self._parse_own(self._storage.read(self._key(work_unit_id)), work_unit_id)
        except StorageError:
            return None  # it was deleted, or is none

    def _committed(self, data: bytes, work_unit_id: str) -> FrameResult | None:
        """The FrameResult if it says rendered; what is not readable, or another's, is none."""
        try:
            result = self._parse_own(data, work_unit_id)
        except RecordError:
            return None
        return result if result.state == "rendered" else None


def _check_is_of(result: FrameResult, unit: WorkUnit) -> None:
    """Raise InputError unless a result, of any job, is of this frame and names its image only."""
    if (result.work_unit_id, result.frame) != (unit.work_unit_id, unit.frame):
        raise InputError(f"it is a result of {result.work_unit_id!r}")
    if result.image != (unit.image_name if result.state == "rendered" else ""):
        raise InputError(f"its image is {result.image!r}")
    for name in result.extra_outputs:
        if is_image_name(name):
            raise InputError(f"{name!r} among its outputs is another frame's image")
