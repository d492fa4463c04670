"""What ``povstorm doctor`` has printed: its verdicts, by what was looked at."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE = re.compile(r"^(ok    |FAILED|\?     )  (.+?): (.*)$")


@dataclass(frozen=True)
class Verdict:
    """ok, FAILED or ?; what was found, and the remedy below it."""

    verdict: str
    finding: str
    remedy: str = ""


def verdicts(printed: str) -> list[dict[str, Verdict]]:
    """Of each run of doctor in a terminal's text, by name."""
    runs: list[dict[str, Verdict]] = []
    last = ""
    for line in printed.splitlines():
        match = _LINE.match(line)
        if match is not None:
            last = match[2]
            if not runs or last in runs[-1]:
                runs.append({})
            runs[-1][last] = Verdict(match[1].strip(), match[3])
        elif line.startswith("        ") and runs:
            told = runs[-1][last]
            runs[-1][last] = Verdict(told.verdict, told.finding, told.remedy + line.strip())
    return runs


def not_ok(run: dict[str, Verdict]) -> dict[str, str]:
    """The names of what has failed, or is not told, with their verdicts."""
    return {name: each.verdict for name, each in run.items() if each.verdict != "ok"}
