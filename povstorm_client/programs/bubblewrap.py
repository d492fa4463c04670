"""Whether bubblewrap, which POV-Ray runs in, works here; announcements, doctor, sandbox.py ask."""

from __future__ import annotations

import functools
import shutil
import subprocess

from povstorm_client.errors import ToolError

# It takes milliseconds: who does not answer within this says nothing, whatever the machine does.
_PROBE_SECONDS = 180.0


@functools.cache
def bubblewrap_problem() -> str:
    """Why bubblewrap cannot be used on this machine, with the remedy; "" if it can.

    Raises ToolError as probe does.
    """
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return "bwrap is not on PATH (apt install bubblewrap)"
    command = [bwrap, "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "/bin/true"]
    problem = probe(command)
    return f"bubblewrap may not make namespaces here ({problem})" if problem else ""


def probe(command: list[str], system_calls: int | None = None) -> str:
    """Why a command line of bubblewrap's does not run its program to exit code 0; "" if it does.

    system_calls: the open file with the filter that the command line names, if it does. Raises
    ToolError if it does not end: that is no reason to do without what is tried.
    """
    try:
        finished = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_SECONDS,
            check=False,
            env={},  # as POV-Ray has it: nothing of ours
            pass_fds=() if system_calls is None else (system_calls,),
        )
    except subprocess.TimeoutExpired as error:
        raise ToolError(
            f"{command[0]} has not answered within {_PROBE_SECONDS:.0f} s whether it can contain "
            "POV-Ray: try again when the machine has less to do"
        ) from error
    except OSError as error:
        return f"{command[0]} cannot be run: {error}"
    if finished.returncode == 0:
        return ""
    said = (finished.stderr or finished.stdout).strip().splitlines()
    return said[-1].removeprefix("bwrap: ") if said else f"exit code {finished.returncode}"
