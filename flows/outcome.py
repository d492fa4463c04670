"""Outcome: how a job ended and why, in words for its state; job_steps makes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from povstorm_client.cloud_run.stored_plan import read_plan
from povstorm_client.errors import PovstormError, StorageError
from povstorm_client.frames.ranges import frame_ranges
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.manifest import JobManifest
from povstorm_client.jobs.state import Phase
from povstorm_client.quantities import counted, usd
from povstorm_client.run_logger import RunLogger
from povstorm_client.storage.protocol import Storage


@dataclass(frozen=True)
class Outcome:
    """How a job ended, and why."""

    phase: Phase
    message: str


def with_cost(outcome: Outcome, storage: Storage, manifest: JobManifest) -> str:
    """The message for Prefect, which has no other place for what a job on Cloud Run has cost."""
    if manifest.cloud_run is None:
        return outcome.message
    try:
        plan = read_plan(storage, manifest.job_id)
    except StorageError:
        return outcome.message  # why the job ended matters more
    cost = "" if plan is None else f"; {usd(plan.billed_usd)} on Cloud Run"
    return f"{outcome.message}{cost}"


def missing_frames_in_words(frames: Sequence[int], results: Sequence[FrameResult]) -> str:
    """Which of a job's frames were not rendered, and why the first of them was not.

    results: of those that were tried.
    """
    rendered = {result.frame for result in results if result.state == "rendered"}
    missing = [frame for frame in frames if frame not in rendered]
    first = next((result for result in results if result.state == "failed"), None)
    untried = len(frames) - len(results)
    were = "was" if len(missing) == 1 else "were"
    words = (
        f"{len(missing)} of {counted(len(frames), 'frame')} {were} not rendered: "
        f"{frame_ranges(missing)}"
    )
    if first is not None:
        words += f"; frame {first.frame}: {first.error}"
    if untried:
        were = "was" if untried == 1 else "were"
        tried = counted(untried, "frame")
        words += f" ({tried} {were} not tried, since those that were failed alike)"
    return words


def error_in_words(error: Exception, logger: RunLogger) -> str:
    """An error for a state's message; one that is none of ours has its traceback in the log."""
    if isinstance(error, PovstormError):
        return str(error)
    said = " ".join(f"{type(error).__name__}: {error}".split())[:500]
    logger.error("%s", said, exc_info=error)
    return f"povstorm itself failed ({said}): please report it with the flow's log"
