"""JobState: what the flow is doing with a job, stored for whoever polls (``state.json``).

The flow writes it when something changed, at most about once a second, and every half minute in
any case, Cluster.start when it starts a further run, and record_run when Prefect knows all of it;
Job.run, ``povstorm status``,
``povstorm jobs`` and the progress bar read it.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage
from povstorm_client.storage.records import Count, Frame, Moment, Seconds, find_record

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
# A flow that was silent for so long, several heartbeats, may have been killed.
SILENT_SECONDS = 120.0
# Of a flow that was silent for so long nothing is to be expected any more; clocks may differ a bit.
LOST_SECONDS = 15 * 60.0
_ENDED: frozenset[Phase] = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True)
class JobState:
    """A job's phase and its frame counts.

    done: frames with a verified image, of which cached come from an earlier job;
    failed: frames that failed for good; running: how many frames are in work, and working: which,
    as runs of first and last; video_frames: frames encoded.
    message: one line for people: what frames wait for; the reason once the phase is "failed".
    run: what wrote it, so that a new run isn't taken for an old one. updated: Unix seconds.

    rendered, failed_frames: the done and the failed frames, as runs of first and last. timed: how
    many of the done ones this run rendered itself; frame_seconds: how long the last of those were
    in work, on average; sampled: how long some of them were, the latest and others from all over
    the job; first_end, last_end: when the first and the last of them ended. begun: when the frames
    in work were begun (an even sample of many). Times are Unix seconds, 0 where there is none.
    queued: whether frames in work may still wait for a container. unrecorded: one line for people:
    what of this run Prefect has no record of, and why. recording: whether Prefect was still being
    told of this run when this was stored; who tells it stores the state anew when that is done.
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
    rendered: tuple[tuple[Frame, Frame], ...] = ()
    timed: Count = 0
    frame_seconds: Seconds = 0.0
    first_end: Moment = 0.0
    last_end: Moment = 0.0
    begun: tuple[Moment, ...] = ()
    queued: bool = False
    unrecorded: str = ""
    failed_frames: tuple[tuple[Frame, Frame], ...] = ()
    sampled: tuple[tuple[Frame, Seconds], ...] = ()
    recording: bool = False

    @property
    def ended(self) -> bool:
        """Whether nothing works on the job any more."""
        return self.phase in _ENDED

    def is_silent(self, now: float) -> bool:
        """Whether a run that has not ended is not heard of any more; now: Unix seconds."""
        return not self.ended and bool(self.updated) and now - self.updated > SILENT_SECONDS


def write_state(storage: Storage, job_id: str, state: JobState) -> None:
    """Store a job's state."""
    storage.write(layout.job_state(job_id), json.dumps(vars(state)).encode())


def end_recording(storage: Storage, job_id: str, run: str, unrecorded: str) -> None:
    """Say in the state of a run that has ended that Prefect is told no more of it.

    unrecorded: as of JobState. Nothing is said where another run has begun, or the job is deleted.
    """
    state = read_state(storage, job_id)
    if state is None or state.run != run or not state.ended:
        return
    write_state(
        storage,
        job_id,
        replace(state, recording=False, unrecorded=unrecorded or state.unrecorded),
    )
    if storage.stat(layout.job_manifest(job_id)) is None:
        # Who deletes a job begins with its manifest, and may have been here before.
        storage.remove(layout.job_state(job_id))


@contextmanager
def announced_run(storage: Storage, job_id: str) -> Iterator[None]:
    """Tell that a new run of a job begins, which the block starts.

    A flow needs seconds until it writes the state itself; until then whoever looks would take the
    end of the last run for the end of this one. If the block raises, nothing has begun.
    """
    before = read_state(storage, job_id)
    if before is None or not before.ended:
        yield
        return
    begun = JobState("submitted", before.total, run=str(uuid.uuid4()), updated=time.time())
    write_state(storage, job_id, begun)
    try:
        yield
    except BaseException:
        write_state(storage, job_id, before)
        raise


def read_state(storage: Storage, job_id: str) -> JobState | None:
    """A job's state, None before there is one; RecordError if it is not readable."""
    return find_record(storage, layout.job_state(job_id), JobState)
