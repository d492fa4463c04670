"""JobRun: how a run of a job ended, as the flow knows it; it hands this to make_report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.manifest import JobManifest
from povstorm_client.jobs.statistics import JobStatistics


@dataclass(frozen=True)
class JobRun:
    """A run of a job that has ended.

    results: of the frames that were tried; statistics: None where none were made; completed,
    message: the state that the flow ends with.
    """

    manifest: JobManifest
    units: Sequence[WorkUnit]
    results: Sequence[FrameResult]
    statistics: JobStatistics | None
    completed: bool
    message: str
