"""Gather what a report tells: from the job's manifest, its results, and what storage keeps of it.

What is missing or unreadable in the storage is left out of the report; build.py calls it.
"""

from __future__ import annotations

import platform
import shlex
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from povstorm_client.cloud_run.stored_plan import StoredWave, read_plan
from povstorm_client.errors import RecordError
from povstorm_client.frames.ranges import frame_ranges
from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.variant_words import variant_words
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.jobs.manifest import JobManifest
from povstorm_client.jobs.own_loop import own_loop_waits
from povstorm_client.programs.cores import cores
from povstorm_client.quantities import core_words, counted, duration
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.protocol import Storage, StoredObject
from povstorm_client.version import povstorm_version
from tasks.report.facts import FrameFacts, Outcome, ReportFacts, Span, Timing
from tasks.report.job_run import JobRun

# Each is a call to the storage; more would not be told apart in the plot either.
_MOST_ATTEMPTS = 2000
_DATE = len("2026-01-02")


def gather(storage: Storage, run: JobRun) -> ReportFacts:
    """The facts of a job's report; StorageError where the storage fails."""
    manifest = run.manifest
    notes: list[str] = []
    failures = _failed_attempts(storage, manifest.job_id, notes)
    settings = run.units[0].settings
    again, retry, show = _commands(storage, manifest)
    video = ""
    if manifest.settings.video:
        key = layout.video(manifest.job_id, manifest.settings.video)
        # Of a job that failed now, an earlier run may have left one.
        video = key.rpartition("/")[2] if run.completed and storage.stat(key) else ""
    return ReportFacts(
        job_id=manifest.job_id,
        name=manifest.name,
        completed=run.completed,
        message=run.message,
        width=settings.width,
        height=settings.height,
        fps=float(manifest.settings.frames_per_second),
        frames=tuple(_frames(run)),
        spans=tuple(_spans(storage, run, failures)),
        waves=_waves(storage, manifest.job_id, notes),
        notes=tuple(notes),
        timing=_timing(run),
        facts=tuple(_facts(storage, run)),
        again=again,
        retry=retry,
        show=show,
        video=video,
    )


def _frames(run: JobRun) -> Iterable[FrameFacts]:
    results = {result.frame: result for result in run.results}
    settings = {unit.frame: unit.settings for unit in run.units}
    at = {frame: index for index, frame in enumerate(run.manifest.frames)}
    variants = variant_words(run.units)
    for frame in run.manifest.frames:
        result = results.get(frame)
        common: dict[str, Any] = {
            "frame": frame,
            "clock": settings[frame].clock_of(frame),
            "at": float(at[frame] / run.manifest.settings.frames_per_second),
            "variant": variants.get(settings[frame].variant, ""),
        }
        if result is None or result.state == "retrying":
            yield FrameFacts(**common, state="missing", error=result.error if result else "")
            continue
        taken = result.statistics
        yield FrameFacts(
            **common,
            state="cached" if result.cache_hit else result.state,
            attempts=result.attempt,
            seconds=taken.wall_seconds if taken else None,
            cpu_seconds=taken.cpu_seconds if taken else None,
            peak_memory_bytes=taken.peak_memory_bytes if taken else None,
            host=result.host,
            image=result.image,
            error=result.error,
            log_tail=result.log_tail,
        )


def _failed_attempts(storage: Storage, job_id: str, notes: list[str]) -> list[FrameResult]:
    latest, all_of_them = FrameResults(storage, job_id).failed_attempts(_MOST_ATTEMPTS)
    if all_of_them > _MOST_ATTEMPTS:
        notes.append(f"{all_of_them} attempts failed; the timeline has the last {_MOST_ATTEMPTS}.")
    return latest


def _spans(storage: Storage, run: JobRun, failures: Sequence[FrameResult]) -> list[Span]:
    stored = FrameResults(storage, run.manifest.job_id).listed()
    spans: dict[tuple[int, int, float], Span] = {}
    for result in [*failures, *run.results]:
        if not result.started:
            continue  # nothing is known of it, such as when the storage failed
        span = _span(result, stored.get(result.work_unit_id))
        spans[span.frame, span.attempt, span.started] = span
    return sorted(spans.values(), key=lambda span: (span.started, span.frame))


def _span(result: FrameResult, stored: StoredObject | None) -> Span:
    started, ended = result.started, max(result.started, result.ended)
    if result.cache_hit:
        # Its own times are those of the job that rendered it.
        started = ended = stored.changed if stored else ended
    return Span(
        result.frame, result.attempt, result.host, started, ended, _outcome(result), result.error
    )


def _outcome(result: FrameResult) -> Outcome:
    if result.cache_hit:
        return "cached"
    if result.state == "rendered":
        return "rendered"
    if result.lost_container:
        return "lost"
    return "retried" if result.state == "retrying" else "failed"


