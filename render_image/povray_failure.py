"""What a POV-Ray that ended badly means: the error to raise.

render_unit asks for each attempt.
"""

from __future__ import annotations

import re
import signal
from pathlib import Path, PurePosixPath

from povstorm_client.errors import RenderError
from povstorm_client.storage.disk_full import temporary_words
from render_image import povray_output
from render_image.frame_limits import Limits
from render_image.process import ProcessExit
from render_image.process_watch import memory_words

# POV-Ray's exit code for what it refuses: parse errors, missing files, bad options (measured).
_REFUSED = 1
# POV-Ray's only words where an image, or the state that it keeps of it, had no room (tried).
_NO_ROOM = "Frontend halted render"
# Refusals with exit code 1 that come from the machine and can pass, by POV-Ray's words.
_PASSING = (
    "No space left",
    _NO_ROOM,
    "Out of memory",
    "out of memory",
    "Cannot allocate",
    "bad_alloc",
)
# POV-Ray's words where memory was refused. Of a large allocation while it parses, such as an image
# map, it says only the last of these (tried).
_NO_MEMORY = re.compile(
    r"[Oo]ut of memory|Cannot allocate|bad_alloc|Fatal error in parser: Cannot parse input"
)
_OUTSIDE = re.compile(r"[\"'\s]/|\.\./")
_CANNOT_OPEN = re.compile(r"[Cc]annot open (.*)")
# POV-Ray's words for a file of #fopen; names that do not fit into its line lose their end.
_WRITTEN_FILE = re.compile(r"Cannot open user file (.+) \((?:write|append)\)")
# Its words for a #version above its own.
_NEWER_SCENE = re.compile(r"requires POV-Ray version [\d.]+")
# Ends that a program comes to by itself: not sent by anybody, and not by the kernel for memory.
_CRASHES: dict[int, str] = {
    signal.SIGSEGV: "a segmentation fault",
    signal.SIGABRT: "it gave up by itself",
    signal.SIGBUS: "a bus error",
    signal.SIGFPE: "an arithmetic error",
    signal.SIGILL: "an illegal instruction",
    signal.SIGSYS: "a system call that is not allowed it",
    signal.SIGTRAP: "a trap",
}


def ran_out_of_memory(exited: ProcessExit) -> bool:
    """Whether the kernel has most likely killed it for the memory of the machine, or container.

    It takes the largest process, which POV-Ray is; nobody but render_image kills it otherwise.
    """
    stopped_here = exited.timed_out or exited.hung or exited.problem
    return exited.returncode == -signal.SIGKILL and not stopped_here


def raise_for_exit(
    exited: ProcessExit, log: str, timeout: float | None, limits: Limits, folder: Path
) -> None:
    """Raise RenderError unless POV-Ray ended well.

    timeout: seconds that it had; folder: its current directory.
    """
    _raise_if_stopped(exited, timeout, limits)
    if exited.returncode == 0:
        return
    line = povray_output.failure_line(log)
    hint = ""
    if _NO_MEMORY.search(line or log):
        hint = f" (most likely {memory_words(limits)})"
    elif _NO_ROOM in log:
        hint = f" (most likely {temporary_words()})"
    elif problem := _folder_problem(line, folder):
        hint = f" ({problem})"
    elif (found := _CANNOT_OPEN.search(line)) and _OUTSIDE.search(found[0]):
        hint = " (a frame sees its own files, ./shared and POV-Ray's includes only: add the file)"
    elif _NEWER_SCENE.search(line):
        hint = " (the POV-Ray that rendered is older: name a newer one with --povray PATH)"
    passing = any(words in log for words in _PASSING)
    if exited.returncode == _REFUSED:
        # Without a word of it: a disk was full, and its output went there too (tried).
        passing = passing or not line
        raise RenderError((line or "POV-Ray exited with 1") + hint, retryable=passing)
    if crash := _CRASHES.get(-exited.returncode):
        # The same input crashes it again. Only where it said that memory was refused, the machine
        # may have been short of it: what lacks memory without a word is killed by signal 9.
        raise RenderError(
            f"POV-Ray itself crashed on this scene (signal {-exited.returncode}, {crash})"
            + (f"; it said: {line}" if line else "")
            + (
                hint
                or ": look for what is nested very deeply (brackets, CSG, macros), for a broken "
                "image or font file, and render parts of the scene to find it"
            ),
            retryable=passing,
        )
    if ran_out_of_memory(exited):
        line, hint = "POV-Ray was killed by signal 9", " (most likely for lack of memory)"
    elif exited.returncode < 0:
        line = f"POV-Ray was killed by signal {-exited.returncode}"
    raise RenderError((line or f"POV-Ray exited with {exited.returncode}") + hint, retryable=True)


def _raise_if_stopped(exited: ProcessExit, timeout: float | None, limits: Limits) -> None:
    if exited.timed_out:
        raise RenderError(
            f"POV-Ray was stopped after {timeout:g} s: raise the job's frame_timeout",
            retryable=True,
        )
    if exited.hung:
        raise RenderError(
            f"POV-Ray hung: for {limits.hang_seconds:g} s its threads waited for each other alone, "
            "which POV-Ray 3.7 comes to now and then where it cannot write",
            retryable=True,
        )
    if exited.problem:
        raise RenderError(f"POV-Ray was stopped: {exited.problem}", retryable=False)


def _folder_problem(line: str, folder: Path) -> str:
    """Why POV-Ray could not open a file to write to, if that is for want of its folder."""
    found = _WRITTEN_FILE.search(line)
    if found is None:
        return ""
    parent = PurePosixPath(found[1]).parent
    if parent.is_absolute() or ".." in parent.parts or (folder / parent).is_dir():
        return ""
    return (
        f"there is no folder {parent}, and POV-Ray makes none: make it beside the scene, or write "
        "to the scene's own folder or to output/, whose files are kept with the images"
    )
