"""Run ffmpeg or ffprobe: feed its stdin, read its stdout, and leave no process behind.

Called by render_image/video and tasks/video. One loop over both pipes, so that neither side can
block the other, an image that cannot be read is an error, and cancelling works while ffmpeg says
nothing.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Protocol

from povstorm_client.errors import ToolError, VideoError
from povstorm_client.programs.priority import lower_session, nice
from povstorm_client.programs.tools import die_with_parent

_STDERR_LINES = 8
_CHUNK_BYTES = 1 << 16
_CALLED_OFF = "encoding the video was cancelled"
# How long cancelling can go unnoticed.
_POLL_SECONDS = 0.1
# A fourth of what a process that computes gets beside it.
_NICENESS = 6


class Cancellation(Protocol):
    """Whether what runs is to end; a threading.Event is one."""

    def is_set(self) -> bool:
        """Whether it is."""


def run(
    command: list[str],
    *,
    contents: Iterable[bytes] | None = None,
    on_line: Callable[[str], None] = lambda line: None,
    on_data: Callable[[bytes], None] | None = None,
    cancelled: Cancellation,
    low_priority: bool = False,
    folder: Path | None = None,
) -> None:
    """Run a command to its end; its stdin gets ``contents`` one after another, or nothing.

    on_line is told each line of stdout, or on_data all of it as it comes. Whatever they, or reading
    ``contents``, raise ends the process and goes on to the caller. low_priority: leave the cores to
    POV-Ray, which has the usual one. folder: what is current to the process.

    Raises ToolError for a program that cannot be started, and VideoError if ``cancelled`` is set
    before the end or, with the last lines of stderr, if the exit status is not 0.
    """
    with tempfile.TemporaryFile() as stderr:
        try:
            process = subprocess.Popen(
                [*die_with_parent(), *(nice(_NICENESS) if low_priority else []), *command],
                stdin=subprocess.DEVNULL if contents is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=low_priority,
                cwd=folder,
            )
        except OSError as error:
            raise ToolError(f"{command[0]} cannot be run ({error}): reinstall ffmpeg") from error
        if low_priority:
            lower_session(_NICENESS, process.pid)
        try:
            take = _Lines(on_line).take if on_data is None else on_data
            _exchange(process, iter(contents or ()), take, cancelled)
            process.wait()
        finally:
            process.kill()  # does nothing to a process that has ended
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        if process.returncode == -signal.SIGKILL:
            # By nobody here: what is called off has raised its error before.
            raise VideoError(
                f"{Path(command[0]).name} was killed by signal 9 (most likely for lack of memory)",
                out_of_memory=True,
            )
        if process.returncode != 0:
            stderr.seek(0)
            words = stderr.read().decode(errors="replace").splitlines()[-_STDERR_LINES:]
            raise VideoError(
                f"{Path(command[0]).name} failed with exit status {process.returncode}:\n"
                + ("\n".join(words) or "(it said nothing)")
            )


def _exchange(
    process: subprocess.Popen[bytes],
    contents: Iterator[bytes],
    take: Callable[[bytes], None],
    cancelled: Cancellation,
) -> None:
    """Write all contents and take all that comes, until stdout ends."""
    unwritten = memoryview(b"")
    with selectors.DefaultSelector() as selector:
        for pipe, event in (
            (process.stdin, selectors.EVENT_WRITE),
            (process.stdout, selectors.EVENT_READ),
        ):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, event)
        while True:
            if cancelled.is_set():
                raise VideoError(_CALLED_OFF)
            for key, _ in selector.select(_POLL_SECONDS):
                if key.fileobj is process.stdin:
                    unwritten = unwritten or memoryview(next(contents, b""))
                    if unwritten:
                        written = _write(key.fd, unwritten)
                        unwritten = unwritten[written:]
                        if written:
                            continue
                    # All is written, or ffmpeg closed its end: its exit status will say why.
                    selector.unregister(key.fileobj)
                    _close(process.stdin)
                else:
                    chunk = os.read(key.fd, _CHUNK_BYTES)
                    if not chunk:
                        return
                    take(chunk)


class _Lines:
    """Tells the lines of what comes in pieces."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._unread = b""

    def take(self, piece: bytes) -> None:
        *lines, self._unread = (self._unread + piece).split(b"\n")
        for line in lines:
            self._on_line(line.decode(errors="replace"))


def _write(pipe: int, data: memoryview) -> int:
    """The number of bytes that the pipe took; 0 if its reader is gone."""
    try:
        return os.write(pipe, data[:_CHUNK_BYTES])
    except BrokenPipeError:
        return 0


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        pipe.close()
