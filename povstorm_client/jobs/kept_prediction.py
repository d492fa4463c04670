"""What a preview said that a job would take, kept in the storage for whoever renders that job next.

``povstorm render --preview`` keeps it; ``render`` compares its job with it, ``--dry-run`` shows it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from operator import attrgetter

from povstorm_client.errors import StorageError
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.prediction import Prediction
from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage
from povstorm_client.storage.records import read_record


def keep_prediction(
    storage: Storage, name: str, units: Sequence[WorkUnit], prediction: Prediction
) -> None:
    """Store it for the job of this name and these frames, in place of what was there."""
    storage.write(_key(name, units), json.dumps(asdict(prediction)).encode())


def kept_prediction(storage: Storage, name: str, units: Sequence[WorkUnit]) -> Prediction | None:
    """What the last preview of just these frames said; None where there was none."""
    key = _key(name, units)
    if storage.stat(key) is None:
        return None
    try:
        return read_record(storage, key, Prediction)
    except StorageError:
        # It only is compared with what came of it: the job goes on without it.
        return None


def _key(name: str, units: Sequence[WorkUnit]) -> str:
    frames = [
        [settings.to_json(), [unit.frame for unit in alike]]
        for settings, alike in groupby(units, key=attrgetter("settings"))
    ]
    text = json.dumps(["preview", name, frames], sort_keys=True)
    return layout.estimate(hashlib.sha256(text.encode()).hexdigest())
