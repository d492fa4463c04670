"""The library that takes POV-Ray's waits away (povray_waits.c): whether it is there, and works.

tools.py asks POV-Ray for its version with it; render_image hands it to POV-Ray and lays it into the
sandbox, and asks how many processes keep the cores busy with it.

POV-Ray 3.7 looks after its threads every 10 or 50 ms: a process sleeps 0.6 s in all, 0.2 s to say
its version, and so does POV-Ray's own loop about 0.2 s a frame (docs/performance.md). The library
ends such waits after 1 ms, or up to 10 while POV-Ray computes.
"""

from __future__ import annotations

import functools
import logging
import os
import shutil
import subprocess
from pathlib import Path

# "off" renders without this library, and without povray_window.py's; for benchmarks, and to see
# whether one is to blame.
VARIABLE = "POVSTORM_SHORT_WAITS"
INSTALL = (
    "install a C compiler (sudo apt install tcc), and povstorm anew: rm .venv/.installed && make "
    "setup, or pip install --force-reinstall"
)
# Built by setup.py from povray_waits.c, where there is a C compiler.
_BUILT = Path(__file__).with_name("libpovraywaits.so")
_PROBE_SECONDS = 180.0


def preload(*libraries: str) -> dict[str, str]:
    """The environment variables that load the libraries into a program; see ld.so(8)."""
    return {"LD_PRELOAD": ":".join(libraries)} if libraries else {}


def why_without() -> str:
    """Why programs start without the library here; "" if they do with it."""
    if os.environ.get(VARIABLE) == "off":
        return f"{VARIABLE}=off says so"
    if not _BUILT.is_file():
        return "the library that ends them was not built"
    return problem_with(_BUILT, "POV-Ray keeps its long waits")


def waits_library() -> Path | None:
    """The library if programs here start with it; None if not, which costs speed and nothing else.

    One that is there and cannot be loaded is warned of, once.
    """
    return None if why_without() else _BUILT


@functools.cache
def problem_with(library: Path, lost: str) -> str:
    """Why programs do not start with a library; "" if they do. The linker only warns of it.

    lost: what is so without it, as is told once. Tried on a program that does nothing: POV-Ray is
    started where its scene is, never here.
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
        logging.getLogger(__name__).warning("%s: %s", lost, problem)
    return problem
