"""A bucket's lists of cached frames: which job has which frames of an animation.

FrameCache alone writes and reads them. A list is of frames that its job has rendered, or of frames
that it has taken over from another job. Of the latter there is only the newest for long: those
that name frames which two other jobs have listed too are superseded.
"""

from __future__ import annotations

import json
import re
import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

from msgspec import Meta

from povstorm_client.errors import RecordError
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.frame_results import Warn
from povstorm_client.storage import layout
from povstorm_client.storage.parallel import in_parallel
from povstorm_client.storage.protocol import Storage, StoredObject
from povstorm_client.storage.records import JobId, Name, decode

# Frames of a list: so many fit well into what a listing tells of an object (2.9 kB). One that is
# far larger is not povstorm's.
MOST_TOGETHER = 24
_MOST_BYTES = 1 << 16
# Jobs that a frame is listed by at least, before a list of one that has taken it over is removed:
# whichever of them is deleted first, the next job finds the other's.
ENOUGH_JOBS = 2
# As stored_results.cache_key names a frame.
NAME = re.compile(r"(?P<group>[0-9a-f]{16})/frame-(?P<digest>[0-9a-f]{64})-povray-(?P<version>.+)")

# A frame of a list: its unit's id and content digest, and its image's crc32c.
_Listed = tuple[Name, Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")], str]


@dataclass(frozen=True)
class _CacheList:
    """Frames of one animation that a job has, of one version of the renderer."""

    job_id: JobId
    renderer_version: str
    frames: Annotated[tuple[_Listed, ...], Meta(max_length=MOST_TOGETHER)]
    taken_over: bool = False


@dataclass(frozen=True)
class Place:
    """Where an entry's result lies, and which image it has to speak of."""

    job_id: str
    work_unit_id: str
    image_crc32c: str

    @classmethod
    def of(cls, result: FrameResult) -> Place:
        """Of the result itself."""
        return cls(result.job_id, result.work_unit_id, result.image_crc32c)


@dataclass(frozen=True)
class _TakenOver:
    """A list of frames that a job has taken over, by their names."""

    key: str
    job_id: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class ListedFrames:
    """What a bucket's cache has of an animation, of jobs that are not deleted.

    places: by name, the newest last; None for an entry by itself, as earlier versions wrote them.
    taken_over: the lists of such frames, the oldest first.
    """

    places: Mapping[str, Sequence[Place | None]]
    taken_over: Sequence[_TakenOver] = ()

    def lacks(self, name: str, place: Place) -> bool:
        """Whether the frame is listed neither at this place nor at enough others."""
        places = self.places.get(name, ())
        return place not in places and len(places) < ENOUGH_JOBS

    def superseded(self, taken_over: Mapping[str, str]) -> list[str]:
        """The keys of lists of taken-over frames that enough other jobs have listed.

        taken_over: frames that were listed since, name → the id of the job that has taken it over.
        """
        jobs: dict[str, set[str]] = {}
        for name in {name for each in self.taken_over for name in each.names}:
            jobs[name] = {place.job_id for place in self.places[name] if place is not None}
            if name in taken_over:
                jobs[name].add(taken_over[name])
        keys = []
        for each in self.taken_over:
            others = {name: jobs[name] - {each.job_id} for name in each.names}
            if all(len(others[name]) >= ENOUGH_JOBS for name in each.names):
                jobs |= others
                keys.append(each.key)
        return keys


def list_frames(storage: Storage, group: str, warn: Warn) -> ListedFrames:
    """Read an animation's lists: a listing, and a look at each job that has some.

    A list that is none counts for nothing, and warn is told of it.
    """
    entries = list(storage.list(layout.cached_frames(group), contents=True))
    places: dict[str, list[Place | None]] = defaultdict(list)
    for entry in entries:
        name = layout.cached_frame_name(entry.key)
        if NAME.fullmatch(name):
            places[name].append(None)
    lists = [entry for entry in entries if layout.job_of_cache_list(entry.key)]
    lists.sort(key=lambda entry: (entry.changed, entry.key))
    read = list(in_parallel(lambda entry: (entry.key, _read(storage, entry, warn)), lists))
    there = _not_deleted(storage, sorted({each.job_id for _, each in read if each is not None}))
    taken_over = []
    for key, each in read:
        if each is None or each.job_id not in there:
            continue
        names = []
        for unit_id, digest, checksum in each.frames:
            name = f"{group}/frame-{digest}-povray-{each.renderer_version}"
            place = Place(each.job_id, unit_id, checksum)
            if place not in places[name]:
                places[name].append(place)
            names.append(name)
        if each.taken_over:
            taken_over.append(_TakenOver(key, each.job_id, tuple(names)))
    return ListedFrames(dict(places), taken_over)


def _read(storage: Storage, entry: StoredObject, warn: Warn) -> _CacheList | None:
    try:
        if entry.size > _MOST_BYTES:
            raise RecordError(f"{storage.uri}/{entry.key} has {entry.size} bytes")
        data = storage.find(entry.key) if entry.content is None else entry.content
        if data is None:
            return None  # its job was deleted in this moment, or it was superseded
        read = decode(data, _CacheList, entry.key, storage)
        if read.job_id != layout.job_of_cache_list(entry.key):
            raise RecordError(f"{storage.uri}/{entry.key} is of another job's frames")
        return read
    except RecordError as error:
        warn(f"{error}: its frames are rendered again")
        return None


def _not_deleted(storage: Storage, job_ids: Sequence[str]) -> set[str]:
    """A list may stay when its job is deleted, until povstorm clean finds it."""
    manifests = in_parallel(lambda job_id: storage.stat(layout.job_manifest(job_id)), job_ids)
    pairs = zip(job_ids, manifests, strict=True)
    return {job_id for job_id, manifest in pairs if manifest is not None}


def store_lists(
    storage: Storage, results: Iterable[tuple[str, FrameResult]]
) -> Iterator[Sequence[tuple[str, FrameResult]]]:
    """Store the lists of up to MOST_TOGETHER frames, by name; yields what each has, once stored."""
    lists: dict[tuple[str, str, str, bool], list[tuple[str, FrameResult]]] = defaultdict(list)
    for name, result in results:
        parts = NAME.fullmatch(name)
        assert parts is not None, name  # noqa: S101 - FrameCache.write has looked
        of = (parts["group"], result.job_id, parts["version"], result.cache_hit)
        lists[of].append((name, result))
    for (group, job_id, version, taken_over), listed in lists.items():
        frames = tuple(
            (result.work_unit_id, name.partition("/frame-")[2][:64], result.image_crc32c)
            for name, result in listed
        )
        key = layout.cache_list(group, job_id, secrets.token_hex(8))
        record = _CacheList(job_id, version, frames, taken_over)
        storage.create(key, json.dumps(asdict(record)).encode())
        yield listed
