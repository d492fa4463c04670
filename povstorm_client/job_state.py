"""JobState: what the flow is doing with a job, stored for whoever polls (``state.json``).

The flow writes it when something changed, at most about once a second, and every half minute in
any case; Job.run, ``povstorm status``, ``povstorm jobs`` and the progress bar read it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal

from povstorm_client import layout
from povstorm_client.records import Count, Frame, Moment, read_record
from povstorm_client.storage import Storage

Phase = Literal[
    "submitted",
    "staging",
    "rendering",
    "stitching",
    "reporting",
    "completed",
    "failed",
    "cancelled",
]
# How often a flow writes the state although nothing changed, in seconds.
HEARTBEAT_SECONDS = 30.0
# Of a flow that was silent for so long nothing is to be expected any more; clocks may differ a bit.
LOST_SECONDS = 15 * 60.0
_ENDED: frozenset[Phase] = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True)
class JobState:
    """A job's phase and its frame counts.

    done: frames with a verified image, of which cached come from an earlier job;
    failed: frames that failed for good; running: how many frames are in work, and working: which,
    as runs of first and last; video_frames: frames encoded.
    message: one line for people; the reason once the phase is "failed".
    run: what wrote it, so that a new run isn't taken for an old one. updated: Unix seconds.
    """

    phase: Phase
    total: Count
    done: Count = 0
    failed: Count = 0
    cached: Count = 0
    running: Count = 0
    retrying: Count = 0
    video_frames: Count = 0
    message: str = ""
    run: str = ""
    updated: Moment = 0.0
    working: tuple[tuple[Frame, Frame], ...] = ()

    @property
    def ended(self) -> bool:
        """Whether nothing works on the job any more."""
        return self.phase in _ENDED


def write_state(storage: Storage, job_id: str, state: JobState) -> None:
    """Store a job's state."""
    storage.write(layout.job_state(job_id), json.dumps(asdict(state)).encode())


def read_state(storage: Storage, job_id: str) -> JobState | None:
    """A job's state, None before there is one; RecordError if it is not readable."""
    key = layout.job_state(job_id)
    return None if storage.stat(key) is None else read_record(storage, key, JobState)
