"""Watch a running POV-Ray: its peak memory, and whether it goes beyond its time and its limits.

process.run_process starts one beside each process. The log is read by the descriptor that it is
written by: its name could lead anywhere by then.

Peak memory has to be looked at while it runs: the kernel's ru_maxrss of a child starts at the
memory of the process that started it (it takes over the high-water mark at exec), and the flow is
larger than most POV-Ray processes.
"""

from __future__ import annotations

import asyncio
import os
import re
import resource
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from povstorm_client.quantities import memory_size
from render_image.frame_limits import Limits
from render_image.standstill import Standstill
from render_image.untrusted_files import UntrustedFileError, open_folder, walk

# A high-water mark never falls, so only a peak within the last interval can be missed; POV-Ray
# sleeps longer than that before it exits.
_SAMPLE_SECONDS = 0.2
# As long as other frames wait for this one to be parsed.
_PARSED_SECONDS = 0.05
# Who sleeps so much longer than asked for stood still, and POV-Ray beside it, as when a task of
# Cloud Run is moved to another machine, which is no time of the frame's:
# https://cloud.google.com/run/docs/configuring/task-timeout, "Maintenance events".
_STOOD_STILL_SECONDS = 2.0
# Folders are looked through this many samples apart.
_FOLDER_SAMPLES = 5
_TAIL_BYTES = 4096
_THREADS = re.compile(rb"^Threads:\s+(\d+)", re.MULTILINE)
_VM_HWM = re.compile(rb"^VmHWM:\s+(\d+) kB", re.MULTILINE)
_RENDERING = re.compile(rb"^==== \[Rendering|^Rendered [0-9]+ of", re.MULTILINE)
_PROGRESS = re.compile(rb"Rendered \d+ of \d+ pixels|==== \[\w+")


