"""A job whose frames are rendered when a test says so: as its flow would store them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import replace

from povstorm_client.frames.ranges import first_and_last
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.jobs.manifest import JobManifest, write_manifest
from povstorm_client.jobs.state import JobState, write_state
from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage
from tests.synthetic_job import failed, make_manifest, make_units, picture, rendered


class LiveJob:
    """A stored job; its methods store what happens to frames, in the order that a flow does."""

    def __init__(
        self, storage: Storage, frames: int, job_id: str = "orbit-live", **changes: object
    ) -> None:
        self.storage = storage
        self.job_id = job_id
        self.manifest: JobManifest = make_manifest(job_id, frames, **changes)
        self.units = make_units(job_id, frames)
        write_manifest(storage, self.manifest, self.units)
        now = time.time()
        self.state = JobState("rendering", frames, run="one", updated=now)
        self._rendered: set[int] = set()
        self._failed: set[int] = set()

    def render(self, *frames: int, seconds: float = 1.0, **changes: object) -> None:
        """Frames are done, one after the other."""
        results = FrameResults(self.storage, self.job_id)
        for frame in frames:
            unit = self.units[frame - 1]
            result = rendered(unit, started=time.time() - seconds, seconds=seconds, **changes)
            data = picture(frame, unit.settings.width, unit.settings.height)
            self.storage.write(f"{layout.output(self.job_id)}/{unit.image_name}", data)
            results.commit(result)
            self._rendered.add(frame)
        self.publish()

    def fail(self, frame: int, error: str, **changes: object) -> None:
        """A frame fails, for good unless ``state`` says otherwise."""
        unit = self.units[frame - 1]
        result: FrameResult = failed(unit, started=time.time() - 1, error=error, **changes)
        FrameResults(self.storage, self.job_id).fail(result)
        key = layout.attempt(self.job_id, unit.work_unit_id, result.attempt, result.ended)
        self.storage.write(key, json.dumps(result.to_json()).encode())
        if result.state == "failed":
            self._failed.add(frame)
        self.publish()

    def publish(self, working: Iterable[int] = (), **changes: object) -> None:
        """Store the job's state, with changes to it."""
        working = list(working)
        now = time.time()
        self.state = replace(
            self.state,
            done=len(self._rendered),
            failed=len(self._failed),
            rendered=tuple(first_and_last(self._rendered)),
            failed_frames=tuple(first_and_last(self._failed)),
            working=tuple(first_and_last(working)),
            begun=tuple(now for _ in working),
            running=len(working),
            timed=len(self._rendered),
            frame_seconds=1.0,
            sampled=tuple((frame, 1.0) for frame in sorted(self._rendered)[:64]),
            last_end=now,
            updated=now,
            **changes,
        )
        write_state(self.storage, self.job_id, self.state)
