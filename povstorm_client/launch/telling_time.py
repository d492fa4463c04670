"""When Prefect is told of a run on this machine: beside the rendering, once that is done, or never.

Telling takes CPU time that the frames would have. So it begins when the run has gone on for so
long that this is a small part of what it took; of a shorter run Prefect is told afterwards.
Cluster looks first whether the variable can be read; flows/recorder_process.py asks for the time.
"""

from __future__ import annotations

import math
import os

from povstorm_client.errors import InputError
from povstorm_client.launch.prefect_server import chosen_server

# Seconds from the first frame on; "0" tells Prefect meanwhile, however short the run is.
VARIABLE = "POVSTORM_TELL_PREFECT_AFTER"
NEVER = "never"
# CPU seconds of telling: Prefect's import, and what some frames take there and in the server; that
# of the server's start, if it has to come up first (docs/performance.md, "What the rest is made
# of").
_TELLING, _SERVER = 4.0, 3.0
# The part of the machine's time until then that they may be. How a job gets on is shown from its
# storage (status, the live page); who wants Prefect's pages meanwhile looks at a long run, of which
# they have all but this part.
_SHARE = 0.025


def chosen_seconds() -> float | None:
    """What the variable says, of never infinity; None if it is not set.

    InputError if it is neither that nor a number of seconds.
    """
    text = os.environ.get(VARIABLE, "")
    if not text:
        return None
    if text == NEVER:
        return math.inf
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 1e6:
        raise InputError(
            f"{VARIABLE} is {text!r}: give the seconds after which Prefect is told of a run, from "
            f"0 to 1000000, or {NEVER!r}, or unset it"
        )
    return seconds


def seconds_until_told(cores: float) -> float:
    """How long a run on so many cores goes on before Prefect is told of it; infinity for never."""
    chosen = chosen_seconds()
    if chosen is not None:
        return chosen
    takes = _TELLING + (_SERVER if chosen_server() is None else 0.0)
    return takes / (_SHARE * cores)


def is_never_told() -> bool:
    """Whether the variable says that Prefect is told of no run."""
    return chosen_seconds() == math.inf
