"""Run a job on this machine; the client starts this as a child process.

``python -P -m flows.local_run JOB_URI GCP_CREDENTIALS TEMPORARY_FOLDER`` stops when its standard
input is closed, and removes the folder when it has stopped.

Frames are in work first. Beside them a Prefect server comes up, unless the user has one, and
Prefect is imported, which takes seconds; then the render_job flow attaches to the frames. Where
Prefect does not come up, or is lost, the job is finished without, and its state says so.
"""

from __future__ import annotations

import asyncio
import atexit
import faulthandler
import logging
import os
import shutil
import sys
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, NoReturn, TypeVar

from flows.ahead import Ahead, plan_ahead
from flows.embedded_server import EmbeddedServer
from flows.opened_job import STOPPED, OpenedJob, opened_before, opened_job
from povstorm_client.jobs import shared_resources
from povstorm_client.jobs.manifest import check_frames, read_work_units
from povstorm_client.launch.prefect_server import VARIABLE, chosen_server
from povstorm_client.storage import disk_full
from povstorm_client.storage.disk_full import is_disk_full

T = TypeVar("T")
RunJob = Callable[[OpenedJob, str], Coroutine[Any, Any, object]]
_log = logging.getLogger("povstorm")
# How long Prefect is waited for when no frame is in work any more: to come up, and, when all is
# done, to take note of that.
PATIENCE_SECONDS = 60.0
_LEFT_SECONDS = 1.0
# How long it is waited for when the job was stopped.
_STOPPED_PATIENCE_SECONDS = 10.0
# After that a run that was stopped ends whatever it waits for, and its log says where that was.
# Its client, if that lives, would kill it a little later.
_STOP_SECONDS = 27.0


async def _run(job_uri: str, gcp_credentials: str) -> tuple[int, bool]:
    """Run the job; its exit code, and whether Prefect has recorded all of it."""
    stop = asyncio.Event()

    def client_is_gone() -> None:
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        faulthandler.dump_traceback_later(_STOP_SECONDS, exit=True)
        stop.set()

    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), client_is_gone)
    async with (
        opened_job(job_uri, gcp_credentials, stop, _log) as job,
        AsyncExitStack() as stack,
    ):
        job.ahead = await _go_ahead(job, gcp_credentials, stack)
        server = None
        if chosen_server() is None:
            server = EmbeddedServer()
            # Prefect's own come later, and so run before it.
            atexit.register(server.stop)
            # From here on it is the one that Prefect finds.
            os.environ[VARIABLE] = server.url
        unrecorded = await _run_beside(server, job, job_uri, gcp_credentials)
        if unrecorded:
            job.progress.unrecorded(unrecorded)
            _log.warning("%s", unrecorded)
    if unrecorded and server is not None:
        server.kill()
    phase = job.outcome[0] if job.outcome is not None else "failed"
    return (0 if phase == "completed" else 1), not unrecorded


async def _go_ahead(job: OpenedJob, gcp_credentials: str, stack: AsyncExitStack) -> Ahead | None:
    """Begin to render; the stack ends that. None where it can't be, which the flow tells."""
    storage, manifest = job.storage, job.manifest
    try:
        units = await asyncio.to_thread(read_work_units, storage, manifest.job_id)
        check_frames(manifest, units)
        # What this warns of the flow's own staging says again.
        await asyncio.to_thread(
            shared_resources.stage, storage, manifest.shared_files, lambda line: None
        )
        ahead = await plan_ahead(
            storage,
            manifest,
            units,
            job.progress,
            gcp_credentials=gcp_credentials,
            logger=_log,
        )
        await stack.enter_async_context(ahead.frames)
    except Exception as error:
        # The flow meets it too, and then it is the job's.
        _log.info("no frame goes ahead: %s", error)
        return None
    job.progress.enter("rendering")
    await _unless_stopped(job, ahead.frames.first_begun())
    return ahead


