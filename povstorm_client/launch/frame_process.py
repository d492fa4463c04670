"""Run render_image.open_frame as a child process: one frame of a stored job, rendered here.

``povstorm frame`` calls it. Like the flow, what renders stays out of the user's process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from povstorm_client.launch.orphans import family_of, kill
from povstorm_client.programs import sandbox_mode
from povstorm_client.programs.sandbox_mode import SandboxMode, sandbox_mode_here
from povstorm_client.programs.tools import die_with_parent
from povstorm_client.storage import layout
from povstorm_client.storage.job_address import check_job_id
from povstorm_client.termination import Terminated

# What POV-Ray needs to be stopped after Ctrl-C, which the child gets too.
_STOP_SECONDS = 30


def render_frame_here(
    storage_uri: str,
    job_id: str,
    frame: int,
    folder: Path,
    *,
    gcp_credentials: str = "",
    sandbox: SandboxMode | None = None,
    threads: int | None = None,
    switches: list[str] | None = None,
    verbose: bool = True,
) -> int:
    """Render a frame into a folder that stays; returns 0, or 1 after the reason was printed.

    POV-Ray's output goes to this process's standard error, unless it is not verbose: then it is
    in the folder's povray.txt only. Raises InputError for what is no job id.
    """
    check_job_id(job_id)
    mode = sandbox_mode_here() if sandbox is None else sandbox
    child = subprocess.Popen(
        [
            *die_with_parent(),
            *(sys.executable, "-P", "-m", "render_image.open_frame"),
            *("--gcp-credentials", gcp_credentials),
            *(("--threads", str(threads)) if threads is not None else ()),
            *(() if verbose else ("--quiet",)),
            *("--", f"{storage_uri}/{layout.job(job_id)}", str(frame), str(folder)),
            *(switches or ()),
        ],
        stdin=subprocess.DEVNULL,
        env={**os.environ, sandbox_mode.VARIABLE: mode},
    )
    try:
        return child.wait()
    except KeyboardInterrupt as stop:
        if isinstance(stop, Terminated):
            # Ctrl-C reaches it from the terminal.
            child.send_signal(signal.SIGINT)
        # One that SIGSTOP stopped heard nothing.
        child.send_signal(signal.SIGCONT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_STOP_SECONDS)
        raise
    finally:
        # After half a minute, or at once on another Ctrl-C.
        if child.poll() is None:
            kill(family_of(child.pid))
            child.wait()