def _waves(storage: Storage, job_id: str, notes: list[str]) -> tuple[StoredWave, ...]:
    try:
        plan = read_plan(storage, job_id)
    except RecordError as error:
        key = layout.plan(job_id)
        notes.append(f"The plan of the waves, {key}, is not readable: {error.__cause__}")
        return ()
    waves = plan.waves if plan is not None else ()
    return tuple(sorted(waves, key=lambda wave: wave.submitted))


def _timing(run: JobRun) -> Timing | None:
    statistics = run.statistics
    if statistics is None:
        return None
    return Timing(
        started=statistics.started,
        ended=statistics.ended,
        elapsed=statistics.elapsed_seconds,
        cpu_seconds=statistics.cpu_seconds,
        own_loop=statistics.own_loop_seconds,
        own_loop_waits=own_loop_waits(statistics.rendered_now),
        retries=statistics.retries,
        peak_memory_bytes=statistics.peak_memory_bytes,
        cores=statistics.cores,
        # Frames from a cache, or of an earlier run, are not in this run's CPU time.
        prediction=run.manifest.prediction
        if all(each.state == "rendered" and not each.cache_hit for each in statistics.frames)
        and min(each.started for each in statistics.frames) >= statistics.started
        else None,
    )


def _facts(storage: Storage, run: JobRun) -> Iterable[tuple[str, str]]:
    manifest, settings = run.manifest, run.units[0].settings
    yield "Scene", settings.scene.removeprefix("shared/")
    yield "Size", f"{settings.width}x{settings.height} pixels"
    if settings.antialias is not None:
        yield "Antialiasing", f"threshold {settings.antialias:g}"
    if settings.options:
        yield "Options", " ".join(settings.options)
    if len(manifest.frames) == 1:
        yield "Frame", str(manifest.frames[0])
    else:
        yield "Frames", f"{len(manifest.frames)}: {_shortened(frame_ranges(manifest.frames))}"
        yield "Frames a second", _fps(manifest)
        ends = [unit.settings.clock_of(unit.frame) for unit in (run.units[0], run.units[-1])]
        yield "Clock", f"{ends[0]:g} to {ends[1]:g}"
    if (tracing := manifest.tracing) is not None:
        yield (
            "Traced",
            f"{counted(tracing.frames, 'frame')} in {duration(tracing.seconds)}, before rendering",
        )
    if settings.is_unbounded:
        kind = "OpenEXR" if settings.image_ending == ".exr" else "Radiance HDR"
        yield "Images", f"{kind}, linear light; shown by {manifest.settings.tone_mapping}"
    if run.statistics and run.statistics.video:
        video = run.statistics.video
        yield "Video", f"{counted(video.get('frames', 0), 'frame')}, {video.get('codec')}"
    fleet = manifest.cloud_run
    if fleet is None:
        yield "Rendered on", f"{platform.node()}, {core_words(cores())}"
    else:
        yield "Rendered on", f"Google Cloud Run, {fleet.project_id}, {fleet.region}"
    versions = sorted({result.renderer_version for result in run.results} - {""})
    if versions:
        yield "POV-Ray", ", ".join(versions)
    yield "povstorm", povstorm_version()
    yield "Submitted", f"{_moment(manifest.created)} UTC by {manifest.created_by}"
    if run.statistics:
        started, ended = _moment(run.statistics.started), _moment(run.statistics.ended)
        same_day = started[:_DATE] == ended[:_DATE]
        end = "" if started == ended else f" to {ended[_DATE + 1 if same_day else 0 :]}"
        yield "Rendered", f"{started}{end} UTC"
    yield "Stored in", f"{storage.uri}/{layout.job(manifest.job_id)}"


def _fps(manifest: JobManifest) -> str:
    fps = manifest.settings.frames_per_second
    return str(fps) if fps.denominator == 1 else f"{float(fps):.3f} ({fps})"


def _shortened(text: str, most: int = 120) -> str:
    return text if len(text) <= most else f"{text[:most]} …"


def _moment(seconds: float) -> str:
    """In UTC: the report may be read in another time zone than it is written in."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def _commands(storage: Storage, manifest: JobManifest) -> tuple[str, str, str]:
    """The commands that render one frame again, and all that is missing, and open the report."""
    povstorm = "povstorm"
    if not isinstance(storage, FolderStorage):
        povstorm = "povstorm --cluster outputs.json"
    elif storage.root != Path.home() / ".povstorm":
        povstorm = f"POVSTORM_HOME={shlex.quote(str(storage.root))} povstorm"
    job_id = manifest.job_id
    return (
        f"{povstorm} frame {job_id} FRAME",
        f"{povstorm} retry {job_id}",
        f"{povstorm} report {job_id}",
    )
