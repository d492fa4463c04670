"""Lower priorities, which leave the cores to POV-Ray; for what goes on beside it.

The encoder of a video, what makes pictures for the report and the live page, and the process that
tells Prefect of a run here call it.
"""

from __future__ import annotations

import functools
import os
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path

# A kernel may refuse a session's new priority for a tenth of a second after another one's
# (kernel/sched/autogroup.c).
_TRIES = 5
_TRY_AGAIN_SECONDS = 0.15


@functools.cache
def nice(niceness: int) -> list[str]:
    """Words before a command that lower its priority; none where coreutils has no such program."""
    found = shutil.which("nice")
    return [found, "-n", str(niceness)] if found else []


def lower_session(niceness: int, leader: int) -> None:
    """Lower the priority of a session; leader: the process that it began with.

    Where the kernel shares the cores among sessions a process's own priority counts within its
    session alone (sched(7), "The autogroup feature"). Nothing is done elsewhere, where the kernel
    refuses it, and for a process that leads no session: others would be lowered too.
    """
    try:
        if os.getsid(leader) != leader:
            return
    except ProcessLookupError:
        return
    for attempt in range(_TRIES):
        try:
            Path(f"/proc/{leader}/autogroup").write_text(str(niceness), "ascii")
        except BlockingIOError:
            if attempt < _TRIES - 1:
                time.sleep(_TRY_AGAIN_SECONDS)
        except OSError:
            return
        else:
            return


def lower_thread(niceness: int) -> None:
    """Lower the priority of this thread, where threads have one of their own, as on Linux."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
