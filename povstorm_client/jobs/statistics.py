"""JobStatistics: what a job took, frame by frame and in all (``statistics.json``).

collect_statistics computes and stores it; Job.statistics reads it; printing it shows a table.
docs/statistics.md describes each field.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypedDict

import msgspec

from povstorm_client.errors import RecordError
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.own_loop import own_loop_seconds
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
_SLOWEST = 5


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


def summarize(
    results: Iterable[FrameResult],
    *,
    job_id: str,
    name: str,
    expected_frames: Sequence[int],
    started: float,
    ended: float,
    video: dict[str, Any] | None,
    cores: float | None = None,
    traced_frames: int = 0,
    tracing_seconds: float = 0.0,
) -> JobStatistics:
    """Statistics of a job from its frames' results.

    started, ended: Unix seconds of the rendering. cores: of the machine that rendered the frames,
    None where that were several. traced_frames, tracing_seconds: of running the scene first.
    """
    lines = [_line(result) for result in sorted(results, key=lambda result: result.frame)]
    rendered = [line for line in lines if line.state == "rendered"]
    now = [line for line in rendered if not line.cache_hit and line.started >= started]
    tried = [line for line in lines if not line.cache_hit]
    walls = [line.wall_seconds or 0.0 for line in now]
    cpus = [line.cpu_seconds or 0.0 for line in now]
    elapsed = max(0.0, ended - started)
    slowest = sorted(now, key=lambda line: -(line.wall_seconds or 0.0))[:_SLOWEST]
    done = {line.frame for line in rendered}
    return JobStatistics(
        schema=SCHEMA,
        job_id=job_id,
        name=name,
        frames_expected=len(expected_frames),
        frames_rendered=len(rendered),
        frames_from_cache=sum(line.cache_hit for line in rendered),
        frames_failed=sum(line.state == "failed" for line in lines),
        frames_missing=[frame for frame in expected_frames if frame not in done],
        attempts=sum(line.attempts for line in tried),
        retries=sum(max(0, line.attempts - 1) for line in tried),
        started=started,
        ended=ended,
        elapsed_seconds=elapsed,
        wall_seconds=math.fsum(walls),
        cpu_seconds=math.fsum(cpus),
        cores=cores,
        own_loop_seconds=None if cores is None else own_loop_seconds(now, cores),
        peak_memory_bytes=max((line.peak_memory_bytes or 0 for line in lines), default=0),
        pixels=sum(line.pixels or 0 for line in rendered),
        rays=sum(line.rays or 0 for line in rendered),
        image_bytes=sum(line.image_bytes for line in rendered),
        wall_percentiles=_percentiles(walls),
        cpu_percentiles=_percentiles(cpus),
        slowest_frames=[line.frame for line in slowest],
        video=video,
        frames=lines,
        traced_frames=traced_frames,
        tracing_seconds=tracing_seconds,
    )


def _line(result: FrameResult) -> FrameLine:
    taken = result.statistics
    return FrameLine(
        frame=result.frame,
        state=result.state,
        attempts=result.attempt,
        cache_hit=result.cache_hit,
        queue_seconds=result.queue_seconds,
        wall_seconds=taken.wall_seconds if taken else None,
        cpu_seconds=taken.cpu_seconds if taken else None,
        parse_seconds=taken.parse_seconds if taken else None,
        bounding_seconds=taken.bounding_seconds if taken else None,
        photon_seconds=taken.photon_seconds if taken else None,
        radiosity_seconds=taken.radiosity_seconds if taken else None,
        trace_seconds=taken.trace_seconds if taken else None,
        peak_memory_bytes=taken.peak_memory_bytes if taken else None,
        pixels=taken.pixels if taken else None,
        rays=taken.rays if taken else None,
        samples=taken.samples if taken else None,
        image=result.image,
        image_bytes=result.image_bytes,
        host=result.host,
        started=result.started,
        ended=result.ended,
        error=result.error,
    )


def _percentiles(values: list[float]) -> Percentiles | None:
    if not values:
        return None
    ascending = sorted(values)

    def nearest_rank(share: float) -> float:
        return ascending[max(0, math.ceil(share * len(ascending)) - 1)]

    return Percentiles(nearest_rank(0.50), nearest_rank(0.90), nearest_rank(0.99), ascending[-1])


def read_statistics(storage: Storage, job_id: str) -> JobStatistics:
    """The stored statistics; RecordError if they are not readable, StorageError if not there."""
    key = layout.statistics(job_id)
    return JobStatistics.from_json(records.read_record(storage, key, dict[str, Any]), key)


def field_names() -> dict[str, list[str]]:
    """The fields of statistics.json, of its frames and of its percentiles, in their order."""
    return {
        kind.__name__: [field.name for field in fields(kind)]
        for kind in (JobStatistics, FrameLine, Percentiles)
    }
