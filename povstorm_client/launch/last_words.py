"""What a process said last, from its output: the reason of its death in a line.

FlowProcess asks of a flow, DraftProcess of what renders drafts, kept_server of a Prefect server.
"""

from __future__ import annotations

import re
from pathlib import Path

from povstorm_client.terminal import one_line

# Of an output that may be long, its end.
_TAIL_BYTES = 64 * 1024
_MOST_CHARACTERS = 300
# Colours and the like (ECMA-48, section 5.4): gone rather than shown.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
# A traceback's last line, e.g. "prefect.exceptions.MissingResult: no result"; groups indent it.
_EXCEPTION = re.compile(
    r"[ |+-]*(?:(?:[a-z_]\w*\.)+[A-Z]\w*|[A-Z]\w*(?:Error|Exception|Interrupt|Exit))(?:: .|$)"
)
# Frames of a traceback, its carets, and the frames that rich and exception groups draw.
_NOISE = re.compile(r"\s|Traceback |During handling|The above exception|[│╭╰|+^~-]")


def last_words(log: Path, since: int = 0) -> str:
    """The last exception in a flow's output, or else its last line; "" if it said nothing.

    since: how long the file was before the flow began, in bytes. Raises OSError if it can't be
    read.
    """
    with log.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(since, size - _TAIL_BYTES))
        text = _ESCAPES.sub("", file.read().decode(errors="replace"))
    lines = [line for line in text.splitlines() if line.strip()]
    exceptions = [line for line in lines if _EXCEPTION.match(line)]
    said = [line for line in lines if not _NOISE.match(line)]
    chosen = (exceptions or said or lines or [""])[-1]
    words = one_line(chosen.lstrip(" |+-"))
    return words if len(words) <= _MOST_CHARACTERS else f"{words[:_MOST_CHARACTERS]}…"
