"""The make_report task: a finished job's report.html, and what the Prefect UI shows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from povstorm_client.storage.protocol import Storage
from tasks.artifacts.job_artifacts import publish_report
from tasks.report.job_run import JobRun
from tasks.steps.report_step import make_report_page
from tasks.steps.step import Step

if TYPE_CHECKING:
    from tasks.report.previews import ReadyPreviews


@task(name=Step.REPORT, cache_policy=NO_CACHE, persist_result=False)
async def make_report(storage: Storage, run: JobRun, ready: ReadyPreviews | None = None) -> str:
    """As make_report_page; returns the report's address, which the flow run gets as an artifact."""
    report = await make_report_page(storage, run, ready)
    get_run_logger().info("%s", report.log_line)
    await publish_report(run.manifest.job_id, report.address, report.how, report.summary)
    return report.address