class Watch:
    """Watches one process; run() ends with the reason to stop it, or with the process.

    process: tells the process's id once it is known. timeout: seconds for all of it. log: where its
    output goes; folders: those that it may write to. on_parsed: called once, when it has begun to
    render. timed_out, hung: whether it is to be stopped because its time is over, or as all of its
    threads wait for each other.
    """

    def __init__(
        self,
        process: Callable[[], int | None],
        *,
        timeout: float | None,
        limits: Limits | None,
        log: BinaryIO,
        folders: Iterable[Path],
        on_parsed: Callable[[], None] | None = None,
    ) -> None:
        self._process = process
        self._limits = limits
        self._log = log.fileno()
        self._on_parsed = on_parsed
        self._folders = tuple(folders)
        self._sampled_kib = 0
        self._threads = 0
        self._progress = b""
        self._progress_time = time.monotonic()
        self._deadline = None if timeout is None else self._progress_time + timeout
        self._standstill = None if limits is None else Standstill(limits.hang_seconds)
        self.timed_out = False
        self.hung = False

    async def run(self) -> str:
        """Look again and again; returns why it has to be stopped, "" for its time or as it hung."""
        samples = 0
        while True:
            await self._sleep(_PARSED_SECONDS if self._on_parsed else _SAMPLE_SECONDS)
            samples += 1
            self._look_for_rendering()
            self._sample()
            if self._deadline is not None and time.monotonic() > self._deadline:
                self.timed_out = True
                return ""
            if self._limits is None or self._standstill is None:
                continue
            pid = self._process()
            if pid is not None and self._standstill.look(pid):
                self.hung = True
                return ""
            problem = (
                self._memory_problem(self._limits)
                or self._thread_problem(self._limits)
                or self._log_problem(self._limits)
                or self._stall_problem(self._limits)
            )
            if not problem and samples % _FOLDER_SAMPLES == 0:
                # A hostile scene can make this slow, but not for the other frames.
                problem = await asyncio.to_thread(folder_problem, self._folders, self._limits)
            if problem:
                return problem

    def peak_bytes(self, ru_maxrss_kib: int) -> int:
        """The peak, given the kernel's ru_maxrss (KiB): exact if that is above our own."""
        own_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if ru_maxrss_kib > own_kib or not self._sampled_kib:
            return ru_maxrss_kib * 1024
        return self._sampled_kib * 1024

    async def _sleep(self, seconds: float) -> None:
        before = time.monotonic()
        await asyncio.sleep(seconds)
        stood_still = time.monotonic() - before - seconds
        if stood_still >= _STOOD_STILL_SECONDS:
            self._progress_time += stood_still
            if self._deadline is not None:
                self._deadline += stood_still

    def _tail(self) -> bytes:
        size = os.fstat(self._log).st_size
        return os.pread(self._log, _TAIL_BYTES, max(0, size - _TAIL_BYTES))

    def _look_for_rendering(self) -> None:
        if self._on_parsed is not None and _RENDERING.search(self._tail()):
            self._on_parsed()
            self._on_parsed = None

    def _sample(self) -> None:
        try:
            status = Path(f"/proc/{self._process()}/status").read_bytes()
        except OSError:
            return  # it has ended, has not begun, or this system has no /proc
        if match := _VM_HWM.search(status):
            self._sampled_kib = max(self._sampled_kib, int(match[1]))
        if match := _THREADS.search(status):
            self._threads = int(match[1])

    def _thread_problem(self, limits: Limits) -> str:
        if self._threads <= limits.threads:
            return ""
        return f"it started more than {limits.threads} threads: scenes have no need to"

    def _memory_problem(self, limits: Limits) -> str:
        # For kernels that do not enforce RLIMIT_DATA, as gVisor's.
        if limits.memory_bytes is None or self._sampled_kib * 1024 <= limits.memory_bytes:
            return ""
        return memory_words(limits)

    def _log_problem(self, limits: Limits) -> str:
        if os.fstat(self._log).st_size <= limits.log_bytes:
            return ""
        return f"it printed more than {memory_size(limits.log_bytes)}: print less in the scene"

    def _stall_problem(self, limits: Limits) -> str:
        if limits.stall_seconds is None:
            return ""
        now = time.monotonic()
        found = _PROGRESS.findall(self._tail())
        # Parsing counts tokens, but so does a loop that never ends.
        if found and found[-1] != self._progress:
            self._progress, self._progress_time = found[-1], now
        if now - self._progress_time <= limits.stall_seconds:
            return ""
        doing = "rendering" if self._progress.startswith(b"Rendered") else "parsing the scene"
        return (
            f"it made no progress for {limits.stall_seconds:g} s while {doing}: look for an "
            "endless loop in the scene, or raise the job's stall_timeout"
        )


def memory_words(limits: Limits) -> str:
    """That, and how, the memory limit can be raised."""
    return (
        f"it needs more than the {memory_size(limits.memory_bytes or 0)} of memory that a frame "
        "may have: make the scene or its image maps smaller, or raise the job's frame_memory"
    )


def folder_problem(folders: Iterable[Path], limits: Limits) -> str:
    """What is wrong with what a process has written to folders; "" if nothing is."""
    files = size = 0
    try:
        for folder in folders:
            with open_folder(folder) as opened, closing(walk(opened)) as entries:
                for entry in entries:
                    files += 1
                    if files > limits.files:
                        return f"it wrote more than {limits.files} files and folders: write fewer"
                    if entry.is_folder:
                        continue
                    length = entry.found.st_size
                    size += length
                    if length >= limits.file_bytes:
                        most = memory_size(limits.file_bytes)
                        return f"it wrote a file of {most}: write less to it"
                    if size > limits.output_bytes:
                        return f"it wrote more than {memory_size(limits.output_bytes)}: write less"
    except UntrustedFileError as error:
        return f"{error}: scenes have no need to"
    return ""


def read_log(log: BinaryIO, limits: Limits) -> bytes:
    """What was printed; of a log that is beyond its limit the beginning and the end."""
    size = os.fstat(log.fileno()).st_size
    log.seek(0)
    if size <= limits.log_bytes:
        return log.read(size)
    kept = limits.log_bytes // 2
    beginning = log.read(kept)
    log.seek(size - kept)
    return b"%b\n[%d bytes left out]\n%b" % (beginning, size - 2 * kept, log.read(kept))
