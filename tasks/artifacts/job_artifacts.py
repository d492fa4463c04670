"""What Prefect's pages show beside a run's states: table, links and summary; tasks publish it.

What cannot be published is told in the run's log, and costs nothing else.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import (
    acreate_link_artifact,
    acreate_markdown_artifact,
    acreate_table_artifact,
)

from povstorm_client.frames.result import FrameResult

# The UI renders the table in the browser; failed and slow frames come first in longer jobs.
_TABLE_ROWS = 500


async def publish_frames(job_id: str, results: Sequence[FrameResult]) -> None:
    """A table of a job's frames."""
    making = acreate_table_artifact(_rows(results), key="frames", description=f"Frames of {job_id}")
    await _unless_refused(making, "table of the frames")


async def publish_report(job_id: str, address: str, how: str, summary: str) -> None:
    """A link to a job's report, or how it is opened, and the job's summary, as Markdown."""

    async def publish() -> None:
        about = f"Report of {job_id}"
        if address.startswith("https://"):
            await acreate_link_artifact(
                address, key="report", link_text="report.html", description=about
            )
        else:
            await acreate_markdown_artifact(f"{about}: {how}", key="report", description=about)
        await acreate_markdown_artifact(summary, key="summary", description=f"Summary of {job_id}")

    await _unless_refused(publish(), "link to the report")


async def _unless_refused(making: Coroutine[Any, Any, object], what: str) -> None:
    try:
        await making
    except Exception as error:
        # What it tells of is there all the same.
        get_run_logger().warning("Prefect's pages have no %s: %s", what, error)


def _rows(results: Sequence[FrameResult]) -> list[dict[str, Any]]:
    if len(results) > _TABLE_ROWS:
        by_interest = sorted(
            results, key=lambda result: (result.state == "rendered", result.started - result.ended)
        )
        results = sorted(by_interest[:_TABLE_ROWS], key=lambda result: result.frame)
    return [_row(result) for result in results]


def _row(result: FrameResult) -> dict[str, Any]:
    statistics = result.statistics
    return {
        "frame": result.frame,
        "state": "from cache" if result.cache_hit else result.state,
        "attempt": result.attempt,
        "parse s": statistics.parse_seconds if statistics else None,
        "trace s": statistics.trace_seconds if statistics else None,
        "CPU s": round(statistics.cpu_seconds, 2) if statistics else None,
        "wall s": round(statistics.wall_seconds, 2) if statistics else None,
        "peak MiB": round(statistics.peak_memory_bytes / 2**20) if statistics else None,
        "image": result.image,
        "error": result.error,
    }
