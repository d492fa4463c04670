"""What tasks that were started ahead of their segments are given to encode, one after another.

SegmentDispatcher gives, each time an object that is created once; the container looks for its next
one (render_image/video/encode_share.py), and a further run of the job reads what was given.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Literal

from povstorm_client.cloud_run.wave_share import SegmentWork, check_images
from povstorm_client.errors import AccessError
from povstorm_client.storage import layout
from povstorm_client.storage.parallel import in_parallel
from povstorm_client.storage.protocol import Storage
from povstorm_client.storage.records import decode, readable


@dataclass(frozen=True)
class Gift:
    """What a task is given; segment: to encode it, None: to end, as nothing more will come."""

    segment: SegmentWork | None


def give(storage: Storage, wave: str, task: int, number: int, gift: Gift) -> bool:
    """Give a task its gift of this number, from 0; False if another run has given it another."""
    return storage.create(layout.wave_gift(wave, task, number), json.dumps(asdict(gift)).encode())


def look_for(storage: Storage, wave: str, task: int, number: int) -> Gift | Literal["not yet"]:
    """A task's gift of this number, if it is there; RecordError if it is not readable."""
    key = layout.wave_gift(wave, task, number)
    try:
        data = storage.find(key)
    except AccessError:
        # Whoever may not list is told 403, not 404, of an object that is not there.
        return "not yet"
    return "not yet" if data is None else _gift(data, key, wave, storage)


def read_given(storage: Storage, wave: str) -> dict[int, list[Gift]]:
    """All that a wave's tasks were given, in its order, by task; RecordError as look_for."""
    keys = sorted(entry.key for entry in storage.list(layout.wave_gifts(wave)))

    def read(key: str) -> Gift:
        return _gift(storage.read(key), key, wave, storage)

    given: dict[int, list[Gift]] = defaultdict(list)
    for key, gift in zip(keys, in_parallel(read, keys), strict=True):
        with readable(key, storage):
            given[layout.task_of_gift(key)].append(gift)
    return given


def _gift(data: bytes, key: str, wave: str, storage: Storage) -> Gift:
    gift = decode(data, Gift, key, storage)
    if gift.segment is not None:
        with readable(key, storage):
            check_images(gift.segment, wave)
    return gift
