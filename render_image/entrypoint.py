"""The render container's entrypoint: do this array task's share of a wave, and help others.

Cloud Run starts it as ``python3 -m render_image.entrypoint WAVE_URI``, with the task's index in
the environment. A share has frames to render, or segments of their video to encode, which it may be
given while it runs. A failed frame is a result like any other; the exit status is that of the
container: 0 when all of the share was tried, 1 when the container could not do its work, 77 when
the storage does not let it, 137 when ffmpeg had too little memory, 143 when it was told to stop.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable

from povstorm_client.cloud_run.api import NOT_LET_IN, OUT_OF_MEMORY
from povstorm_client.cloud_run.frame_memory import frames_with_room
from povstorm_client.cloud_run.wave_share import (
    SegmentWork,
    WaveFrame,
    WaveShare,
    open_wave,
    read_share,
)
from povstorm_client.errors import AccessError, PovstormError, RenderError, VideoError
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.programs.cores import whole_cores
from povstorm_client.programs.memory import total_memory
from povstorm_client.programs.tools import PovRay, require_povray
from povstorm_client.quantities import duration
from povstorm_client.run_until import listen_to_sigterm, run_until
from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage
from povstorm_client.version import povstorm_version
from render_image.cloud_log import CloudLog
from render_image.frame_limits import Limits
from render_image.frame_queue import FrameQueue
from render_image.process_gate import ProcessGate
from render_image.render_unit import render_unit
from render_image.unexpected import traceback_text

_BROKEN = 1
_STOPPED = 128 + signal.SIGTERM
# For storing the frames that are finished; Cloud Run gives ten.
_STOP_SECONDS = 8.0


def main(arguments: list[str]) -> int:
    """Render a share, or tell the versions (``--version``); returns the exit status."""
    if arguments == ["--version"]:
        print(f"povstorm {povstorm_version()} povray {require_povray().version}")
        return 0
    task_index = int(os.environ.get("CLOUD_RUN_TASK_INDEX", "0"))
    log = CloudLog(
        execution=os.environ.get("CLOUD_RUN_EXECUTION", ""),
        task=str(task_index),
        job=arguments[0].rpartition("/waves/")[0].rpartition("/")[2] if arguments else "",
    )
    log.take_warnings()
    if len(arguments) != 1:
        log.write("CRITICAL", "usage: python3 -m render_image.entrypoint WAVE_URI")
        return _BROKEN
    try:
        return asyncio.run(_render_until_told_to_stop(arguments[0], task_index, log))
    except PovstormError as error:
        log.write("CRITICAL", str(error))
        return NOT_LET_IN if isinstance(error, AccessError) else _BROKEN


async def _render_until_told_to_stop(wave_uri: str, task_index: int, log: CloudLog) -> int:
    """Cloud Run sends SIGTERM ten seconds before it kills (container contract, "Shutdown")."""
    stop = asyncio.Event()
    listen_to_sigterm(stop)
    status = await run_until(stop, _render_share(wave_uri, task_index, log), grace=_STOP_SECONDS)
    if status is not None:
        return status
    log.write("WARNING", "told to stop: finished frames are stored, the others were given up")
    # A storage that does not answer is asked again for minutes, by threads that cannot be stopped
    # and that an ordinary exit would wait for.
    os._exit(_STOPPED)


async def _render_share(wave_uri: str, task_index: int, log: CloudLog) -> int:
    # The version takes POV-Ray half a second of sleep: meanwhile the share is read.
    asking = asyncio.create_task(asyncio.to_thread(require_povray))
    storage, wave = open_wave(wave_uri)
    share = await asyncio.to_thread(read_share, storage, wave, task_index)
    if share.segments or share.patience is not None:
        await asking
        return await _encode_segments(share, storage, wave, task_index, log)
    frames = FrameQueue(storage, wave, task_index, share, again=_is_another_attempt())
    povray = await asking
    unbroken = True
    # Of frames that begin together none is known to have room until the others have all of theirs.
    at_most = frames_with_room(total_memory(), share.frame_bytes) if share.frame_bytes else None
    async with ProcessGate(at_most=at_most) as gate, asyncio.TaskGroup() as group:

        async def render(next_frame: Callable[[], Awaitable[WaveFrame | None]]) -> None:
            nonlocal unbroken
            while True:
                async with gate.admission() as povray_has_ended:
                    frame = await next_frame()
                    if frame is None:
                        return
                    unbroken &= await _render_frame(
                        frame, share, storage, povray, gate, log, povray_has_ended
                    )

        async def work(*, helps: bool) -> None:
            nonlocal unbroken
            for _ in share.frames:
                try:
                    await render(frames.next_own)
                    break
                except Exception as error:
                    # A frame of its own that could not be claimed: the dispatcher finds it lost.
                    unbroken = False
                    log.write("CRITICAL", _in_full(error))
            try:
                if helps:
                    await render(frames.next_of_others)
            except Exception as error:
                # What others have left is theirs, or the dispatcher's.
                log.write("WARNING", f"no help for other tasks: {_in_full(error)}")

        # Of others' frames only so many as there are cores: they are shared with others who help.
        helpers = whole_cores()
        for number in range(min(gate.most, len(share.frames))):
            group.create_task(work(helps=number < helpers))
    return 0 if unbroken else _BROKEN


async def _encode_segments(
    share: WaveShare, storage: Storage, wave: str, task_index: int, log: CloudLog
) -> int:
    # Here: no container that renders pays for the import.
    from render_image.video.encode_share import encode_share, given_segments

    stopped = threading.Event()
    segments: Iterable[SegmentWork] = share.segments
    if share.patience is not None:
        segments = given_segments(storage, wave, task_index, share.patience, stopped)

    def encode() -> int:
        status = 0
        for outcome in encode_share(segments, storage, layout.job_of_wave(wave), stopped):
            if isinstance(outcome, Exception):
                killed = isinstance(outcome, VideoError) and outcome.out_of_memory
                status = OUT_OF_MEMORY if killed else status or _BROKEN
                log.write("CRITICAL", f"a segment was not encoded: {_in_full(outcome)}")
            else:
                first, last = outcome.images[0].frame, outcome.images[-1].frame
                log.write("INFO", f"frames {first} to {last} of the video encoded")
        return status

    try:
        return await asyncio.to_thread(encode)
    finally:
        stopped.set()


async def _render_frame(
    frame: WaveFrame,
    share: WaveShare,
    storage: Storage,
    povray: PovRay,
    gate: ProcessGate,
    log: CloudLog,
    povray_has_ended: Callable[[], None],
) -> bool:
    """Render one frame, unless that is done already; False if its outcome could not be stored."""
    unit = frame.unit
    try:
        if await asyncio.to_thread(_is_rendered, storage, frame):
            log.write("INFO", f"{unit.name} was rendered before", frame=unit.frame)
            return True
        result = await render_unit(
            unit,
            storage,
            povray,
            attempt=frame.attempt,
            final_attempt=frame.final_attempt,
            queued_since=frame.queued_since,
            timeout=share.frame_timeout,
            limits=Limits.in_container(share.stall_timeout),
            on_ended=povray_has_ended,
            container_image=share.container_image,
        )
    except RenderError as error:
        log.write("ERROR", str(error), frame=unit.frame)
    except Exception as error:
        # Nobody else's frame fails with it; the exit status tells that this one has no result.
        log.write("CRITICAL", f"{unit.name}: {_in_full(error)}", frame=unit.frame)
        return False
    else:
        gate.saw(result)
        seconds = result.ended - result.started
        log.write("INFO", f"{unit.name} rendered in {duration(seconds)}", frame=unit.frame)
    return True


def _is_another_attempt() -> bool:
    """Whether an earlier container of this task was lost."""
    return os.environ.get("CLOUD_RUN_TASK_ATTEMPT", "0") != "0"


def _is_rendered(storage: Storage, frame: WaveFrame) -> bool:
    """Whether a container that was here before, and lost, has left this frame's result."""
    if not _is_another_attempt():
        return False
    return FrameResults(storage, frame.unit.job_id).rendered(frame.unit)


def _in_full(error: Exception) -> str:
    """An error of ours in a line, any other with its traceback, which is what mends it."""
    return str(error) if isinstance(error, PovstormError) else traceback_text(error)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
