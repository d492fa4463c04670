"""What a storage has of a job's frames: results read strictly, outputs held to their checksums.

The flow asks which frames need no rendering; Job, and the report, take images through it. What is
not what was rendered is never handed on: it is named, and ``povstorm retry`` renders it again.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from povstorm_client.errors import InputError, JobError, RecordError, StorageError
from povstorm_client.frames.ranges import frame_ranges
from povstorm_client.frames.result import FrameResult, is_image_name
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.storage import layout
from povstorm_client.storage.checksum import crc32c, crc32c_of
from povstorm_client.storage.parallel import in_parallel
from povstorm_client.storage.protocol import Storage, StoredObject, make_output_folder
from povstorm_client.storage.records import readable

# Another run of the job may replace an image and its result while they are compared.
_LOOKS = 3


@dataclass(frozen=True)
class StoredFrames:
    """A job's results, ascending by frame; unreadable: frame → what is wrong with its result."""

    results: list[FrameResult]
    unreadable: dict[int, str] = field(default_factory=dict)

    @property
    def rendered(self) -> list[FrameResult]:
        """Those that have an image."""
        return [result for result in self.results if result.state == "rendered"]


def read_frames(storage: Storage, units: Sequence[WorkUnit]) -> StoredFrames:
    """The results that are stored of a job's frames; a bad one takes no other frame down."""
    if not units:
        return StoredFrames([])
    listed = {stored.key for stored in storage.list(layout.results(units[0].job_id))}
    there = [unit for unit in units if _result_key(unit) in listed]

    def read(unit: WorkUnit) -> FrameResult | RecordError | None:
        try:
            return read_frame(storage, unit)
        except RecordError as error:
            return error

    results: list[FrameResult] = []
    unreadable: dict[int, str] = {}
    for unit, found in zip(there, in_parallel(read, there), strict=True):
        if isinstance(found, RecordError):
            unreadable[unit.frame] = str(found)
        elif found is not None:
            results.append(found)
    return StoredFrames(sorted(results, key=lambda result: result.frame), unreadable)


def read_frame(storage: Storage, unit: WorkUnit) -> FrameResult | None:
    """What is stored of a frame, None for nothing; RecordError if it is not this frame's result."""
    key = _result_key(unit)
    try:
        data = storage.read(key)
    except StorageError:
        if storage.stat(key) is None:
            return None
        raise
    return parse_frame(data, unit, key, storage)


def parse_frame(data: bytes, unit: WorkUnit, what: str, storage: Storage) -> FrameResult:
    """A frame's result from its JSON; RecordError, naming what, if it is not this frame's."""
    with readable(what, storage):
        result = FrameResult.from_bytes(data, what)
        if result.job_id != unit.job_id:
            raise InputError(f"it is a result of job {result.job_id!r}")
        check_is_of(result, unit)
    return result


def check_is_of(result: FrameResult, unit: WorkUnit) -> None:
    """Raise InputError unless a result, of any job, is of this frame and names its image only."""
    if (result.work_unit_id, result.frame) != (unit.work_unit_id, unit.frame):
        raise InputError(f"it is a result of {result.work_unit_id!r}")
    if result.image != (unit.image_name if result.state == "rendered" else ""):
        raise InputError(f"its image is {result.image!r}")
    for name in result.extra_outputs:
        if is_image_name(name):
            raise InputError(f"{name!r} among its outputs is another frame's image")


def find_damage(
    storage: Storage, results: Sequence[FrameResult], units: Sequence[WorkUnit]
) -> dict[int, str]:
    """Frame → what is wrong with its stored image, or with what else it wrote; "" for missing.

    results: rendered, of one job. Costs a listing; in a folder, everything is read once too.
    """
    if not results:
        return {}
    by_frame = {unit.frame: unit for unit in units}
    listed = {stored.key: stored for stored in storage.list(layout.output(results[0].job_id))}
    known = known_checksums(results)

    def look(result: FrameResult) -> str | None:
        found = _damage(storage, result, known, listed)
        for _ in range(_LOOKS - 1):
            if found is None:
                break
            # Looked at anew: another run of the job may have stored both meanwhile.
            again = read_frame(storage, by_frame[result.frame])
            if again is None or again.state != "rendered":
                break
            found = _damage(storage, again, known | known_checksums([again]), {})
        return found

    damage = zip(results, in_parallel(look, results), strict=True)
    return {result.frame: found for result, found in damage if found is not None}


def is_intact(storage: Storage, result: FrameResult) -> bool:
    """Whether all that one rendered frame has stored is there as it was rendered."""
    return damage_of(storage, result) is None


