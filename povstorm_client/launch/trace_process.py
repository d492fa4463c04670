"""Run render_image.trace_scene as a child process: what an animation's frames do with files.

read_scene hands trace_scene to load_scene, which asks where reading a scene is not enough. Like the
flow, what runs POV-Ray stays out of the user's process.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from povstorm_client.errors import InputError, ToolError
from povstorm_client.launch.orphans import family_of, kill
from povstorm_client.programs import sandbox_mode
from povstorm_client.programs.cores import whole_cores
from povstorm_client.programs.sandbox_mode import SandboxMode, sandbox_mode_here
from povstorm_client.programs.tools import die_with_parent, require_povray
from povstorm_client.scene.trace import FrameUse, Trace, TraceRequest

# Between looks whether it is to be stopped.
_STOP_SECONDS = 0.05
# No progress is shown of what is done as soon.
_QUIET_SECONDS = 1.0
# Where render_image/povray_files.c notes what frames open, of all of them or of each part, and the
# note that a frame begins: texts that end with a zero each, the second an absolute path.
_NOTES = "workspace/trace/accesses"
_WHOLE, _PARTS = "whole", "part-*"
_FRAME_NOTE = b"\0F\0/"
# Bytes of them that are read at a look.
_MOST_NOTES = 1 << 20
# Fewer frames are parsed sooner than one more process has started and ended.
_LEAST_FRAMES = 32
# Each of the processes has the whole scene in memory.
_MOST_PARTS = 8
# A frame's share of what frames leave to each other goes into its work unit.
MAX_STATE_BYTES = 8 << 20
# Of all frames together: it is uploaded, and the flow holds it.
MAX_ALL_STATE_BYTES = 256 << 20
# Folders that hold far more than a scene.
_TOO_LARGE = frozenset((Path("/"), Path.home()))


def trace_scene(
    request: TraceRequest,
    *,
    sandbox: SandboxMode | None = None,
    stop: threading.Event | None = None,
    on_parsed: Callable[[int, int], None] | None = None,
) -> Trace:
    """Parse the request's frames, and tell what they did with files, one after another.

    Where reading the scene shows nothing that one could leave to a later one, parts of them are
    parsed at once, and all in their order if these show it.

    stop: set from another thread, it ends the trace at once, by a ToolError. on_parsed: is told now
    and then how many frames have been begun, of how many, where it takes longer than a second.

    Raises ToolError where POV-Ray cannot be run or watched here, InputError for a scene that
    cannot be traced: its current folder holds more than a scene, or its frames leave each other
    more than work units take.
    """
    require_povray()
    for root in request.roots:
        if root in _TOO_LARGE:
            raise InputError(
                f"the scene has to be run to tell what its frames do with files, which {root} is "
                "too large a folder for: change into the scene's folder first"
            )
    mode = sandbox_mode_here() if sandbox is None else sandbox
    with tempfile.TemporaryDirectory(prefix="povstorm-trace-") as name:
        folder = Path(name)
        (folder / "request.json").write_text(json.dumps(_plain(request)), "utf-8")
        begun = _Begun(folder, len(request.frames), on_parsed or (lambda _done, _all: None))
        _run(folder, mode, stop or threading.Event(), begun)
        return _found(json.loads((folder / "trace.json").read_text("utf-8")))


def _plain(request: TraceRequest) -> dict[str, object]:
    frames = request.frames
    return {
        "settings": request.settings.to_json(),
        "scene": str(request.scene),
        "roots": list(map(str, request.roots)),
        "beside": sorted(map(str, request.beside - _TOO_LARGE)),
        "frames": [frames[0], frames[-1], frames.step],
        "images": str(request.images or ""),
        "aliases": {str(name): str(file) for name, file in request.aliases.items()},
        "parts": _parts(request),
    }


def _parts(request: TraceRequest) -> int:
    """How many parts of the frames are parsed at once; 1 for all in their order."""
    if request.writes:
        return 1
    return max(1, min(whole_cores(), _MOST_PARTS, len(request.frames) // _LEAST_FRAMES))


class _Begun:
    """Tells how many frames a trace has begun, by what it has noted so far."""

    def __init__(self, folder: Path, frames: int, tell: Callable[[int, int], None]) -> None:
        self._folder, self._frames, self._tell = folder, frames, tell
        self._known: dict[Path, _NotedFrames] = {}
        self._told = 0
        self._quiet_until = time.monotonic() + _QUIET_SECONDS

    def look(self) -> None:
        if time.monotonic() < self._quiet_until:
            return
        whole = self._folder / _WHOLE
        # All are parsed in their order where parts have not told everything.
        loops = [whole] if whole.exists() else sorted(self._folder.glob(_PARTS))
        begun = 0
        for loop in loops:
            begun += self._known.setdefault(loop, _NotedFrames(loop / _NOTES)).count()
        self._told = max(self._told, min(begun, self._frames))
        self._tell(self._told, self._frames)


class _NotedFrames:
    """How many frames one POV-Ray has begun, or more, one after another."""

    def __init__(self, notes: Path) -> None:
        self._notes = notes
        self._read, self._count, self._last = 0, 0, b"\0"

    def count(self) -> int:
        with contextlib.suppress(OSError):
            self._read_on()
        return self._count

    def _read_on(self) -> None:
        # The scene's POV-Ray could put anything there.
        descriptor = os.open(self._notes, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                return
            if found.st_size < self._read:
                # It is begun anew after a frame that cannot be parsed.
                self._read, self._last = 0, b"\0"
            file.seek(self._read)
            new = file.read(_MOST_NOTES)
        self._read += len(new)
        self._count += (self._last + new).count(_FRAME_NOTE)
        self._last = (self._last + new)[-len(_FRAME_NOTE) + 1 :]


def _run(folder: Path, mode: SandboxMode, stop: threading.Event, begun: _Begun) -> None:
    child = subprocess.Popen(
        [*die_with_parent(), sys.executable, "-P", "-m", "render_image.trace_scene", str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, sandbox_mode.VARIABLE: mode},
    )
    try:
        said = _said(child, stop, begun)
    finally:
        if child.poll() is None:
            # Ctrl-C reaches it from the terminal.
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(0 if stop.is_set() else 1)
            kill(family_of(child.pid))
            child.wait()
    if child.returncode:
        reason = said.strip().splitlines()
        raise ToolError(reason[-1] if reason else f"exit code {child.returncode}")


def _said(child: subprocess.Popen[str], stop: threading.Event, begun: _Begun) -> str:
    """What the child printed until its end."""
    while True:
        try:
            said, _ = child.communicate(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            if stop.is_set():
                raise ToolError("it was stopped") from None
            begun.look()
        else:
            begun.look()
            return said


def _found(trace: dict[str, Any]) -> Trace:
    # Frames that find the same bytes share them here.
    contents: dict[bytes, bytes] = {}
    total = 0
    state: dict[int, dict[Path, bytes]] = {}
    for frame, files in trace["state"].items():
        for path, kept in files.items():
            size = Path(kept).stat().st_size
            total += size
            if size > MAX_STATE_BYTES or total > MAX_ALL_STATE_BYTES:
                raise InputError(
                    f"{path}, which frames leave to each other, has {size:,} bytes in frame {frame}"
                    f", {total:,} in all frames so far: a frame may be left {MAX_STATE_BYTES:,}, "
                    f"and all together {MAX_ALL_STATE_BYTES:,}; have the scene write less, or "
                    "render it with POV-Ray's own loop"
                )
            data = Path(kept).read_bytes()
            state.setdefault(int(frame), {})[Path(path)] = contents.setdefault(data, data)
    return Trace(
        read=frozenset(map(Path, trace["read"])),
        sought=frozenset(map(Path, trace["sought"])),
        uses=_uses(trace),
        state=state,
        images={
            int(frame): frozenset(map(Path, paths)) for frame, paths in trace["images"].items()
        },
        failures={int(frame): str(words) for frame, words in trace["failures"].items()},
        frames=int(trace["frames"]),
        seconds=float(trace["seconds"]),
        is_whole=bool(trace["is_whole"]),
    )


def _uses(trace: dict[str, Any]) -> dict[int, FrameUse]:
    paths = list(map(Path, trace["paths"]))
    # Frames that use the same share it here.
    known: dict[tuple[tuple[int, ...], ...], FrameUse] = {}

    def use(numbers: tuple[tuple[int, ...], ...]) -> FrameUse:
        return FrameUse(*(frozenset(paths[number] for number in part) for part in numbers))

    found: dict[int, FrameUse] = {}
    for frame, parts in trace["uses"].items():
        numbers = tuple(map(tuple, parts))
        found[int(frame)] = known.get(numbers) or known.setdefault(numbers, use(numbers))
    return found
