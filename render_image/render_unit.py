"""Render one WorkUnit: workspace, POV-Ray, image check, storage. The same code here and in cloud.

Called by the renderers (tasks/renderers) on this machine, by the container's entrypoint elsewhere.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from povstorm_client.errors import RecordError, RenderError, StorageError, ToolError
from povstorm_client.frames.result import FrameResult, FrameStatistics
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.programs.sandbox_mode import SandboxMode
from povstorm_client.programs.tools import PovRay
from povstorm_client.storage import records
from povstorm_client.storage.disk_full import is_full, temporary_words
from povstorm_client.storage.protocol import Storage
from render_image import povray_output
from render_image.frame_limits import Limits
from render_image.image_check import check_image, drop_dates
from render_image.left_files import left_files, without_earlier_images
from render_image.machine import host_name
from render_image.motion_blur import Exposure
from render_image.output_names import check_output_names
from render_image.povray_environment import prepare_environment
from render_image.povray_failure import raise_for_exit, ran_out_of_memory
from render_image.process import ProcessExit, run_process
from render_image.process_watch import folder_problem, read_log
from render_image.sandbox import Sandbox, open_sandbox
from render_image.unexpected import traceback_text, unexpected_failure
from render_image.untrusted_files import UntrustedFileError, open_folder, take_files
from render_image.workspace import Workspace, make_workspace

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
    sandbox: SandboxMode = "auto",
    limits: Limits | None = None,
    on_parsed: Callable[[], None] | None = None,
    on_ended: Callable[[], None] | None = None,
    container_image: str = "",
) -> FrameResult:
    """Render a frame and store its image, its log and, last, its FrameResult.

    attempt counts from 1; final_attempt: whether a failure is stored as "failed" rather than
    "retrying". queued_since: Unix seconds since when the frame has been waiting; timeout: seconds
    for POV-Ray. sandbox: whether it runs in bubblewrap; limits: what it may use (the defaults of
    Limits if None). on_parsed: called when POV-Ray has parsed the scene and begins to render;
    on_ended: when it has ended, before what came of it is stored.
    container_image: by which it is rendered, for the result.

    Raises RenderError, after storing the failed FrameResult, when POV-Ray fails, the image is
    not whole, the time is over or the frame goes beyond its limits; also for any error that nobody
    expected, with its traceback in the frame's log. Raises StorageError when the storage fails,
    ToolError when a sandbox is required and can't be had.
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
        container_image=container_image,
    )
    try:
        return await _render(
            unit,
            storage,
            povray,
            result,
            final_attempt=final_attempt,
            timeout=timeout,
            sandbox=sandbox,
            limits=(limits or Limits()).for_image(unit.settings.width, unit.settings.height),
            on_parsed=on_parsed,
            on_ended=on_ended,
        )
    except (RenderError, StorageError, ToolError):
        raise
    except Exception as error:
        # Before or after POV-Ray: of what is in between _commit tells more.
        failure = unexpected_failure(error)
        storing = asyncio.to_thread(
            _fail, unit, storage, result, failure, log=traceback_text(error), final=final_attempt
        )
        raise await storing from error


async def _render(
    unit: WorkUnit,
    storage: Storage,
    povray: PovRay,
    result: FrameResult,
    *,
    final_attempt: bool,
    timeout: float | None,
    sandbox: SandboxMode,
    limits: Limits,
    on_parsed: Callable[[], None] | None,
    on_ended: Callable[[], None] | None,
) -> FrameResult:
    bwrap = await asyncio.to_thread(open_sandbox, povray, sandbox)
    attempt = partial(
        _render_once,
        storage=storage,
        povray=povray,
        bwrap=bwrap,
        result=result,
        final_attempt=final_attempt,
        limits=limits,
        on_parsed=on_parsed,
        on_ended=on_ended,
    )
    if not unit.settings.motion_blur:
        rendered = await attempt(unit, unit.cmd, timeout=timeout)
    else:
        exposure = Exposure(unit.settings.width, unit.settings.height)
        # The frame's own clock comes last: what else its frame wrote is kept of that sub-frame.
        for sub_frame in reversed(range(unit.settings.motion_blur)):
            rendered = await attempt(
                unit,
                unit.settings.sub_frame_command(unit.frame, sub_frame),
                timeout=None if timeout is None else max(0.1, timeout - exposure.wall_seconds),
                exposure=exposure,
                sub_frame=sub_frame,
            )
    assert rendered is not None, "the last sub-frame commits"  # noqa: S101 - a mistake of ours
    return rendered


