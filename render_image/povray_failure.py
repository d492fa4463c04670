"""What a POV-Ray that ended badly means: the error to raise.

render_unit asks for each attempt.
"""

from __future__ import annotations

import re
import signal

from povstorm_client.disk_full import temporary_words
from povstorm_client.errors import RenderError
from render_image import povray_output
from render_image.limits import Limits
from render_image.process import ProcessExit
from render_image.watch import memory_words

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
_OUTSIDE = re.compile(r"[Cc]annot open .*?([\"'\s]/|\.\./)")


def ran_out_of_memory(exited: ProcessExit) -> bool:
    """Whether the kernel has most likely killed it for the memory of the machine, or container.

    It takes the largest process, which POV-Ray is; nobody but render_image kills it otherwise.
    """
    stopped_here = exited.timed_out or exited.problem
    return exited.returncode == -signal.SIGKILL and not stopped_here


def raise_for_exit(exited: ProcessExit, log: str, timeout: float | None, limits: Limits) -> None:
    """Raise RenderError unless POV-Ray ended well; timeout: seconds that it had."""
    if exited.timed_out:
        raise RenderError(
            f"POV-Ray was stopped after {timeout:g} s: raise the job's frame_timeout",
            retryable=True,
        )
    if exited.problem:
        raise RenderError(f"POV-Ray was stopped: {exited.problem}", retryable=False)
    if exited.returncode == 0:
        return
    line = povray_output.failure_line(log)
    hint = ""
    if _NO_MEMORY.search(line or log):
        hint = f" (most likely {memory_words(limits)})"
    elif _NO_ROOM in log:
        hint = f" (most likely {temporary_words()})"
    elif _OUTSIDE.search(line):
        hint = " (a frame sees its own files, ./shared and POV-Ray's includes only: add the file)"
    if exited.returncode == _REFUSED:
        # Without a word of it: a disk was full, and its output went there too (tried).
        passing = not line or any(words in log for words in _PASSING)
        raise RenderError((line or "POV-Ray exited with 1") + hint, retryable=passing)
    if ran_out_of_memory(exited):
        line, hint = "POV-Ray was killed by signal 9", " (most likely for lack of memory)"
    elif exited.returncode < 0:
        line = f"POV-Ray was killed by signal {-exited.returncode}"
    raise RenderError((line or f"POV-Ray exited with {exited.returncode}") + hint, retryable=True)
