"""Run the render container's entrypoint for a task, and print what all of it took.

``probe.py WAVE_URI AT_ONCE``: benchmarks/container_frames.py runs this file in the container, in
place of ``python3 -m render_image.entrypoint``. AT_ONCE is how many frames are in work at once; 0:
as many as the entrypoint lets.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
from functools import partial
from pathlib import Path

from povstorm_client.programs.control_groups import ROOT
from render_image import entrypoint
from render_image.process_gate import ProcessGate
from render_image.process_limit import ProcessLimit

LOOK_SECONDS = 0.05


class FixedLimit(ProcessLimit):
    """The same number of processes, however busy they keep the cores."""

    def __init__(self, at_once: int) -> None:
        super().__init__(1)
        self.most = at_once

    @property
    def processes(self) -> int:
        """How many processes may run at once as far as CPU time goes."""
        return self.most


def kept_memory() -> int:
    """Bytes that the container holds and that are not given up: all but what was read from files.

    Files in memory are among them.
    """
    first = ROOT / "memory"
    used = first / "memory.usage_in_bytes" if first.is_dir() else ROOT / "memory.current"
    folder, prefix = (first, "total_") if first.is_dir() else (ROOT, "")
    pairs = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    files = int(pairs[f"{prefix}inactive_file"]) + int(pairs[f"{prefix}active_file"])
    return int(used.read_text()) - files


def main(wave: str, at_once: int) -> int:
    """The entrypoint's exit status, after one line of JSON."""
    peak, ended = kept_memory(), threading.Event()

    def look() -> None:
        nonlocal peak
        while not ended.wait(LOOK_SECONDS):
            peak = max(peak, kept_memory())

    looking = threading.Thread(target=look)
    looking.start()
    if at_once:
        # The wave does not say what its frames hold, so nothing else is asked of the gate.
        vars(entrypoint)["ProcessGate"] = partial(ProcessGate, FixedLimit(at_once))
    status = entrypoint.main([wave])
    ended.set()
    looking.join()
    own, children = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    # Of what follows the name in brackets the 20th: ticks from boot to this start, see proc(5).
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    started = ticks / os.sysconf("SC_CLK_TCK")
    task = {
        "seconds": time.clock_gettime(time.CLOCK_BOOTTIME) - started,
        "cpu": sum(each.ru_utime + each.ru_stime for each in (own, children)),
        "peak": peak,
    }
    print(json.dumps({"task": task}), flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
