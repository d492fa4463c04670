"""The make_report task: a finished job's report.html, and what the Prefect UI shows of it."""

from __future__ import annotations

import asyncio
import base64
import threading
from typing import TYPE_CHECKING
from urllib.parse import quote

from prefect import task
from prefect.artifacts import acreate_link_artifact, acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE

from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage
from tasks.job_run import JobRun
from tasks.prefect_run import get_run_logger, is_recorded, unless_lost
from tasks.report.markdown_summary import summary, where_report_is
from tasks.stored.last_writes import store_last

if TYPE_CHECKING:
    from tasks.report.previews import ReadyPreviews


@task(name="make_report", cache_policy=NO_CACHE, persist_result=False)
async def make_report(storage: Storage, run: JobRun, ready: ReadyPreviews | None = None) -> str:
    """Make and store the report; returns its address, which the flow run gets as an artifact.

    ready: previews that were made while frames were rendered.
    """
    # Here: it imports matplotlib, which no other part of a flow should wait for.
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
    get_run_logger().info("report: %s (%d kB)", address, len(report.html) // 1000)
    text = summary(report.facts, address, base64.b64encode(report.sheet).decode("ascii"))
    try:
        if is_recorded():
            how = where_report_is(address, report.facts.show)
            await unless_lost(_publish(run.manifest.job_id, address, how, text))
    except Exception as error:
        # The report is there all the same.
        get_run_logger().warning("Prefect's pages have no link to the report: %s", error)
    return address


async def _publish(job_id: str, address: str, how: str, text: str) -> None:
    if address.startswith("https://"):
        await acreate_link_artifact(
            address, key="report", link_text="report.html", description=f"Report of {job_id}"
        )
    else:
        await acreate_markdown_artifact(
            f"Report of {job_id}: {how}", key="report", description=f"Report of {job_id}"
        )
    await acreate_markdown_artifact(text, key="summary", description=f"Summary of {job_id}")


def report_address(storage: Storage, key: str) -> str:
    """Where a browser opens the object: of a bucket, for those who are logged in and may read it.

    https://cloud.google.com/storage/docs/request-endpoints, "Authenticated browser downloads".
    """
    if storage.uri.startswith("gs://"):
        bucket = storage.uri.removeprefix("gs://")
        return f"https://storage.cloud.google.com/{bucket}/{quote(key)}"
    return f"{storage.uri}/{quote(key)}"