async def _run_beside(
    server: EmbeddedServer | None, job: OpenedJob, job_uri: str, gcp_credentials: str
) -> str:
    """Run the job's flow when Prefect is there; what Prefect has not recorded, in a line, or ""."""
    flow = await _unless_stopped(job, asyncio.to_thread(_flow))
    why = ""
    if flow is not None and server is not None:
        why = await _unless_late(server, job)
    if flow is None or job.stop.is_set():
        job.end("cancelled", STOPPED)
        return "Prefect has no record of this run, which was stopped before Prefect was there"
    render_job, run_job, lost = flow
    came_up = not why
    if came_up:
        watching = asyncio.ensure_future(_watch(server, lost)) if server is not None else None
        opened_before.set(job)
        recording = render_job(job_uri, gcp_credentials, return_state=True)
        why = await _follow(asyncio.ensure_future(recording), job, lost)
        if watching is not None:
            if watching.done():
                why = watching.result()
            watching.cancel()
    if job.outcome is None:
        lost.set()
        await run_job(job, gcp_credentials)
    if not why:
        return ""
    return f"Prefect has {'not recorded all' if came_up else 'no record'} of this run: {why}"


def _flow() -> tuple[Callable[..., Coroutine[Any, Any, object]], RunJob, asyncio.Event]:
    """The flow, its steps, and an event for when Prefect is lost; importing them takes seconds."""
    from flows.render_job import render_job, run_job
    from tasks.prefect_run import watched

    return render_job, run_job, watched()


async def _unless_stopped(job: OpenedJob, waited_for: Coroutine[Any, Any, T]) -> T | None:
    """What is waited for; None if the job is to stop before."""
    waiting = asyncio.ensure_future(waited_for)
    asked = asyncio.ensure_future(job.stop.wait())
    try:
        await asyncio.wait({waiting, asked}, return_when=asyncio.FIRST_COMPLETED)
        return waiting.result() if waiting.done() else None
    finally:
        waiting.cancel()
        asked.cancel()


async def _unless_late(server: EmbeddedServer, job: OpenedJob) -> str:
    """Wait for the server while frames are in work, and a while after; why it is not there."""

    async def late() -> None:
        if job.ahead is not None:
            await job.ahead.frames.all_done()
        await asyncio.sleep(PATIENCE_SECONDS)

    ready = asyncio.ensure_future(server.ready())
    waiting = {ready, asyncio.ensure_future(late()), asyncio.ensure_future(job.stop.wait())}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            return f"its server did not answer within {PATIENCE_SECONDS:.0f} s"
        error = ready.exception()
        return str(error) if error is not None else ""
    finally:
        for each in waiting:
            each.cancel()


async def _watch(server: EmbeddedServer, lost: asyncio.Event) -> str:
    try:
        return await server.ended()
    finally:
        lost.set()


async def _follow(flow: asyncio.Task[Any], job: OpenedJob, lost: asyncio.Event) -> str:
    """Wait for the flow, and no longer than Prefect needs; why it was left, or failed, or ""."""
    losing = asyncio.ensure_future(lost.wait())
    ending = asyncio.ensure_future(job.ended.wait())
    stopping = asyncio.ensure_future(job.stop.wait())
    patience = PATIENCE_SECONDS
    try:
        await asyncio.wait({flow, losing, ending, stopping}, return_when="FIRST_COMPLETED")
        if job.begun.is_set():
            # Whatever becomes of Prefect, the job's steps go on in the flow.
            await asyncio.wait({flow, ending}, return_when=asyncio.FIRST_COMPLETED)
        if job.stop.is_set():
            patience = _STOPPED_PATIENCE_SECONDS
        if lost.is_set():
            await asyncio.wait({flow}, timeout=_LEFT_SECONDS)
        else:
            await asyncio.wait({flow, losing}, timeout=patience, return_when="FIRST_COMPLETED")
    finally:
        for each in (losing, ending, stopping):
            each.cancel()
    if not flow.done():
        flow.cancel()
        return f"its server did not answer within {patience:.0f} s"
    if (error := flow.exception()) is not None:
        return f"{type(error).__name__}: {error}"
    return ""


def _main(job_uri: str, gcp_credentials: str, temporary: str) -> int:
    with asyncio.Runner() as runner:
        try:
            code, is_recorded = runner.run(_run(job_uri, gcp_credentials))
        except Exception as error:
            if not is_disk_full(error):
                raise
            code, is_recorded = disk_full.EXIT_STATUS, True
        finally:
            # The client does so too, unless it was killed.
            shutil.rmtree(temporary, ignore_errors=True)
        if not is_recorded:
            _leave(code)
    return code


def _leave(code: int) -> NoReturn:
    """End at once: what Prefect still has to send, it would try to for minutes."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
