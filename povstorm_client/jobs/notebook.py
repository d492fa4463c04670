"""How Job, Cluster and JobStatistics look in a notebook: HTML that needs nothing but itself.

Their ``_repr_html_`` ask for it. All text is escaped, pictures and video are inside of it, and it
stays below two megabytes however large the job is. What cannot be read is said in it: a picture
must not break a cell.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from povstorm_client.errors import PovstormError
from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.frames.ranges import frame_ranges
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.job_sheet import job_sheet
from povstorm_client.jobs.state import JobState
from povstorm_client.jobs.summary import JobSummary
from povstorm_client.quantities import byte_size, counted
from povstorm_client.storage import layout
from povstorm_client.storage.content_types import content_type
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.protocol import Storage

# Larger videos are named only.
_EMBEDDED_BYTES = 1_000_000
_MOST_JOBS = 8
_MOST_CHARACTERS = 2000
_PLAYABLE = ("mp4", "webm")
_COLOURS = {"completed": "#2e8b57", "failed": "#d64541", "cancelled": "#b8860b"}
_AT_WORK = "#3a7bd5"
_NOT_BEGUN = "#767676"


class ShownCluster(Protocol):
    """What is shown of a Cluster."""

    @property
    def storage_uri(self) -> str:
        """Where its jobs are."""

    @property
    def storage(self) -> Storage:
        """The same, opened; raises StorageError."""

    def jobs(self, most: int | None = None) -> Sequence[JobSummary]:
        """So many, the newest first."""


class ShownJob(Protocol):
    """What is shown of a Job."""

    job_id: str
    video: str | None
    settings: JobSettings

    @property
    def cluster(self) -> ShownCluster:
        """Where it is stored."""

    @property
    def submitted(self) -> bool:
        """Whether it is stored there."""

    @property
    def work_units(self) -> Sequence[WorkUnit]:
        """Its frames."""

    def state(self) -> JobState | None:
        """How far it is; None before its flow has begun."""


def job_html(job: ShownJob) -> str:
    """The job: state, a sheet of its images, its video where that is small."""
    try:
        return _box(*_job_parts(job))
    except PovstormError as error:
        return _box(_head(job.job_id, "unreadable", _COLOURS["failed"]), _line(str(error)))


def cluster_html(cluster: ShownCluster) -> str:
    """The cluster: where it is, and its newest jobs."""
    where = _line(repr(cluster).removeprefix("<Cluster ").removesuffix(">"))
    folder = cluster.storage_uri.removeprefix("file://")
    if folder != cluster.storage_uri and not Path(folder).is_dir():
        return _box(_head("Cluster", "", ""), where, _line("no job was submitted to it yet"))
    try:
        jobs = cluster.jobs(_MOST_JOBS)
    except PovstormError as error:
        return _box(_head("Cluster", "", ""), where, _line(str(error)))
    rows = "".join(
        f"<tr>{_cell(job.job_id)}{_cell(job.phase)}"
        f"{_cell(f'{job.done} of ' + counted(job.frames, 'frame'))}</tr>"
        for job in jobs
    )
    table = (
        f'<table style="border-collapse:collapse;margin:.4em 0;font:inherit">{rows}</table>'
        if rows
        else ""
    )
    return _box(_head("Cluster", "", ""), where, table or _line("it has no jobs"))


def statistics_html(table: str) -> str:
    """The table that printing a JobStatistics shows."""
    text = html.escape(table.strip())
    return f'<pre style="font-size:12px;line-height:1.4;margin:0">{text}</pre>'


def _job_parts(job: ShownJob) -> Iterator[str]:
    units = job.work_units
    state = job.state()
    phase = state.phase if state else "submitted" if job.submitted else "not submitted"
    yield _head(job.job_id, phase, _COLOURS.get(phase, _AT_WORK if state else _NOT_BEGUN))
    yield _line(" · ".join(_facts(job, state)))
    if not units or not job.submitted:
        return
    if state is not None and not state.ended:
        yield _bar(state.done / max(1, state.total))
    if state is not None and state.message and state.phase != "completed":
        yield _line(state.message)
    yield _sheet(job)
    yield _video(job)


def _facts(job: ShownJob, state: JobState | None) -> Iterator[str]:
    units = job.work_units
    if state is None:
        yield counted(len(units), "frame")
    else:
        yield f"{state.done} of {counted(state.total, 'frame')}"
        if state.cached:
            yield f"{state.cached} from the cache"
        if state.failed:
            yield f"{state.failed} failed"
    if units:
        settings = units[0].settings
        yield settings.scene.removeprefix("shared/")
        yield f"{settings.width}x{settings.height}"
    yield job.video or "no video"


def _sheet(job: ShownJob) -> str:
    """Of images evenly spread over the job; "" while there are none."""
    sheet = job_sheet(job.cluster.storage, job.job_id, job.work_units, job.settings.tone_mapping)
    if sheet is None:
        return ""
    if not sheet.frames:
        return _line("its images cannot be shown")
    return (
        f'<img alt="frames {html.escape(frame_ranges(sheet.frames))}" style="display:block;'
        'max-width:100%;margin:.5em 0;border-radius:4px" '
        f'src="data:image/jpeg;base64,{_base64(sheet.jpeg)}">'
    )


def _video(job: ShownJob) -> str:
    if not job.video:
        return ""
    storage, key = job.cluster.storage, layout.video(job.job_id, job.video)
    stored = storage.stat(key)
    if stored is None:
        return ""
    place = str(storage.path(key)) if isinstance(storage, FolderStorage) else f"{storage.uri}/{key}"
    line = _line(f"video: {place} ({byte_size(stored.size)})")
    if stored.size > _EMBEDDED_BYTES:
        return line
    style = 'style="display:block;max-width:100%;margin:.5em 0;border-radius:4px"'
    if job.video == "gif":
        return f'<img {style} src="data:image/gif;base64,{_base64(storage.read(key))}">{line}'
    if job.video in _PLAYABLE:
        source = f"data:{content_type(key)};base64,{_base64(storage.read(key))}"
        return f'<video {style} controls loop muted playsinline src="{source}"></video>{line}'
    return line


def _box(*parts: str) -> str:
    style = "font:13px/1.6 system-ui,sans-serif;max-width:46rem;overflow-wrap:anywhere"
    return f'<div style="{style}">{"".join(parts)}</div>'


def _head(title: str, state: str, colour: str) -> str:
    badge = (
        f'<span style="background:{colour};color:#fff;border-radius:9px;padding:1px 9px;'
        f'font-size:12px;margin-left:.6em">{html.escape(state)}</span>'
        if state
        else ""
    )
    return f"<div><b>{html.escape(title)}</b>{badge}</div>"


def _line(text: str) -> str:
    return f'<div style="opacity:.8">{html.escape(text[:_MOST_CHARACTERS])}</div>'


def _cell(text: str) -> str:
    return f'<td style="text-align:left;padding:1px 1.2em 1px 0">{html.escape(text)}</td>'


def _bar(share: float) -> str:
    return (
        '<div style="height:6px;border-radius:3px;background:rgba(128,128,128,.3);margin:.4em 0">'
        f'<div style="height:6px;border-radius:3px;background:{_AT_WORK};'
        f'width:{100 * min(1.0, share):.1f}%"></div></div>'
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
