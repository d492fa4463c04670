"""Run one POV-Ray process: its whole output into a file, its resource use from the kernel.

Called by render_unit; needs no Prefect and no shell.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from povstorm_client.programs.tools import die_with_parent
from render_image.frame_limits import Limits
from render_image.process_watch import Watch

# One waiting thread per running process; renderers run far fewer processes than this at once.
_WAITERS = ThreadPoolExecutor(max_workers=256, thread_name_prefix="wait4")
# How long a sandbox may take to follow the process in it that was killed; it takes milliseconds.
_FOLLOW_SECONDS = 5.0
# What shells and bubblewrap add to the number of the signal that ended a process.
_SIGNALLED = 128


@dataclass(frozen=True)
class ProcessExit:
    """How a process ended.

    returncode: as in subprocess (negative: killed by that signal); cpu_seconds: user and system;
    peak_memory_bytes: largest resident set; timed_out: stopped because its time was over; hung:
    stopped because all of its threads waited for each other; problem: why it was stopped for going
    beyond its limits, "" if it was not.
    """

    returncode: int
    cpu_seconds: float
    wall_seconds: float
    peak_memory_bytes: int
    timed_out: bool
    problem: str = ""
    hung: bool = False


async def run_process(
    arguments: list[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    log: Path,
    timeout: float | None,
    limits: Limits | None = None,
    folders: Iterable[Path] = (),
    sandbox: Callable[[int, int | None], list[str]] | None = None,
    system_calls: bytes = b"",
    on_parsed: Callable[[], None] | None = None,
) -> ProcessExit:
    """Run a program to its end; its standard output and error go to ``log``.

    It is killed, with all that it started, when ``timeout`` seconds are over (those not counted in
    which this process stood still too), when it goes beyond
    its limits (folders: those it writes to), when this coroutine is cancelled, and (Linux) when
    this process dies. sandbox: what to put before the arguments, a program that runs them as the
    only process in a namespace, given the descriptor that it reports its pid to, and one with the
    filter for system calls in it, ``system_calls``, if there is one. on_parsed: called once
    POV-Ray says that it renders.
    """
    with log.open("w+b") as output:
        return await _run(
            arguments,
            cwd=cwd,
            environment=environment,
            output=output,
            timeout=timeout,
            limits=limits,
            folders=folders,
            sandbox=sandbox,
            system_calls=system_calls,
            on_parsed=on_parsed,
        )


async def _run(
    arguments: list[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    output: BinaryIO,
    timeout: float | None,
    limits: Limits | None,
    folders: Iterable[Path],
    sandbox: Callable[[int, int | None], list[str]] | None,
    system_calls: bytes,
    on_parsed: Callable[[], None] | None,
) -> ProcessExit:
    started = time.monotonic()
    report, reported_to = _PidReport.open() if sandbox else (None, -1)
    before = [*die_with_parent(), *(limits.arguments() if limits else ())]
    try:
        with open_text(system_calls) as program:
            process = subprocess.Popen(
                [*before, *(sandbox(reported_to, program) if sandbox else ()), *arguments],
                cwd=cwd,
                # bubblewrap gives POV-Ray its own; what is meant for there may not exist here.
                env={} if sandbox else dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[
                    *([reported_to] if sandbox else []),
                    *([] if program is None else [program]),
                ],
            )
    finally:
        if sandbox:
            os.close(reported_to)
    ended = asyncio.get_running_loop().run_in_executor(_WAITERS, _wait, process.pid)
    inner = report.pid if report else lambda: process.pid
    watch = Watch(
        inner, timeout=timeout, limits=limits, log=output, folders=folders, on_parsed=on_parsed
    )
    watching = asyncio.create_task(watch.run())
    problem = ""
    try:
        either: set[asyncio.Future[Any]] = {ended, watching}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            await _kill(process.pid, report, ended)
            problem = watching.result()
        _, status, usage = await ended
    except BaseException:
        if not ended.done():
            await _kill(process.pid, report, ended)
        process.returncode = -signal.SIGKILL
        raise
    finally:
        watching.cancel()
        if report:
            report.close()
    # wait4 has reaped the process: tell Popen, which would otherwise look for it.
    process.returncode = os.waitstatus_to_exitcode(status)
    returncode = process.returncode
    if sandbox and returncode > _SIGNALLED:
        returncode = _SIGNALLED - returncode
    return ProcessExit(
        returncode=returncode,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        wall_seconds=time.monotonic() - started,
        peak_memory_bytes=watch.peak_bytes(usage.ru_maxrss),
        timed_out=watch.timed_out,
        problem=problem,
        hung=watch.hung,
    )


@contextmanager
def open_text(text: bytes) -> Iterator[int | None]:
    """A descriptor to read a short text from, once, for a process to inherit; None for no text."""
    if not text:
        yield None
        return
    reading, writing = os.pipe()
    try:
        with open(writing, "wb") as pipe:  # noqa: PTH123 - a descriptor
            pipe.write(text)  # a pipe holds 4 KiB at the least, so nobody has to read yet
        yield reading
    finally:
        os.close(reading)


def _wait(pid: int) -> tuple[int, int, Any]:
    """wait4(2), after all that the process has left behind in its group was killed.

    While it is not reaped, its number belongs to nobody else. In a sandbox nothing is left: when
    the first process of a namespace ends, the kernel ends all others before it tells.
    """
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    return os.wait4(pid, 0)


class _PidReport:
    """The reading end of the pipe in which a sandbox tells the pid of the process in it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._text = b""
        self._pid: int | None = None

    @classmethod
    def open(cls) -> tuple[_PidReport, int]:
        """A report, and the descriptor that it is to be written to."""
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        return cls(reading), writing

    def pid(self) -> int | None:
        """The pid, None until it is reported."""
        if self._pid is None:
            with suppress(BlockingIOError):  # nothing new yet
                self._text += os.read(self._descriptor, 4096)
            with suppress(ValueError):  # not all of it yet
                self._pid = int(json.loads(self._text)["child-pid"])
        return self._pid

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)


async def _kill(pid: int, report: _PidReport | None, ended: asyncio.Future[Any]) -> None:
    """Kill a process with all that it started, and wait until it has ended.

    The process in a sandbox goes first: its namespace goes with it, and the sandbox ends after
    that. The other way round something could still be writing when all seems to have ended.
    """
    inner = report.pid() if report else None
    if inner is not None:
        with suppress(ProcessLookupError):  # it ended by itself in this moment
            os.kill(inner, signal.SIGKILL)
        await asyncio.wait({ended}, timeout=_FOLLOW_SECONDS)
    if not ended.done():
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        await asyncio.wait({ended})
