"""SandboxMode: whether POV-Ray runs in a sandbox on this machine, and how that choice travels.

Job and the CLI make the choice, Cluster hands it to the flow it starts, tasks/renderers read it. It
is never part of a stored job: whoever can write to the storage must not be able to take it away.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from typing import Literal, cast, get_args

from povstorm_client.errors import InputError, ToolError

# "auto": behind bubblewrap where that works, else with a warning; "required": an error instead of
# the warning; "off": never.
SandboxMode = Literal["auto", "required", "off"]

# Read by whatever renders on this machine; an operator sets it for deployed flows.
VARIABLE = "POVSTORM_SANDBOX"
_PROBE_SECONDS = 20


def check_sandbox_mode(text: str) -> SandboxMode:
    """The mode of that name; InputError if there is none."""
    if text not in get_args(SandboxMode):
        raise InputError(f"sandbox {text!r} is not known: {', '.join(get_args(SandboxMode))}")
    return cast("SandboxMode", text)


def sandbox_mode_here() -> SandboxMode:
    """The mode that this process was started with; InputError for a misspelt one."""
    return check_sandbox_mode(os.environ.get(VARIABLE, "auto"))


def announce_sandbox(mode: SandboxMode) -> None:
    """Print a one-line warning where scenes will run uncontained although nobody asked for that.

    Raises ToolError instead if the mode is "required".
    """
    problem = "" if mode == "off" else bubblewrap_problem()
    if not problem:
        return
    if mode == "required":
        raise ToolError(f"scenes cannot be contained: {problem}")
    print(
        f"povstorm: warning: scenes run uncontained and can read and write your files: {problem}; "
        '--no-sandbox (or sandbox="off") silences this',
        file=sys.stderr,
    )


@functools.cache
def bubblewrap_problem() -> str:
    """Why bubblewrap cannot be used on this machine, with the remedy; "" if it can."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return "bwrap is not on PATH (apt install bubblewrap)"
    command = [bwrap, "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "/bin/true"]
    try:
        finished = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=False,
            env={},  # as POV-Ray has it: nothing of ours
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{bwrap} cannot be run ({error})"
    if finished.returncode != 0:
        words = finished.stderr.strip().splitlines() or [f"exit code {finished.returncode}"]
        return f"bubblewrap may not make namespaces here ({words[-1].removeprefix('bwrap: ')})"
    return ""
