"""JobStatistics: what a job took, frame by frame and in all (``statistics.json``).

statistics_step.py has it computed (summarize.py) and stores it; Job.statistics reads it; printing
it shows a table. docs/statistics.md describes each field.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, TypedDict

import msgspec

from povstorm_client.errors import RecordError
from povstorm_client.quantities import duration
from povstorm_client.storage import layout, records
from povstorm_client.storage.protocol import Storage
from povstorm_client.storage.records import (
    Count,
    Frame,
    JobId,
    Moment,
    Ratio,
    Seconds,
    Sum,
    TotalSeconds,
)

SCHEMA = 2


class _VideoFacts(TypedDict, total=False):
    """What the statistics say of the video, if they say it."""

    key: str
    frames: Count
    width: Count
    height: Count
    fps: str
    codec: str
    seconds: TotalSeconds
    bytes: Sum


@dataclass(frozen=True)
class FrameLine:
    """One frame; seconds and bytes as in FrameStatistics, None where nothing was rendered."""

    frame: Frame
    state: str
    attempts: Count
    cache_hit: bool
    queue_seconds: Seconds
    wall_seconds: Seconds | None
    cpu_seconds: Seconds | None
    parse_seconds: Seconds | None
    bounding_seconds: Seconds | None
    photon_seconds: Seconds | None
    radiosity_seconds: Seconds | None
    trace_seconds: Seconds | None
    peak_memory_bytes: Count | None
    pixels: Count | None
    rays: Count | None
    samples: Count | None
    image: str
    image_bytes: Count
    host: str
    started: Moment
    ended: Moment
    error: str


@dataclass(frozen=True)
class Percentiles:
    """Nearest-rank percentiles: the smallest value that at least that share does not exceed."""

    p50: Seconds
    p90: Seconds
    p99: Seconds
    maximum: Seconds


@dataclass(frozen=True)
class JobStatistics:
    """A job's statistics; docs/statistics.md has the meaning and unit of each field."""

    schema: Count
    job_id: JobId
    name: str
    frames_expected: Count
    frames_rendered: Count
    frames_from_cache: Count
    frames_failed: Count
    frames_missing: list[Frame]
    attempts: Sum
    retries: Sum
    started: Moment
    ended: Moment
    elapsed_seconds: TotalSeconds
    wall_seconds: TotalSeconds
    cpu_seconds: TotalSeconds
    cores: Ratio | None
    own_loop_seconds: TotalSeconds | None
    peak_memory_bytes: Count
    pixels: Sum
    rays: Sum
    image_bytes: Sum
    wall_percentiles: Percentiles | None
    cpu_percentiles: Percentiles | None
    slowest_frames: list[Frame]
    video: dict[str, Any] | None
    frames: list[FrameLine]
    traced_frames: Count = 0
    tracing_seconds: TotalSeconds = 0.0

    @property
    def rendered_now(self) -> int:
        """How many frames this run rendered: none of the cache's, and none of an earlier run's."""
        return sum(
            line.state == "rendered" and not line.cache_hit and line.started >= self.started
            for line in self.frames
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data, as stored."""
        return asdict(self)

    def stored(self) -> bytes:
        """The same as the text of statistics.json; plain data of 100,000 frames is 400 MB."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)

    @classmethod
    def from_json(cls, data: dict[str, Any], what: str = "statistics.json") -> JobStatistics:
        """The inverse of to_json; raises RecordError, naming what, for what is no such data."""
        schema = data.get("schema") if isinstance(data, dict) else None
        if schema != SCHEMA:
            raise RecordError(
                f"{what} has schema {schema!r:.40}, this povstorm reads {SCHEMA}: "
                "use the version that wrote it, or run the job again"
            )
        found = records.convert(data, cls, what)
        if found.video is not None:
            records.convert(found.video, _VideoFacts, what)
        return found

    def __repr__(self) -> str:
        return (
            f"<JobStatistics {self.job_id}: {self.frames_rendered} of {self.frames_expected} "
            f"frames, {self.frames_from_cache} from cache, {self.frames_failed} failed, rendering "
            f"took {duration(self.elapsed_seconds)}>"
        )

    def _repr_html_(self) -> str:
        """The table in a notebook."""
        from povstorm_client.jobs.notebook import statistics_html

        return statistics_html(str(self))

    def __str__(self) -> str:
        from povstorm_client.jobs.statistics_table import statistics_table

        return statistics_table(self)


def read_statistics(storage: Storage, job_id: str) -> JobStatistics:
    """The stored statistics; RecordError if they are not readable, StorageError if not there."""
    key = layout.statistics(job_id)
    return JobStatistics.from_json(records.read_record(storage, key, dict[str, Any]), key)
