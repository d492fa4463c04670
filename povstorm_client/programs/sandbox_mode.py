"""SandboxMode: whether POV-Ray runs in a sandbox on this machine, and how that choice travels.

Job and the CLI make the choice; launch/ hands it to the processes it starts; there tasks/renderers
read it, and render_image (open_frame.py, trace_scene.py, draft_frames.py). It is never part of a
stored job: whoever can write to the storage must not be able to take it away.
"""

from __future__ import annotations

import os
import sys
from typing import Literal, cast, get_args

from povstorm_client.errors import InputError, ToolError
from povstorm_client.programs.bubblewrap import bubblewrap_problem

# "auto": behind bubblewrap where that works, else with a warning (it is an error where bubblewrap
# works and the POV-Ray does not run in it); "required": an error instead of
# the warning; "off": never.
SandboxMode = Literal["auto", "required", "off"]

# Read by whatever renders on this machine; an operator sets it for deployed flows.
VARIABLE = "POVSTORM_SANDBOX"


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
