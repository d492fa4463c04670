"""The library that takes POV-Ray's waits away (povray_waits.c): whether it is there, and works.

prepare_environment hands it to POV-Ray, the sandbox lays it in, ProcessGate asks how many processes
keep the cores busy with it. ``python -m render_image.povray_waits`` measures what it does, for
``povstorm doctor``.

POV-Ray 3.7 looks after its threads every 10 or 50 ms: a process sleeps 0.6 s in all, and so does
POV-Ray's own loop about 0.2 s a frame (docs/performance.md). The library ends such waits after
1 ms. Where it cannot be had, more processes than cores fill the waits (process_limit.py).
"""

from __future__ import annotations

import functools
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from povstorm_client.programs.tools import PovRay, require_povray

# "off" renders without the library; for benchmarks, and to see whether it is to blame.
VARIABLE = "POVSTORM_SHORT_WAITS"
# Built by setup.py from povray_waits.c, where there is a C compiler.
_BUILT = Path(__file__).with_name("libpovraywaits.so")
_PROBE_SECONDS = 20
# An almost empty picture, which takes POV-Ray no time but its own waits.
_SCENE = "camera { location -z } sphere { 0, 0.1 }\n"
_MEASURED_RUNS = 3


def preload(library: str) -> dict[str, str]:
    """The environment variables that load the library into a program; see ld.so(8)."""
    return {"LD_PRELOAD": library}


def waits_library() -> Path | None:
    """The library if programs here start with it; None if not, which costs speed and nothing else.

    One that is there and cannot be loaded is warned of, once.
    """
    if os.environ.get(VARIABLE) == "off" or not _BUILT.is_file():
        return None
    return None if _problem(_BUILT) else _BUILT


@functools.cache
def _problem(library: Path) -> str:
    """Why programs do not start with the library; "" if they do. The linker only warns of it.

    Tried on a program that does nothing: POV-Ray is started where its scene is, never here.
    """
    true = shutil.which("true")
    if true is None:
        return "there is no program to try it with"
    try:
        finished = subprocess.run(
            [true],
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=False,
            env=preload(str(library)),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        problem = str(error)
    else:
        problem = " ".join(finished.stderr.split())
        if finished.returncode != 0:
            problem = problem or f"{true} ends with exit code {finished.returncode}"
    if problem:
        logging.getLogger(__name__).warning("POV-Ray keeps its long waits: %s", problem)
    return problem


def measure_waits(povray: PovRay) -> dict[str, float]:
    """Wall seconds of the shortest of some runs on an empty scene: ``plain`` and ``short`` waits.

    Only ``plain`` where there is no library.
    """
    library = waits_library()
    ways = {"plain": {}, **({"short": preload(str(library))} if library else {})}
    with tempfile.TemporaryDirectory(prefix="povstorm-waits-") as name:
        scene = Path(name) / "scene.pov"
        scene.write_text(_SCENE, "utf-8")
        return {
            way: min(_seconds(povray, scene, variables) for _ in range(_MEASURED_RUNS))
            for way, variables in ways.items()
        }


def _seconds(povray: PovRay, scene: Path, variables: dict[str, str]) -> float:
    command = [str(povray.path), f"+I{scene.name}", "+Oimage.png", "+W8", "+H8", "-D", "+WT1"]
    before = time.monotonic()
    subprocess.run(
        command,
        cwd=scene.parent,
        env={"HOME": str(scene.parent), **variables},
        capture_output=True,
        timeout=_PROBE_SECONDS,
        check=True,
    )
    return time.monotonic() - before


if __name__ == "__main__":
    json.dump(measure_waits(require_povray()), sys.stdout)
