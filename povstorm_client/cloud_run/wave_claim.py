"""Claim: who renders an open frame of a wave, as an object that can be created once.

The later half of each task's share is open: containers claim the frames of it that they come to,
and the dispatcher those that a container which has ended left to nobody.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Annotated

from msgspec import Meta

from povstorm_client.storage import layout
from povstorm_client.storage.parallel import in_parallel
from povstorm_client.storage.protocol import Storage, StoredObject
from povstorm_client.storage.records import decode

# A claim by the dispatcher, which gives the frame to the next wave.
DISPATCHER = -1


def first_open(frames: int) -> int:
    """Where the open part of a share of so many frames begins."""
    return (frames + 1) // 2


@dataclass(frozen=True)
class Claim:
    """Who renders an open frame: a task, or DISPATCHER, and one container of it."""

    task: Annotated[int, Meta(ge=DISPATCHER, le=2**31)]
    container: str = ""


def claim(storage: Storage, wave: str, unit_id: str, by: Claim) -> Claim:
    """Take an open frame, unless somebody else has it; returns who has it then.

    Nobody looks first: a container may not list objects, and is told 403, not 404, of a claim
    that is not there. A claim that is lost tells in the same call whose the frame is. RecordError
    if that is not readable.
    """
    key = layout.wave_claim(wave, unit_id)
    return decode(storage.create_or_read(key, json.dumps(asdict(by)).encode()), Claim, key, storage)


def read_claims(storage: Storage, wave: str, unit_ids: Collection[str]) -> dict[str, Claim]:
    """Who has which of these open frames: work unit id → claim, of those that somebody has.

    RecordError if one is not readable.
    """
    keys = {layout.wave_claim(wave, unit_id): unit_id for unit_id in unit_ids}

    def read(entry: StoredObject) -> Claim:
        data = storage.read(entry.key) if entry.content is None else entry.content
        return decode(data, Claim, entry.key, storage)

    listed = storage.list(layout.wave_claims(wave), contents=True)
    entries = [entry for entry in listed if entry.key in keys]
    claims = zip(entries, in_parallel(read, entries), strict=True)
    return {keys[entry.key]: claim for entry, claim in claims}
