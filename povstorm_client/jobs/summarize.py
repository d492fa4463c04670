"""summarize: a job's statistics from its frames' results; statistics_step calls it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.own_loop import own_loop_seconds
from povstorm_client.jobs.statistics import SCHEMA, FrameLine, JobStatistics, Percentiles

_SLOWEST = 5


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
