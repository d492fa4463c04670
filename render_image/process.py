"""Run one POV-Ray process: its whole output into a file, its resource use from the kernel.

Called by render_unit; needs no Prefect and no shell.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from povstorm_client.tools import die_with_parent
from render_image.peak_memory import PeakMemory

# One waiting thread per running process; renderers run far fewer processes than this at once.
_WAITERS = ThreadPoolExecutor(max_workers=256, thread_name_prefix="wait4")


@dataclass(frozen=True)
class ProcessExit:
    """How a process ended.

    returncode: as in subprocess (negative: killed by that signal); cpu_seconds: user and system;
    peak_memory_bytes: largest resident set; timed_out: stopped because its time was over.
    """

    returncode: int
    cpu_seconds: float
    wall_seconds: float
    peak_memory_bytes: int
    timed_out: bool


async def run_process(
    arguments: list[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    log: Path,
    timeout: float | None,
) -> ProcessExit:
    """Run a program to its end; its standard output and error go to ``log``.

    It is killed, with all that it started, when ``timeout`` seconds are over, when this coroutine
    is cancelled, and (Linux) when this process dies.
    """
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*die_with_parent(), *arguments],
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    ended = asyncio.get_running_loop().run_in_executor(_WAITERS, os.wait4, process.pid, 0)
    memory = PeakMemory(process.pid)
    sampling = asyncio.create_task(memory.sample())
    timed_out = False
    try:
        _, status, usage = await asyncio.wait_for(asyncio.shield(ended), timeout)
    except TimeoutError:
        timed_out = True
        _kill_group(process.pid)
        _, status, usage = await ended
    except asyncio.CancelledError:
        _kill_group(process.pid)
        await ended
        process.returncode = -signal.SIGKILL
        raise
    finally:
        sampling.cancel()
    # wait4 has reaped the process: tell Popen, which would otherwise look for it.
    process.returncode = os.waitstatus_to_exitcode(status)
    return ProcessExit(
        returncode=process.returncode,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        wall_seconds=time.monotonic() - started,
        peak_memory_bytes=memory.peak_bytes(usage.ru_maxrss),
        timed_out=timed_out,
    )


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        # It ended by itself in this moment, which is all that was wanted.
        return
