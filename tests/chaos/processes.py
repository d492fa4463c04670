"""Which processes of this machine belong to a job; the injector kills them, the audit counts."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path

import psutil

_FRAME = re.compile(r"\+SF(\d+)")


def povray_processes(scene: str) -> dict[psutil.Process, int]:
    """Those that render a frame of the scene now → the frame.

    The processes that contain them, which have their command among their words, are others.
    """
    found = {}
    for pid in psutil.pids():
        # A file a process, and no more: on a busy machine a look must be over before a rendering.
        with contextlib.suppress(OSError, psutil.Error):
            if Path(f"/proc/{pid}/comm").read_bytes() == b"povray\n":
                process = psutil.Process(pid)
                words = process.cmdline()
                frame = _FRAME.search(" ".join(words))
                if frame is not None and any(scene in word for word in words):
                    found[process] = int(frame[1])
    return found


def frames_of(processes: Iterable[psutil.Process]) -> set[int]:
    """The frames that they render, or contain and are about to."""
    frames = set()
    for process in processes:
        with contextlib.suppress(psutil.Error):
            found = _FRAME.search(" ".join(process.cmdline()))
            if found is not None:
                frames.add(int(found[1]))
    return frames


def renderings_without(scene: str, owners: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Processes about the scene, those that contain them too, that no owner has started."""
    known = set(owners)
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(scene in word for word in process.info["cmdline"] or []):
            with contextlib.suppress(psutil.Error):
                if known.isdisjoint(process.parents()):
                    found.append(process)
    return found


def processes_with(*words: str) -> list[psutil.Process]:
    """Those that have all of the words among theirs, without the processes that contain them."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if all(word in line for word in words) and "bwrap" not in line:
            found.append(process)
    return found


def servers_of(prefect_home: Path) -> list[psutil.Process]:
    """The Prefect servers with this home: those that flows of one run have started."""
    found = []
    for process in processes_with("prefect.server.api.server:create_app"):
        with contextlib.suppress(psutil.Error):
            if process.environ().get("PREFECT_HOME") == str(prefect_home):
                found.append(process)
    return found


def processes_of(job_id: str) -> list[str]:
    """Processes that have the job's id, or its name as a scene, among their words."""
    name = job_id.rsplit("-", 3)[0]
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        if process.pid == psutil.Process().pid:
            continue
        words = " ".join(process.info["cmdline"] or [])
        if job_id in words or f"{name}.pov" in words:
            found.append(f"{process.pid} {words[:200]}")
    return found
