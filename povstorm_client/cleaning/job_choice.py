"""Which jobs ``povstorm clean`` deletes, by their age, their end and their number."""

from __future__ import annotations

from collections.abc import Sequence

from povstorm_client.jobs.summary import JobSummary


def choose_jobs(
    jobs: Sequence[JobSummary],
    now: float,
    *,
    older_than: float | None = None,
    failed: bool = False,
    keep: int = 0,
) -> list[JobSummary]:
    """The jobs that all of the conditions apply to.

    jobs: all there are, the newest first; now: Unix seconds. older_than: seconds since they were
    submitted, None for any age. failed: only those that failed or were cancelled. keep: spare so
    many of the newest, whatever they are. Jobs of unknown age are never old.
    """
    return [
        job
        for job in jobs[keep:]
        if (older_than is None or (job.created and now - job.created > older_than))
        and (not failed or job.phase in ("failed", "cancelled"))
    ]
