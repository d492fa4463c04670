"""Render one WorkUnit: workspace, POV-Ray, image check, storage. The same code here and in cloud.

Called by the renderers (tasks/renderers) on this machine, by the container's entrypoint elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import replace
from pathlib import Path

from povstorm_client import layout
from povstorm_client.errors import RenderError
from povstorm_client.frame_result import FrameResult, FrameStatistics
from povstorm_client.storage import Storage
from povstorm_client.tools import PovRay
from povstorm_client.work_unit import WorkUnit
from render_image import povray_output
from render_image.image_check import check_image
from render_image.machine import host_name
from render_image.process import ProcessExit, run_process
from render_image.workspace import Workspace, make_workspace

# POV-Ray's exit code for what it refuses: parse errors, missing files, bad options (measured).
_REFUSED = 1
# Refusals with exit code 1 that come from the machine and can pass, by POV-Ray's words.
_PASSING = ("No space left", "Out of memory", "out of memory", "Cannot allocate", "bad_alloc")
_STATE_FILE_ENDING = ".pov-state"


async def render_unit(
    unit: WorkUnit,
    storage: Storage,
    povray: PovRay,
    *,
    attempt: int = 1,
    final_attempt: bool = True,
    queued_since: float | None = None,
    timeout: float | None = None,
) -> FrameResult:
    """Render a frame and store its image, its log and, last, its FrameResult.

    attempt counts from 1; final_attempt: whether a failure is stored as "failed" rather than
    "retrying". queued_since: Unix seconds since when the frame has been waiting; timeout: seconds
    for POV-Ray.

    Raises RenderError, after storing the failed FrameResult, when POV-Ray fails, the image is
    not whole or the time is over. Raises StorageError when the storage fails.
    """
    started = time.time()
    result = FrameResult(
        work_unit_id=unit.work_unit_id,
        job_id=unit.job_id,
        frame=unit.frame,
        state="rendered",
        attempt=attempt,
        host=host_name(),
        started=started,
        ended=started,
        queue_seconds=max(0.0, started - queued_since) if queued_since is not None else 0.0,
        renderer_version=povray.version,
    )
    with make_workspace(unit, storage) as workspace:
        exited = await run_process(
            [str(povray.path), *unit.cmd[1:]],
            cwd=workspace.folder,
            environment=_environment(workspace),
            log=workspace.log,
            timeout=timeout,
        )
        # Decoding and storing take long enough to hold up the other frames of this event loop.
        commit = asyncio.ensure_future(
            asyncio.to_thread(
                _commit,
                unit,
                storage,
                workspace,
                exited,
                result=result,
                timeout=timeout,
                final_attempt=final_attempt,
            )
        )
        try:
            return await asyncio.shield(commit)
        except asyncio.CancelledError:
            # The frame is finished: keep it, and let its workspace live as long as that takes.
            await asyncio.wait({commit})
            raise


def _commit(
    unit: WorkUnit,
    storage: Storage,
    workspace: Workspace,
    exited: ProcessExit,
    *,
    result: FrameResult,
    timeout: float | None,
    final_attempt: bool,
) -> FrameResult:
    """Check what POV-Ray left behind and store it: image and log first, the result last."""
    storage.upload(layout.log(unit.job_id, unit.work_unit_id), workspace.log)
    log = workspace.log.read_text(errors="replace")
    image = workspace.output / unit.image_name
    try:
        _raise_for_exit(exited, log, timeout)
        check_image(image, unit.settings.width, unit.settings.height)
    except RenderError as error:
        log_tail = povray_output.tail(log)
        store_result(
            storage,
            replace(
                result,
                state="failed" if final_attempt or not error.retryable else "retrying",
                ended=time.time(),
                error=str(error),
                log_tail=log_tail,
            ),
        )
        raise RenderError(
            f"frame {unit.frame}: {error}", retryable=error.retryable, log_tail=log_tail
        ) from error
    checksums = _store_outputs(unit, workspace.output, storage)
    rendered = replace(
        result,
        ended=time.time(),
        image=unit.image_name,
        image_bytes=image.stat().st_size,
        image_crc32c=checksums.pop(unit.image_name),
        extra_outputs=list(checksums),
        width=unit.settings.width,
        height=unit.settings.height,
        statistics=_statistics(exited, log, unit, image.stat().st_size),
    )
    store_result(storage, rendered)
    return rendered


def store_result(storage: Storage, result: FrameResult) -> None:
    """Store a FrameResult: the commit point of its frame."""
    key = layout.result(result.job_id, result.work_unit_id)
    storage.write(key, json.dumps(result.to_json()).encode())


def _environment(workspace: Workspace) -> dict[str, str]:
    """Nothing of the user's: neither secrets nor an own povray.ini that would change pixels."""
    return {
        "HOME": str(workspace.home),
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C.UTF-8",
        "TMPDIR": str(workspace.home),
    }


def _raise_for_exit(exited: ProcessExit, log: str, timeout: float | None) -> None:
    if exited.timed_out:
        raise RenderError(
            f"POV-Ray was stopped after {timeout:g} s: raise the job's frame_timeout",
            retryable=True,
        )
    line = povray_output.failure_line(log)
    if exited.returncode == _REFUSED:
        passing = any(words in log for words in _PASSING)
        raise RenderError(line or "POV-Ray exited with 1", retryable=passing)
    if exited.returncode < 0:
        raise RenderError(f"POV-Ray was killed by signal {-exited.returncode}", retryable=True)
    if exited.returncode != 0:
        raise RenderError(line or f"POV-Ray exited with {exited.returncode}", retryable=True)


def _store_outputs(unit: WorkUnit, output: Path, storage: Storage) -> dict[str, str]:
    """Store all that the frame wrote to ./output; returns name → crc32c."""
    return {
        path.relative_to(output).as_posix(): storage.upload(
            f"{unit.offload_gcs_prefix}/{path.relative_to(output).as_posix()}", path
        )
        for path in sorted(output.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.suffix != _STATE_FILE_ENDING
    }


def _statistics(exited: ProcessExit, log: str, unit: WorkUnit, image_bytes: int) -> FrameStatistics:
    seconds = povray_output.phase_seconds(log)
    counts = povray_output.ray_counts(log)
    return FrameStatistics(
        parse_seconds=seconds["parse"],
        bounding_seconds=seconds["bounding"],
        photon_seconds=seconds["photon"],
        radiosity_seconds=seconds["radiosity"],
        trace_seconds=seconds["trace"],
        cpu_seconds=exited.cpu_seconds,
        wall_seconds=exited.wall_seconds,
        peak_memory_bytes=exited.peak_memory_bytes,
        pixels=unit.settings.width * unit.settings.height,
        rays=counts["rays"],
        samples=counts["samples"],
        image_bytes=image_bytes,
    )
