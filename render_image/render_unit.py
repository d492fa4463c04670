"""Render one WorkUnit: workspace, POV-Ray, image check, storage. The same code here and in cloud.

Called by the renderers (tasks/renderers) on this machine, by the container's entrypoint elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from povstorm_client import layout
from povstorm_client.errors import InputError, RenderError, StorageError
from povstorm_client.frame_result import FrameResult, FrameStatistics
from povstorm_client.paths import check_workspace_path
from povstorm_client.sandbox_mode import SandboxMode
from povstorm_client.storage import Storage
from povstorm_client.tools import PovRay
from povstorm_client.work_unit import WorkUnit
from render_image import povray_output
from render_image.image_check import check_image
from render_image.image_dates import drop_dates
from render_image.limits import Limits
from render_image.machine import host_name
from render_image.povray_environment import prepare_environment
from render_image.povray_failure import raise_for_exit, ran_out_of_memory
from render_image.process import ProcessExit, run_process
from render_image.sandbox import open_sandbox
from render_image.watch import folder_problem, shorten_log
from render_image.workspace import Workspace, make_workspace

_STATE_FILE_ENDING = ".pov-state"
# The names of the images themselves, which no frame may write for another.
_IMAGE_NAME = re.compile(r"frame_\d+\.png")


async def render_unit(
    unit: WorkUnit,
    storage: Storage,
    povray: PovRay,
    *,
    attempt: int = 1,
    final_attempt: bool = True,
    queued_since: float | None = None,
    timeout: float | None = None,
    sandbox: SandboxMode = "auto",
    limits: Limits | None = None,
) -> FrameResult:
    """Render a frame and store its image, its log and, last, its FrameResult.

    attempt counts from 1; final_attempt: whether a failure is stored as "failed" rather than
    "retrying". queued_since: Unix seconds since when the frame has been waiting; timeout: seconds
    for POV-Ray. sandbox: whether it runs in bubblewrap; limits: what it may use (the defaults of
    Limits if None).

    Raises RenderError, after storing the failed FrameResult, when POV-Ray fails, the image is
    not whole, the time is over or the frame goes beyond its limits. Raises StorageError when the
    storage fails, ToolError when a sandbox is required and can't be had.
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
    wall = await asyncio.to_thread(open_sandbox, povray, sandbox)
    limits = (limits or Limits()).for_image(unit.settings.width, unit.settings.height)
    with make_workspace(unit, storage, link_shared=wall is None) as workspace:
        limits = limits.beside(workspace.laid_out)
        environment = prepare_environment(workspace, povray, wall)
        written_to = (workspace.folder, workspace.temporary)
        exited = await run_process(
            [str(povray.path), *unit.cmd[1:]],
            cwd=workspace.current,
            environment=environment,
            log=workspace.log,
            timeout=timeout,
            limits=limits,
            folders=written_to,
            sandbox=partial(wall.arguments, workspace, environment) if wall else None,
        )
        if not exited.problem:
            exited = replace(exited, problem=folder_problem(written_to, limits))
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
                limits=limits,
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
    limits: Limits,
    final_attempt: bool,
) -> FrameResult:
    """Check what POV-Ray left behind and store it: image and log first, the result last."""
    shorten_log(workspace.log, limits)
    storage.upload(layout.log(unit.job_id, unit.work_unit_id), workspace.log)
    log = workspace.log.read_text(errors="replace")
    image = workspace.output / unit.image_name
    try:
        raise_for_exit(exited, log, timeout, limits)
        check_image(image, unit.settings.width, unit.settings.height)
        outputs = _outputs(unit, workspace.output)
        drop_dates(image)
    except RenderError as error:
        log_tail = povray_output.tail(log)
        store_failure(
            storage,
            replace(
                result,
                state="failed" if final_attempt or not error.retryable else "retrying",
                ended=time.time(),
                error=str(error),
                log_tail=log_tail,
                out_of_memory=ran_out_of_memory(exited),
            ),
        )
        raise RenderError(
            f"frame {unit.frame}: {error}", retryable=error.retryable, log_tail=log_tail
        ) from error
    checksums = {
        name: storage.upload(f"{unit.offload_gcs_prefix}/{name}", path)
        for name, path in outputs.items()
    }
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
    return store_result(storage, rendered)


def store_result(storage: Storage, result: FrameResult) -> FrameResult:
    """Store the FrameResult of a rendered frame: its commit point.

    Where another container has rendered the same image before, its result stays. Returns the
    FrameResult that is stored now.
    """
    key = layout.result(result.job_id, result.work_unit_id)
    text = json.dumps(result.to_json()).encode()
    if not storage.create(key, text):
        stored = _rendered(storage.read(key))
        if stored is not None and stored.image_crc32c == result.image_crc32c:
            return stored
        storage.write(key, text)
    return result


def store_failure(storage: Storage, result: FrameResult) -> FrameResult:
    """Store a FrameResult that is not rendered, unless somebody else has rendered the frame.

    A task may be delivered to two containers, of which one fails; a lost container may have stored
    its last frame after all. Returns the FrameResult that is stored now.
    """
    key = layout.result(result.job_id, result.work_unit_id)
    text = json.dumps(result.to_json()).encode()
    while not storage.create(key, text):
        stored = remove_unless_rendered(storage, key)
        if stored is not None:
            return stored
    return result


def remove_unless_rendered(storage: Storage, key: str) -> FrameResult | None:
    """Delete a stored FrameResult that is not rendered; returns one that is, which stays."""
    stayed = storage.remove_unless(key, lambda data: _rendered(data) is not None)
    return None if stayed is None else _rendered(stayed)


def _rendered(data: bytes) -> FrameResult | None:
    """The FrameResult if it says rendered; what is not readable commits nothing."""
    try:
        stored = FrameResult.from_json(json.loads(data))
    except (ValueError, StorageError):
        return None
    return stored if stored.state == "rendered" else None


def _outputs(unit: WorkUnit, output: Path) -> dict[str, Path]:
    """What the frame wrote to ./output: name below it → file; RenderError for a bad name."""
    found: dict[str, Path] = {}
    for path in sorted(output.rglob("*")):
        if not path.is_file() or path.is_symlink() or path.suffix == _STATE_FILE_ENDING:
            continue
        name = path.relative_to(output).as_posix()
        try:
            check_workspace_path(name, "the frame's output")
        except InputError as error:
            raise RenderError(str(error), retryable=False) from error
        if _IMAGE_NAME.fullmatch(name) and name != unit.image_name:
            raise RenderError(
                f"the scene wrote output/{name}, which is another frame's image: rename it",
                retryable=False,
            )
        found[name] = path
    return found


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
