"""The library in place of SDL's, with which POV-Ray loads nothing for windows (povray_window.c).

tools.py looks whether the POV-Ray that renders starts with it; render_image starts frames so.
"""

from __future__ import annotations

import os
from pathlib import Path

from povstorm_client.programs.povray_waits import VARIABLE, problem_with

# Built by setup.py from povray_window.c, where there is a C compiler.
_BUILT = Path(__file__).with_name("libpovraywindow.so")
_PROGRAM = b"\x7fELF"


def window_library(povray: str) -> Path | None:
    """The library if this program may be started with it; None if not.

    That is for the program to show, which is bound to all that it needs of SDL's before it says a
    word, or when it calls that. A script, which may start any POV-Ray, shows nothing.
    """
    if os.environ.get(VARIABLE) == "off" or not _BUILT.is_file():
        return None
    try:
        with Path(povray).open("rb") as program:
            if program.read(len(_PROGRAM)) != _PROGRAM:
                return None
    except OSError:
        return None
    return None if problem_with(_BUILT, "POV-Ray loads what windows need") else _BUILT
