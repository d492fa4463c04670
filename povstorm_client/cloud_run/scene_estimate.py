"""Estimate: what a frame of a scene takes, learned from its last run and kept in the storage.

The dispatcher plans with it, ``--dry-run`` shows what it says; without it a wave starts with a
small sample.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from povstorm_client.errors import StorageError
from povstorm_client.frames.render_settings import RenderSettings
from povstorm_client.frames.result import FrameResult
from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage
from povstorm_client.storage.records import Count, Sum, TotalSeconds, read_record

# A light scene's process with its libraries (measured).
_FIRST_GUESS_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Estimate:
    """Sums over the frames that were measured: CPU seconds, and the largest peak in bytes."""

    frames: Count = 0
    total_cpu_seconds: TotalSeconds = 0.0
    peak_memory_bytes: Sum = _FIRST_GUESS_BYTES

    @property
    def cpu_seconds(self) -> float | None:
        """CPU seconds a frame, None if nothing was measured."""
        return self.total_cpu_seconds / self.frames if self.frames else None

    def with_frame(self, result: FrameResult) -> Estimate:
        """The estimate with one more frame in it."""
        if result.statistics is None:
            return self
        return Estimate(
            self.frames + 1,
            self.total_cpu_seconds + result.statistics.cpu_seconds,
            max(self.peak_memory_bytes, result.statistics.peak_memory_bytes),
        )


def scene_digest(name: str, settings: RenderSettings) -> str:
    """What names a scene's estimate: the job's name and all settings but the range of frames."""
    relevant = {
        key: value
        for key, value in settings.to_json().items()
        if key not in ("initial_frame", "final_frame", "initial_clock", "final_clock")
    }
    return hashlib.sha256(json.dumps([name, relevant], sort_keys=True).encode()).hexdigest()


def read_estimate(storage: Storage, digest: str) -> Estimate:
    """The stored estimate; an empty one where there is none, or none that is readable."""
    key = layout.estimate(digest)
    if storage.stat(key) is None:
        return Estimate()
    try:
        return read_record(storage, key, Estimate)
    except StorageError:
        # It only saves a sample: whatever it is, the run goes on without it.
        return Estimate()


def write_estimate(storage: Storage, digest: str, estimate: Estimate) -> None:
    """Store what was learned in place of what was there."""
    storage.write(layout.estimate(digest), json.dumps(asdict(estimate)).encode())
