"""The programs that povstorm runs: found on PATH, or chosen, with a version that will do.

Checked by Job.run before any work starts, and used by the rooms that start them.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from povstorm_client.errors import ToolError
from povstorm_client.programs.povray_waits import preload, waits_library
from povstorm_client.programs.povray_window import window_library

# The program to take for POV-Ray, instead of the one on PATH; `--povray` sets it for all that the
# command starts.
POVRAY_VARIABLE = "POVSTORM_POVRAY"
# 3.7 is the first with +WT, +GA and the statistics that render_image parses.
_OLDEST_POVRAY = (3, 7)
_NEWER_POVRAY = (3, 8)
# How long a program may take to tell its version, on a machine however busy.
_ANSWER_SECONDS = 180.0


@dataclass(frozen=True)
class PovRay:
    """An installed POV-Ray: its program and its version, e.g. ``"3.7.0.10.unofficial"``.

    window: the library in place of SDL's (povray_window.py), if it starts with that.
    """

    path: Path
    version: str
    window: Path | None = None

    @property
    def libraries(self) -> list[Path]:
        """What is loaded into it when it renders, with povray_waits.preload."""
        return [library for library in (waits_library(), self.window) if library is not None]

    @property
    def series(self) -> tuple[int, int]:
        """The first two numbers of its version, e.g. ``(3, 7)``."""
        first, second = re.findall(r"\d+", self.version)[:2]
        return int(first), int(second)


def choose_povray(path: Path) -> PovRay:
    """Have this program taken for POV-Ray, here and by what is started from here; ToolError."""
    os.environ[POVRAY_VARIABLE] = str(path.absolute())
    return require_povray()


def require_povray() -> PovRay:
    """POV-Ray as chosen, or from PATH; ToolError if it is missing, broken or older than 3.7."""
    if chosen := os.environ.get(POVRAY_VARIABLE):
        if shutil.which(chosen) is None:
            raise ToolError(
                f"{chosen} is no program: give --povray, or {POVRAY_VARIABLE}, POV-Ray's own path"
            )
        return _povray_at(chosen)
    path = shutil.which("povray")
    if path is None:
        raise ToolError(
            "povray is not on PATH", remedy="install it (`make setup` does, or apt install povray)"
        )
    return _povray_at(path)


def povray_is_newer() -> bool:
    """Whether the POV-Ray that renders here is 3.8 or later, with its options."""
    return series_here() >= _NEWER_POVRAY


def series_here() -> tuple[int, int]:
    """Of the POV-Ray that renders here; where there is none, of the render container's."""
    try:
        return require_povray().series
    except ToolError:
        return _OLDEST_POVRAY


@functools.cache
def _povray_at(path: str) -> PovRay:
    waits, window = waits_library(), window_library(path)
    match = _told_version(path, waits, window)
    if match is None and window is not None:
        window, match = None, _told_version(path, waits)
    if match is None:
        raise ToolError(
            f"{path} is no POV-Ray: it does not tell its version as one. Give --povray, or "
            f"{POVRAY_VARIABLE}, the path of POV-Ray 3.7 or newer, or leave it out for the one on "
            "PATH"
        )
    if (int(match[1]), int(match[2])) < _OLDEST_POVRAY:
        raise ToolError(
            f"{path} is POV-Ray {match[1]}.{match[2]}{match[3]}: povstorm needs 3.7 or newer"
        )
    return PovRay(Path(path), f"{match[1]}.{match[2]}{match[3]}", window)


def _told_version(path: str, *libraries: Path | None) -> re.Match[str] | None:
    """The version that a program tells as POV-Ray does, started with these libraries."""
    try:
        finished = subprocess.run(
            [path, "--version"],
            capture_output=True,
            text=True,
            timeout=_ANSWER_SECONDS,
            check=False,
            env={**os.environ, **preload(*(str(each) for each in libraries if each))},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolError(f"{path} cannot be run ({error})", remedy="reinstall POV-Ray") from error
    return re.search(r"POV-Ray (\d+)\.(\d+)(\S*)", finished.stdout + finished.stderr)


def require_ffmpeg() -> tuple[str, str]:
    """The paths of ffmpeg and ffprobe from PATH; raises ToolError naming what is missing."""
    found = {name: shutil.which(name) for name in ("ffmpeg", "ffprobe")}
    for name, path in found.items():
        if path is None:
            raise ToolError(
                f"{name} is not on PATH",
                remedy="install ffmpeg (`make setup` does, or apt install ffmpeg)",
            )
    return str(found["ffmpeg"]), str(found["ffprobe"])


@functools.cache
def ffmpeg_version(path: str) -> str:
    """The version of an ffmpeg, as it says; ToolError if it says none."""
    try:
        finished = subprocess.run(
            [path, "-version"], capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolError(f"{path} cannot be run ({error})", remedy="reinstall ffmpeg") from error
    match = re.match(r"ffmpeg version (\S+)", finished.stdout)
    if match is None:
        raise ToolError(f"{path} does not tell its version: reinstall ffmpeg")
    return match[1]


@functools.cache
def ffmpeg_encoders(path: str) -> frozenset[str]:
    """The encoders that an ffmpeg was built with, as it calls them; ToolError if it fails."""
    try:
        finished = subprocess.run(
            [path, "-hide_banner", "-encoders"],
            capture_output=True,
            text=True,
            timeout=_ANSWER_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolError(f"{path} cannot be run ({error})", remedy="reinstall ffmpeg") from error
    # " V....D libx264              libx264 H.264 / AVC …"
    return frozenset(re.findall(r"^ [VAS.][A-Z.]{5} (\S+)", finished.stdout, re.MULTILINE))


@functools.cache
def die_with_parent() -> list[str]:
    """What to put before a command so that the kernel kills it when its parent dies.

    util-linux's wrapper around prctl(2); [] where it is not installed.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []
