"""End what a killed process has left behind, known by the temporary folder that it worked in.

FlowProcess calls it after a flow was killed.
"""

from __future__ import annotations

import contextlib


def kill_all_about(folder: str) -> None:
    """Kill the processes that have the folder among their arguments.

    bubblewrap that is killed while it starts leaves a child behind, which waits for it for ever.
    """
    import psutil

    for process in psutil.process_iter(["cmdline"]):
        if any(folder in word for word in process.info["cmdline"] or ()):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
