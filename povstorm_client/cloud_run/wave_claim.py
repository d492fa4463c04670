"""Claim: who renders an open frame of a wave, as an object that can be created once.

The later half of each task's share is open: containers claim the frames of it that they come to,
and the dispatcher those that a container which has ended left to nobody.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Annotated

from msgspec import Meta

from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage
from povstorm_client.storage.records import read_record

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


def claim(storage: Storage, wave: str, unit_id: str, by: Claim) -> bool:
    """Take an open frame; False if somebody else has it.

    Nobody looks first: a container may not list objects, and is told 403, not 404, of a claim
    that is not there.
    """
    return storage.create(layout.wave_claim(wave, unit_id), json.dumps(asdict(by)).encode())


def read_claim(storage: Storage, wave: str, unit_id: str) -> Claim | None:
    """Who has an open frame; None if nobody has. RecordError if that is not readable."""
    key = layout.wave_claim(wave, unit_id)
    return None if storage.stat(key) is None else read_record(storage, key, Claim)