async def _render_once(
    unit: WorkUnit,
    command: list[str],
    *,
    storage: Storage,
    povray: PovRay,
    bwrap: Sandbox | None,
    result: FrameResult,
    final_attempt: bool,
    timeout: float | None,
    limits: Limits,
    on_parsed: Callable[[], None] | None,
    on_ended: Callable[[], None] | None,
    exposure: Exposure | None = None,
    sub_frame: int = 0,
) -> FrameResult | None:
    """Run POV-Ray in a workspace of its own, and commit; None for a sub-frame before the last."""
    shown = unit if exposure is None else unit.for_sub_frame(sub_frame)
    with (
        _workspace(unit, shown, storage, result, link_shared=bwrap is None) as workspace,
        # Opened before POV-Ray can put anything else in its place.
        open_folder(workspace.output) as output,
        workspace.log.open("x+b") as printed,
    ):
        limits = limits.beside(workspace.laid_out)
        environment = prepare_environment(workspace, povray, bwrap)
        written_to = (workspace.folder, workspace.temporary)
        exited = await run_process(
            [str(povray.path), *command[1:]],
            cwd=workspace.current,
            environment=environment,
            log=workspace.log,
            timeout=timeout,
            limits=limits,
            folders=written_to,
            sandbox=partial(bwrap.arguments, workspace, environment) if bwrap else None,
            system_calls=bwrap.system_calls if bwrap else b"",
            on_parsed=on_parsed,
        )
        if on_ended is not None and sub_frame == 0:
            on_ended()
        if not exited.problem:
            exited = replace(exited, problem=folder_problem(written_to, limits))
        # Decoding and storing take long enough to hold up the other frames of this event loop.
        commit = asyncio.ensure_future(
            asyncio.to_thread(
                _commit,
                unit,
                storage,
                workspace,
                output,
                printed,
                exited,
                result=result,
                timeout=timeout,
                limits=limits,
                final_attempt=final_attempt,
                exposure=exposure,
                sub_frame=sub_frame,
            )
        )
        try:
            return await asyncio.shield(commit)
        except asyncio.CancelledError:
            # The frame is finished: keep it, and let its workspace live as long as that takes.
            await asyncio.wait({commit})
            raise


@contextmanager
def _workspace(
    unit: WorkUnit, shown: WorkUnit, storage: Storage, result: FrameResult, *, link_shared: bool
) -> Iterator[Workspace]:
    """The workspace of what is shown of a frame.

    Shared resources that are not what was submitted fail the frame for good.
    """
    with ExitStack() as stack:
        try:
            made = stack.enter_context(make_workspace(shown, storage, link_shared=link_shared))
        except RecordError as error:
            failed = replace(result, state="failed", ended=time.time(), error=str(error))
            FrameResults(storage, unit.job_id).fail(failed)
            raise RenderError(f"frame {unit.frame}: {error}", retryable=False) from error
        yield made


