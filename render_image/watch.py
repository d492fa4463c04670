"""Watch a running POV-Ray: its peak memory, and whether it goes beyond its limits.

process.run_process starts one beside each process.

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
from pathlib import Path

from render_image.limits import Limits, in_words

# A high-water mark never falls, so only a peak within the last interval can be missed; POV-Ray
# sleeps longer than that before it exits.
_SAMPLE_SECONDS = 0.2
# Folders are looked through this many samples apart.
_FOLDER_SAMPLES = 5
_TAIL_BYTES = 4096
_VM_HWM = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)
_PROGRESS = re.compile(rb"Rendered \d+ of \d+ pixels|==== \[\w+")


class Watch:
    """Watches one process; run() ends with the reason to stop it, or with the process.

    process: tells the process's id once it is known. log: where its output goes; folders: those
    that it may write to.
    """

    def __init__(
        self,
        process: Callable[[], int | None],
        *,
        limits: Limits | None,
        log: Path,
        folders: Iterable[Path],
    ) -> None:
        self._process = process
        self._limits = limits
        self._log = log
        self._folders = tuple(folders)
        self._sampled_kib = 0
        self._progress = b""
        self._progress_time = time.monotonic()

    async def run(self) -> str:
        """Look again and again; returns why the process has to be stopped."""
        samples = 0
        while True:
            await asyncio.sleep(_SAMPLE_SECONDS)
            samples += 1
            self._sample_memory()
            if self._limits is None:
                continue
            problem = (
                self._memory_problem(self._limits)
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

    def _sample_memory(self) -> None:
        try:
            match = _VM_HWM.search(Path(f"/proc/{self._process()}/status").read_text())
        except OSError:
            return  # it has ended, has not begun, or this system has no /proc
        if match:
            self._sampled_kib = max(self._sampled_kib, int(match[1]))

    def _memory_problem(self, limits: Limits) -> str:
        # For kernels that do not enforce RLIMIT_DATA, as gVisor's.
        if limits.memory_bytes is None or self._sampled_kib * 1024 <= limits.memory_bytes:
            return ""
        return memory_words(limits)

    def _log_problem(self, limits: Limits) -> str:
        if self._log.stat().st_size <= limits.log_bytes:
            return ""
        return f"it printed more than {in_words(limits.log_bytes)}: print less in the scene"

    def _stall_problem(self, limits: Limits) -> str:
        if limits.stall_seconds is None:
            return ""
        now = time.monotonic()
        found = _PROGRESS.findall(_tail(self._log))
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
        f"it needs more than the {in_words(limits.memory_bytes or 0)} of memory that a frame may "
        "have: make the scene or its image maps smaller, or raise the job's frame_memory"
    )


def folder_problem(folders: Iterable[Path], limits: Limits) -> str:
    """What is wrong with what a process has written to folders; "" if nothing is."""
    files = size = 0
    waiting = [os.fspath(folder) for folder in folders]
    while waiting:
        try:
            entries = os.scandir(waiting.pop())
        except FileNotFoundError:
            continue
        with entries:
            for entry in entries:
                try:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                        continue
                    length = entry.stat(follow_symlinks=False).st_size
                except FileNotFoundError:  # deleted since it was listed
                    continue
                files, size = files + 1, size + length
                if length >= limits.file_bytes:
                    return f"it wrote a file of {in_words(limits.file_bytes)}: write less to it"
                if size > limits.output_bytes:
                    return f"it wrote more than {in_words(limits.output_bytes)}: write less"
                if files > limits.files:
                    return f"it wrote more than {limits.files} files: write fewer"
    return ""


def shorten_log(log: Path, limits: Limits) -> None:
    """Cut the middle out of a log that went beyond its limit before the process was stopped."""
    size = log.stat().st_size
    if size <= limits.log_bytes:
        return
    kept = limits.log_bytes // 2
    with log.open("rb+") as file:
        file.seek(size - kept)
        end = file.read()
        file.truncate(kept)
        file.seek(kept)
        file.write(f"\n[{size - 2 * kept} bytes left out]\n".encode() + end)


def _tail(log: Path) -> bytes:
    with log.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
        return file.read()
