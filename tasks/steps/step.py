"""Step: what a job does beside its frames, by the names that Prefect's pages show."""

from __future__ import annotations

from enum import StrEnum


class Step(StrEnum):
    """Each is a task run, on a worker as in what Prefect is told of a run without it."""

    STAGE = "stage_shared_resources"
    VIDEO = "stitch_video"
    STATISTICS = "collect_statistics"
    REPORT = "make_report"