def _commit(
    unit: WorkUnit,
    storage: Storage,
    workspace: Workspace,
    output: int,
    printed: BinaryIO,
    exited: ProcessExit,
    *,
    result: FrameResult,
    timeout: float | None,
    limits: Limits,
    final_attempt: bool,
    exposure: Exposure | None,
    sub_frame: int,
) -> FrameResult | None:
    """Check what POV-Ray left behind and store it: log and images first, the result last.

    exposure: takes a motion-blurred frame's sub-frames, of which only the last is stored, with what
    all of them come to.
    """
    # Before anything is removed: whatever POV-Ray could not write, it may not have said so.
    no_room = is_full(workspace.folder) and not exited.problem
    log = read_log(printed, limits).decode(errors="replace")
    try:
        raise_for_exit(exited, log, timeout, limits, workspace.current)
        outputs = _take_outputs(unit, workspace, output, exposure)
        if exposure is not None:
            exposure.note(log, exited)
            if sub_frame > 0:
                return None
            log, exited = exposure.log, exposure.exited
        image = outputs.pop(unit.image_name)
        if unit.link is not None:
            left = left_files(unit, unit.link, workspace, outputs, image)
            FrameResults(storage, unit.job_id).leave(unit, left)
            outputs = without_earlier_images(unit, unit.link, outputs)
        rendered = replace(
            result,
            image=unit.image_name,
            image_bytes=image.stat().st_size,
            extra_outputs=list(outputs),
            width=unit.settings.width,
            height=unit.settings.height,
            statistics=_statistics(exited, log, unit, image.stat().st_size),
        )
    except Exception as error:
        if not isinstance(error, RenderError):
            log += f"\n{traceback_text(error)}"
        failure = error if isinstance(error, RenderError) else unexpected_failure(error)
        if exposure is not None:
            of = f"sub-frame {sub_frame} of {unit.settings.motion_blur}"
            failure = RenderError(f"{of}: {failure}", retryable=failure.retryable)
        # A mistake in the scene is the better reason; other words may be cut off, or mean this.
        if no_room and "Parse Error" not in str(failure):
            failure = RenderError(temporary_words(), retryable=True)
        raise _fail(
            unit,
            storage,
            replace(result, out_of_memory=ran_out_of_memory(exited)),
            failure,
            log=log,
            final=final_attempt,
        ) from error
    results = FrameResults(storage, unit.job_id)
    return results.commit_files(rendered, image, outputs, log=log.encode())


def _fail(
    unit: WorkUnit,
    storage: Storage,
    result: FrameResult,
    failure: RenderError,
    *,
    log: str,
    final: bool,
) -> RenderError:
    """Store a frame's log and failed FrameResult; returns the error to raise."""
    log_tail = povray_output.tail(log)
    failed = replace(
        result,
        state="failed" if final or not failure.retryable else "retrying",
        ended=time.time(),
        error=str(failure),
        log_tail=log_tail,
    )
    FrameResults(storage, unit.job_id).fail(failed, log=log.encode(errors="replace"))
    return RenderError(
        f"frame {unit.frame}: {failure}", retryable=failure.retryable, log_tail=log_tail
    )


def _take_outputs(
    unit: WorkUnit, workspace: Workspace, output: int, exposure: Exposure | None
) -> dict[str, Path]:
    """What the frame wrote to ./output, checked, and out of reach: name below it → file.

    The frame's own image is among them, whole and without dates. output: the folder, open since
    before POV-Ray ran. What is checked is what is stored: nobody else knows where it is. exposure:
    is given a sub-frame's image, and makes the frame's of what it has.
    """
    taken = Path(tempfile.mkdtemp(prefix="taken-", dir=workspace.log.parent))
    try:
        files = take_files(output, taken)
    except UntrustedFileError as error:
        raise RenderError(
            f"POV-Ray was made to do what scenes cannot: {error}", retryable=False
        ) from error
    image = taken / unit.image_name
    if exposure is not None:
        name = str(Path(unit.image_name).with_suffix(".ppm"))
        exposure.add(files.pop(name, taken / name))
        exposure.develop(image, bits=unit.settings.bits)
        files[unit.image_name] = image
    elif unit.image_name in files:
        files[unit.image_name].rename(image)
        files[unit.image_name] = image
    check_image(image, unit.settings.width, unit.settings.height)
    outputs = _outputs(unit, files)
    try:
        drop_dates(image)
    except ValueError as error:
        raise RenderError(f"{image.name} is not a whole image: {error}", retryable=True) from error
    return outputs


def _outputs(unit: WorkUnit, files: Mapping[str, Path]) -> dict[str, Path]:
    """Those of the files that are to be stored, by name; RenderError for a bad name."""
    found = {
        name: path for name, path in sorted(files.items()) if not name.endswith(_STATE_FILE_ENDING)
    }
    check_output_names(unit, found)
    return found


def _statistics(exited: ProcessExit, log: str, unit: WorkUnit, image_bytes: int) -> FrameStatistics:
    seconds = povray_output.phase_seconds(log)
    counts = povray_output.ray_counts(log)
    found = FrameStatistics(
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
    try:
        records.convert(asdict(found), FrameStatistics, "the scene's log")
    except RecordError as error:
        # Stored, it would be no result to any reader.
        raise RenderError(
            f"the scene prints what looks like POV-Ray's statistics and cannot be: {error}",
            retryable=False,
        ) from error
    return found
