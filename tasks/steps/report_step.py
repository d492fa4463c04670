"""Make and store a job's report; the make_report task calls it, and local_run without Prefect."""

from __future__ import annotations

import asyncio
import base64
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage
from tasks.report.job_run import JobRun
from tasks.report.markdown_summary import summary, where_report_is
from tasks.stored.last_writes import store_last

if TYPE_CHECKING:
    from tasks.report.previews import ReadyPreviews


@dataclass(frozen=True)
class StoredReport:
    """A report that is stored: its address, and what Prefect's pages show of it, as Markdown.

    how: how it is opened; summary: the job's; log_line: for logs.
    """

    address: str
    how: str
    summary: str
    log_line: str


async def make_report_page(
    storage: Storage, run: JobRun, ready: ReadyPreviews | None = None
) -> StoredReport:
    """Make and store report.html. ready: previews that were made while frames were rendered."""
    # Here: it imports Pillow and Jinja, which no other part of a flow should wait for.
    from tasks.report.build import build_report

    key = layout.report(run.manifest.job_id)
    # Whatever happens now, nobody takes an earlier run's report for this one's.
    await asyncio.to_thread(storage.delete, key)
    stopped = threading.Event()
    try:
        report = await asyncio.to_thread(build_report, storage, run, stopped, ready)
    except asyncio.CancelledError:
        stopped.set()
        raise
    await asyncio.to_thread(store_last, lambda: storage.write(key, report.html.encode()))
    address = report_address(storage, key)
    return StoredReport(
        address,
        where_report_is(address, report.facts.show),
        summary(report.facts, address, base64.b64encode(report.sheet).decode("ascii")),
        f"report: {address} ({len(report.html) // 1000} kB)",
    )


def report_address(storage: Storage, key: str) -> str:
    """Where a browser opens the object: of a bucket, for those who are logged in and may read it.

    https://cloud.google.com/storage/docs/request-endpoints, "Authenticated browser downloads".
    """
    if storage.uri.startswith("gs://"):
        bucket = storage.uri.removeprefix("gs://")
        return f"https://storage.cloud.google.com/{bucket}/{quote(key)}"
    return f"{storage.uri}/{quote(key)}"
