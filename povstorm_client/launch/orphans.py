"""Processes that a child of ours started: woken before it is to stop, ended when it was killed.

FlowProcess calls it, and what runs frames, traces and drafts (frame_process.py, trace_process.py,
draft_process.py). What is nobody's child any more is known by the flow's temporary folder.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psutil import Process


def family_of(pid: int) -> list[Process]:
    """The process and all that it started, as long as it lives; else nothing."""
    import psutil

    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def wake(processes: Iterable[Process]) -> None:
    """Have those that SIGSTOP stopped go on."""
    import psutil

    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()


def kill(processes: Iterable[Process]) -> None:
    """Kill them, but no other process that was given the number of one."""
    import psutil

    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def kill_all_about(folder: str) -> None:
    """Kill the processes that have the folder among their arguments.

    bubblewrap that is killed while it starts leaves a child behind, which waits for it for ever.
    """
    import psutil

    kill(
        process
        for process in psutil.process_iter(["cmdline"])
        if any(folder in word for word in process.info["cmdline"] or ())
    )
