"""Outputs that are handed on only if they are what their frames' results say: images, and the rest.

The flow asks which frames need no rendering; Job takes images through it. What is
not what was rendered is never handed on: it is named, and ``povstorm retry`` renders it again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from povstorm_client.errors import JobError, RecordError
from povstorm_client.frames.ranges import frame_ranges
from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.frame_outputs import (
    find_output_damage,
    known_checksums,
    not_rendered,
    output_key,
)
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.storage import layout
from povstorm_client.storage.checksum import crc32c, crc32c_of
from povstorm_client.storage.parallel import in_parallel
from povstorm_client.storage.protocol import Storage, make_output_folder

# Another run of the job may replace an image and its result while they are compared.
_LOOKS = 3


def find_damage(
    storage: Storage, results: Sequence[FrameResult], units: Sequence[WorkUnit]
) -> dict[int, str]:
    """Frame → what is wrong with its stored image, or with what else it wrote; "" for missing.

    results: rendered, of one job. Costs a listing; in a folder, everything is read once too.
    """
    if not results:
        return {}
    stored_results = FrameResults(storage, results[0].job_id)
    by_frame = {unit.frame: unit for unit in units}
    listed = {stored.key: stored for stored in storage.list(layout.output(results[0].job_id))}
    known = known_checksums(results)

    def look(result: FrameResult) -> str | None:
        found = find_output_damage(storage, result, known, listed)
        for _ in range(_LOOKS - 1):
            if found is None:
                break
            # Looked at anew: another run of the job may have stored both meanwhile.
            again = stored_results.read(by_frame[result.frame])
            if again is None or again.state != "rendered":
                break
            found = find_output_damage(storage, again, known | known_checksums([again]), {})
        return found

    damage = zip(results, in_parallel(look, results), strict=True)
    return {result.frame: found for result, found in damage if found is not None}


def read_image(storage: Storage, result: FrameResult) -> bytes:
    """A rendered frame's image; RecordError if it is not what was rendered."""
    for _ in range(_LOOKS):
        data = storage.read(output_key(result.job_id, result.image))
        if result.image_crc32c in ("", crc32c_of(data)):
            return data
        result = FrameResults(storage, result.job_id).newest(result)
    raise RecordError(not_rendered(result, result.image) + f": {_remedy(result.job_id)}")


def save_outputs(
    storage: Storage,
    results: Sequence[FrameResult],
    folder: Path,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Path], dict[int, str]]:
    """Save images and further outputs; returns the images' paths, and frame → what is wrong.

    A file that is there already, as it was rendered, is not fetched again. What is not what was
    rendered is not saved. on_progress is told how many files are there, and of how many.
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
        if _is_saved(target, known[name]):
            return ""
        partial = target.with_name(f".povstorm-{secrets.token_hex(8)}")
        try:
            for _ in range(_LOOKS):
                storage.download(output_key(result.job_id, name), partial)
                if not known[name] or crc32c(partial) in known[name]:
                    partial.replace(target)
                    return ""
                result = FrameResults(storage, result.job_id).newest(result)
                known[name] |= known_checksums([result]).get(name, set())
        finally:
            partial.unlink(missing_ok=True)
        return not_rendered(result, name)

    wrong: dict[int, str] = {}
    saved = in_parallel(save, owners.items())
    for done, ((_, result), problem) in enumerate(zip(owners.items(), saved, strict=True), start=1):
        if problem:
            wrong.setdefault(result.frame, problem)
        on_progress(done, len(owners))
    return [folder / result.image for result in results if result.frame not in wrong], wrong


def _is_saved(target: Path, checksums: Collection[str]) -> bool:
    """Whether the file is there with one of these crc32c; of a link it is not said."""
    try:
        return target.is_file() and not target.is_symlink() and crc32c(target) in checksums
    except OSError:
        return False


def damaged_error(job_id: str, damage: Mapping[int, str]) -> JobError:
    """What to raise for frames that are not what was rendered, with the remedy."""
    first = min(damage)
    return JobError(
        f"left out of job {job_id}, since they are not what was rendered: frames "
        f"{frame_ranges(damage)}. "
        f"Frame {first}: {damage[first]}. {_remedy(job_id).capitalize()}",
        tuple(sorted(damage)),
    )


def _remedy(job_id: str) -> str:
    return f"`povstorm retry {job_id}` renders it again"