def damage_of(storage: Storage, result: FrameResult) -> str | None:
    """What is wrong with what one rendered frame has stored: None for nothing, "" for missing."""
    return _damage(storage, result, known_checksums([result]), {})


def read_image(storage: Storage, result: FrameResult) -> bytes:
    """A rendered frame's image; RecordError if it is not what was rendered."""
    for _ in range(_LOOKS):
        data = storage.read(output_key(result, result.image))
        if result.image_crc32c in ("", crc32c_of(data)):
            return data
        result = _newer(storage, result)
    raise RecordError(_not_rendered(result, result.image) + f": {_remedy(result.job_id)}")


def save_outputs(
    storage: Storage, results: Sequence[FrameResult], folder: Path
) -> tuple[list[Path], dict[int, str]]:
    """Save images and further outputs; returns the images' paths, and frame → what is wrong.

    What is not what was rendered is not saved.
    """
    known = known_checksums(results)
    owners: dict[str, FrameResult] = {}
    for result in results:
        for name in result.checksums:
            owners.setdefault(name, result)
    for parent in {(folder / name).parent for name in owners}:
        make_output_folder(parent)

    def save(item: tuple[str, FrameResult]) -> str:
        name, result = item
        target = folder / name
        partial = target.with_name(f".povstorm-{secrets.token_hex(8)}")
        try:
            for _ in range(_LOOKS):
                storage.download(output_key(result, name), partial)
                if not known[name] or crc32c(partial) in known[name]:
                    partial.replace(target)
                    return ""
                result = _newer(storage, result)
                known[name] |= known_checksums([result]).get(name, set())
        finally:
            partial.unlink(missing_ok=True)
        return _not_rendered(result, name)

    wrong: dict[int, str] = {}
    for (_, result), problem in zip(owners.items(), in_parallel(save, owners.items()), strict=True):
        if problem:
            wrong.setdefault(result.frame, problem)
    return [folder / result.image for result in results if result.frame not in wrong], wrong


def damaged_error(job_id: str, damage: Mapping[int, str]) -> JobError:
    """What to raise for frames that are not what was rendered, with the remedy."""
    first = min(damage)
    return JobError(
        f"left out of job {job_id}, since they are not what was rendered: frames "
        f"{frame_ranges(damage)}. "
        f"Frame {first}: {damage[first]}. {_remedy(job_id).capitalize()}",
        tuple(sorted(damage)),
    )


def damage_lines(damage: Mapping[int, str]) -> Iterator[str]:
    """A line for each frame that is there, but not as it was rendered."""
    for frame, reason in sorted(damage.items()):
        if reason:
            yield f"frame {frame} is rendered again: {reason}"


def output_key(result: FrameResult, name: str) -> str:
    """Where something lies that a frame wrote."""
    return f"{layout.output(result.job_id)}/{name}"


def _damage(
    storage: Storage,
    result: FrameResult,
    known: Mapping[str, set[str]],
    listed: Mapping[str, StoredObject],
) -> str | None:
    for name in result.checksums:
        key = output_key(result, name)
        stored = listed.get(key) or storage.stat(key)
        if stored is None:
            return ""
        if known[name]:
            wrong = (stored.crc32c or storage.crc32c(key)) not in known[name]
        else:
            wrong = name == result.image and stored.size != result.image_bytes
        if wrong:
            return _not_rendered(result, name)
    return None


def known_checksums(results: Iterable[FrameResult]) -> dict[str, set[str]]:
    """Name → what its checksum may be; empty if any of its writers kept none.

    Several frames may write to one name; of what they wrote, storage keeps the last.
    """
    known: dict[str, set[str]] = {}
    unknown: set[str] = set()
    for result in results:
        for name, checksum in result.checksums.items():
            known.setdefault(name, set()).add(checksum)
            if not checksum:
                unknown.add(name)
    return known | {name: set() for name in unknown}


def _newer(storage: Storage, result: FrameResult) -> FrameResult:
    """The frame's result as it is stored now, if it is one of the same frame."""
    key = layout.result(result.job_id, result.work_unit_id)
    try:
        now = FrameResult.from_bytes(storage.read(key), key)
    except StorageError:
        return result
    same = (now.job_id, now.work_unit_id, now.frame, now.state, now.image)
    return now if same == (*same[:2], result.frame, "rendered", result.image) else result


def _not_rendered(result: FrameResult, name: str) -> str:
    return f"{output_key(result, name)} is not what was rendered: its checksum is another"


def _remedy(job_id: str) -> str:
    return f"`povstorm retry {job_id}` renders it again"


def _result_key(unit: WorkUnit) -> str:
    return layout.result(unit.job_id, unit.work_unit_id)
