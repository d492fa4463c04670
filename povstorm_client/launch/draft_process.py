"""DraftProcess: render_image.draft_frames as a child that stays; ``povstorm watch`` has one.

It is warm: what a frame takes is POV-Ray's own time, not Python's. Like the flow, what renders
stays out of the user's process.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from povstorm_client.errors import PovstormError, ToolError
from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.launch.last_words import last_words
from povstorm_client.launch.orphans import family_of, kill
from povstorm_client.programs import sandbox_mode
from povstorm_client.programs.sandbox_mode import SandboxMode
from povstorm_client.programs.tools import die_with_parent

# For killing POV-Ray and removing its workspaces.
_STOP_SECONDS = 20.0


@dataclass(frozen=True)
class DraftedFrame:
    """What became of a frame of the request ``turn``: a result, or None and what went wrong."""

    turn: int
    frame: int
    result: FrameResult | None
    error: str = ""


class DraftProcess:
    """A started process; it ends when it is closed, and when this process ends.

    folder: its own, for its temporary files and what it prints. on_frame: told of each frame, from
    another thread; on_end: told of an end that nobody asked for, with the reason in a line. An
    error of on_frame's is such an end.
    """

    def __init__(
        self,
        storage_uri: str,
        folder: Path,
        *,
        sandbox: SandboxMode,
        on_frame: Callable[[DraftedFrame], None],
        on_end: Callable[[str], None],
    ) -> None:
        self._on_frame = on_frame
        self._on_end = on_end
        self._log = folder / "drafts.log"
        self._closing = False
        temporary = folder / "tmp"
        temporary.mkdir()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *die_with_parent(),
                    *(sys.executable, "-P", "-m", "render_image.draft_frames", storage_uri),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                # Ctrl-C is for this process, which closes that one.
                start_new_session=True,
                env={
                    **os.environ,
                    "TMPDIR": str(temporary),
                    "PYTHONIOENCODING": "utf-8",
                    sandbox_mode.VARIABLE: sandbox,
                },
            )
        self._reader = threading.Thread(target=self._read, name="povstorm-drafts", daemon=True)
        self._reader.start()

    def draw(self, turn: int, units: Sequence[WorkUnit]) -> None:
        """Render these, in this order, and stop whatever was asked for before. No units: only stop.

        Raises ToolError if the process has ended.
        """
        request = {"turn": turn, "units": [unit.to_json() for unit in units]}
        pipe = self._process.stdin
        if pipe is None:
            raise ToolError("drafts cannot be asked for without a pipe")
        try:
            pipe.write(json.dumps(request) + "\n")
            pipe.flush()
        except (OSError, ValueError) as error:
            raise ToolError(f"drafts cannot be rendered: {self._last_words()}") from error

    def close(self) -> None:
        """End it, and POV-Ray with it; what does not end by itself is killed."""
        self._closing = True
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            # Also after another Ctrl-C.
            if self._process.poll() is None:
                kill(family_of(self._process.pid))
                self._process.wait()
        self._reader.join(_STOP_SECONDS)

    def _read(self) -> None:
        try:
            self._tell_frames()
        except Exception as error:
            # Whatever it is: who waits for frames would wait for ever.
            known = isinstance(error, PovstormError)
            why = str(error) if known else f"{type(error).__name__}: {error}"
            self._on_end(f"drafts cannot be shown any more: {why}")
            return
        self._process.wait()
        if not self._closing:
            self._on_end(f"drafts cannot be rendered any more: {self._last_words()}")

    def _tell_frames(self) -> None:
        for line in self._process.stdout or ():
            told = json.loads(line)
            if "result" in told:
                result = FrameResult.from_json(told["result"])
                self._on_frame(DraftedFrame(told["turn"], result.frame, result))
            else:
                self._on_frame(DraftedFrame(told["turn"], told["frame"], None, told["error"]))

    def _last_words(self) -> str:
        return last_words(self._log) or f"exit code {self._process.poll()}"
