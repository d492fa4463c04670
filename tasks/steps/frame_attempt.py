"""One attempt to render a frame, whoever counts attempts: a task run of Prefect's, or plain_runs.

It imports no Prefect.
"""

from __future__ import annotations

import asyncio
import time

from povstorm_client.errors import PovstormError, RenderError, StorageError
from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.run_logger import RunLogger
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.protocol import Storage
from render_image.machine import host_name
from render_image.povray_output import readable
from render_image.unexpected import unexpected_failure
from tasks.renderers.renderer import Renderer

# What one log record may carry; POV-Ray's usual output is 5 kB, scenes can print more.
_LOG_CHARACTERS = 50_000
# Before a further attempt, seconds: doubled each time, and up to so much of it more at random.
RETRY_SECONDS = 1.0
RETRY_JITTER = 0.5


def can_pass(error: Exception) -> bool:
    """Whether another attempt can mend it; a bug of ours it would only repeat."""
    return error.retryable if isinstance(error, RenderError) else isinstance(error, StorageError)


async def attempt_frame(
    unit: WorkUnit,
    renderer: Renderer,
    storage: Storage,
    *,
    attempt: int,
    retries: int,
    logger: RunLogger,
) -> FrameResult:
    """One attempt, from 1, to render a frame; a failure is stored, and logged with the output."""
    try:
        return await renderer.render(unit, attempt=attempt, final_attempt=attempt > retries)
    except Exception as error:
        failure = error if isinstance(error, PovstormError) else unexpected_failure(error)
        if failure is not error:
            # The renderer's own net tells it in POV-Ray's log; this came from elsewhere.
            logger.exception("%s", failure)
            await asyncio.to_thread(_store_unexpected, storage, unit, attempt, failure, logger)
        if isinstance(failure, RenderError):
            await asyncio.to_thread(_keep_failure, storage, unit, attempt, logger)
        # The line that says what is wrong comes first: the page shows where a record begins.
        text = await asyncio.to_thread(povray_output, storage, unit)
        logger.error("%s\n\nPOV-Ray's output:\n%s", str(failure).partition("\n")[0], text)
        if failure is error:
            raise
        raise failure from error


def tell_output(storage: Storage, unit: WorkUnit, host: str, logger: RunLogger) -> None:
    """Log what POV-Ray printed of a frame that is rendered; host: where it was."""
    if not isinstance(storage, FolderStorage):
        # A call for each frame that went well would be made for nobody.
        log = FrameResults(storage, unit.job_id).log_uri(unit)
        logger.info("rendered by %s; POV-Ray's output: %s", host, log)
    elif text := povray_output(storage, unit):
        logger.info("POV-Ray's output:\n%s", text)


def povray_output(storage: Storage, unit: WorkUnit) -> str:
    """What POV-Ray printed, as far as it can be had: it decides about nothing."""
    try:
        printed = FrameResults(storage, unit.job_id).log(unit) or b""
        return readable(printed.decode(errors="replace"))[-_LOG_CHARACTERS:]
    except StorageError as error:
        return f"(not to be read: {error})"


def _keep_failure(storage: Storage, unit: WorkUnit, attempt: int, logger: RunLogger) -> None:
    """Keep what the attempt stored as its result, which the next one replaces; for the report."""
    try:
        FrameResults(storage, unit.job_id).keep_attempt(unit, attempt, time.time())
    except StorageError as error:
        # The frame's own error is the one to raise: it decides whether there is another attempt.
        logger.warning("attempt %d will not be in the report: %s", attempt, error)


def _store_unexpected(
    storage: Storage, unit: WorkUnit, attempt: int, failure: PovstormError, logger: RunLogger
) -> None:
    """Store the failure of a frame that no renderer has stored one for."""
    now = time.time()
    try:
        FrameResults(storage, unit.job_id).fail(
            FrameResult(
                work_unit_id=unit.work_unit_id,
                job_id=unit.job_id,
                frame=unit.frame,
                state="failed",
                attempt=attempt,
                host=host_name(),
                started=now,
                ended=now,
                error=str(failure),
            )
        )
    except StorageError as error:
        logger.warning("the failure of %s is not stored: %s", unit.name, error)
