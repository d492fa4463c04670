"""Run a command and measure it from outside: wall and CPU seconds of all its processes, memory.

Used by the benchmarks, which print ratios of what was measured in one run.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Measurement:
    """wall and cpu in seconds (cpu: user and system, with all waited-for children)."""

    wall: float
    cpu: float
    output: str


def measure(
    command: Sequence[str], *, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> Measurement:
    """Run a command to its end; raises CalledProcessError, with its output, if it fails."""
    with tempfile.TemporaryFile() as output:
        before = time.monotonic()
        process = subprocess.Popen(
            list(command),
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - before
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode(errors="replace")
    if process.returncode != 0:
        failed = subprocess.CalledProcessError(process.returncode, list(command), text)
        failed.add_note(text[-4000:])
        raise failed
    return Measurement(wall, usage.ru_utime + usage.ru_stime, text)
