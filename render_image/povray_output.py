"""Read POV-Ray 3.7's console output: times, ray counts, and the line that says what went wrong.

render_unit calls it on the log of each attempt.
"""

from __future__ import annotations

import re

# A scene can print such a line itself, with anything in it. What is longer than POV-Ray's own
# numbers is none of them: int() refuses 4,300 digits, float() makes infinity of 400.
_SECONDS = re.compile(
    r"\s*(Parse|Bounding|Photon|Radiosity|Trace) Time:.*\(([0-9]{1,9}(?:\.[0-9]{1,9})?) seconds\)"
)
_COUNTS = re.compile(r"(Pixels|Rays):\s+([0-9]{1,18})(?![0-9])")
_SAMPLES = re.compile(r"\bSamples:\s+([0-9]{1,18})(?![0-9])")
_FAILURES = (
    re.compile(r"^(?!.*Possible Parse Error).*Parse Error:"),
    re.compile(r"Possible Parse Error:|^Problem with |cannot open|Cannot open|Failed to "),
    re.compile(r"[Ff]atal error|Render failed|[Ee]rror"),
)
# What it says of files of its own that it does without.
_CONFIGURATION = re.compile(r"^\S*povray: (?:POVINI environment: cannot open|.*configuration file)")
_PARSE_ERROR = re.compile(r"^File '.*' line \d+: (?:Possible )?Parse Error", re.MULTILINE)
_PROGRESS = re.compile(r"Rendered \d+ of \d+ pixels")
# What a message may carry: a line that POV-Ray wrote itself has a few hundred characters.
_LINE_CHARACTERS = 1_000
_TAIL_CHARACTERS = 8_000
# Text from here is stored by databases that refuse NUL, and shown by terminals that obey ESC.
_SHOWN_AS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)], "?")
for _kept in "\n\t":
    del _SHOWN_AS[ord(_kept)]


def phase_seconds(log: str) -> dict[str, float]:
    """Wall seconds of parse, bounding, photon, radiosity and trace; 0 for a phase that did not run.

    Phases that POV-Ray reports twice (photons, radiosity pretrace) are added up.
    """
    seconds = dict.fromkeys(("parse", "bounding", "photon", "radiosity", "trace"), 0.0)
    for line in log.splitlines():
        if match := _SECONDS.match(line):
            seconds[match[1].lower()] += float(match[2])
    return seconds


def ray_counts(log: str) -> dict[str, int | None]:
    """``pixels``, ``rays`` and ``samples`` as POV-Ray counted them; None for what it left out."""
    counts: dict[str, int | None] = {"pixels": None, "rays": None, "samples": None}
    for line in log.splitlines():
        if match := _COUNTS.match(line):
            counts[match[1].lower()] = int(match[2])
        if match := _SAMPLES.search(line):
            counts["samples"] = int(match[1])
    return counts


def failure_line(log: str) -> str:
    """POV-Ray's own words for what went wrong, in one line; "" if it gave none.

    POV-Ray wraps its messages; lines that go on with a message begin with a space.
    """
    lines = _joined(log)
    for pattern in _FAILURES:
        for line in lines:
            if pattern.search(line) and not _CONFIGURATION.search(line):
                return line
    return ""


def readable(log: str) -> str:
    """The output from POV-Ray's options on, without its credits and progress counters."""
    start = max(0, log.find("Parser Options"))
    lines = _as_text(log[start:]).splitlines()
    return "\n".join(line for line in lines if line.strip() and not _PROGRESS.match(line))


def tail(log: str, lines: int = 20) -> str:
    """The last lines of the output, without banner, progress counters and empty lines.

    From the last phase's heading on; a parse error's own line can come before the heading, since
    POV-Ray's threads write for themselves. Lines that are too long for a message are cut.
    """
    start = max(0, log.rfind("==== [Parsing...]"))
    if error := _PARSE_ERROR.search(log):
        start = min(start, error.start())
    last = readable(log[start:]).splitlines()[-lines:]
    return "\n".join(map(_shortened, last))[-_TAIL_CHARACTERS:]


def _joined(log: str) -> list[str]:
    """POV-Ray's messages, a line each."""
    joined: list[list[str]] = []
    for line in _as_text(log).splitlines():
        if line.startswith(" ") and joined:
            joined[-1].append(line.strip())
        else:
            joined.append([line.strip()])
    return [_shortened(" ".join(parts)) for parts in joined]


def _as_text(log: str) -> str:
    """The log with lines as they show, and no control characters."""
    return log.replace("\r", "\n").translate(_SHOWN_AS)


def _shortened(line: str) -> str:
    return line if len(line) <= _LINE_CHARACTERS else f"{line[:_LINE_CHARACTERS]} […]"
