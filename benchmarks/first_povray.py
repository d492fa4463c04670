"""Run the render container's entrypoint, and print the CPU it has used when POV-Ray starts.

benchmarks/container_start.py runs this file, in the container and outside of it, in place of
``python3 -m render_image.entrypoint``; it must therefore need nothing but the standard library.
"""

import json
import os
import resource
import runpy
import sys
import time
from pathlib import Path
from typing import Any

SEEN: list[dict[str, float]] = []


def note_first_frame(event: str, arguments: tuple[Any, ...]) -> None:
    """Print one JSON line when the first POV-Ray process that renders is about to start."""
    if event != "subprocess.Popen" or SEEN:
        return
    words = [str(word) for word in arguments[1]]
    if not any(word.rpartition("/")[2] == "povray" for word in words) or "--version" in words:
        return
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    # Of what follows the name in brackets the 20th: ticks from boot to this start, see proc(5).
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    started = ticks / os.sysconf("SC_CLK_TCK")
    SEEN.append(
        {
            "user": own.ru_utime + children.ru_utime,
            "system": own.ru_stime + children.ru_stime,
            "wall": time.clock_gettime(time.CLOCK_BOOTTIME) - started,
            "modules": len(sys.modules),
        }
    )
    print(json.dumps({"first_povray": SEEN[0]}), flush=True)


sys.addaudithook(note_first_frame)
runpy.run_module("render_image.entrypoint", run_name="__main__")
