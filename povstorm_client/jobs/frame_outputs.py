"""What frames wrote to ``./output``: where it lies in a storage, and whether it was rendered so.

FrameResults asks before it believes a result; stored_frames and saving before they hand it on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from povstorm_client.frames.result import FrameResult
from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage, StoredObject


def output_key(job_id: str, name: str) -> str:
    """Where something lies that a frame of the job wrote."""
    return f"{layout.output(job_id)}/{name}"


def is_intact(storage: Storage, result: FrameResult) -> bool:
    """Whether all that one rendered frame has stored is there as it was rendered."""
    return damage_of(storage, result) is None


def damage_of(storage: Storage, result: FrameResult) -> str | None:
    """What is wrong with what one rendered frame has stored: None for nothing, "" for missing."""
    return find_output_damage(storage, result, known_checksums([result]), {})


def find_output_damage(
    storage: Storage,
    result: FrameResult,
    known: Mapping[str, set[str]],
    listed: Mapping[str, StoredObject],
) -> str | None:
    """What is wrong with one rendered frame's outputs: None for nothing, "" for missing.

    known: as known_checksums gives it; listed: what a listing told of them, by key.
    """
    for name in result.checksums:
        key = output_key(result.job_id, name)
        stored = listed.get(key) or storage.stat(key)
        if stored is None:
            return ""
        if known[name]:
            wrong = (stored.crc32c or storage.crc32c(key)) not in known[name]
        else:
            wrong = name == result.image and stored.size != result.image_bytes
        if wrong:
            return not_rendered(result, name)
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


def damage_lines(damage: Mapping[int, str]) -> Iterator[str]:
    """A line for each frame that is there, but not as it was rendered."""
    for frame, reason in sorted(damage.items()):
        if reason:
            yield f"frame {frame} is rendered again: {reason}"


def not_rendered(result: FrameResult, name: str) -> str:
    """What is wrong with an output that has another checksum than the frame's result says."""
    return f"{output_key(result.job_id, name)} is not what was rendered: its checksum is another"
