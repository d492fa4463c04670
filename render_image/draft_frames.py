"""Render drafts for as long as somebody watches a scene: the newest request, and nothing else.

povstorm_client/launch/draft_process.py runs it as a child process: ``python -P -m
render_image.draft_frames STORAGE_URI``. A line of its standard input is a request, JSON:
{"turn": number, "units": [work units, in the order in which they are wanted]}. It takes the place
of the one before, whose POV-Ray processes are killed. A line of its standard output says what
became of a frame: {"turn", "result": FrameResult}, or {"turn", "frame", "error"}. It
ends when its input does.

Frames are rendered by render_unit, as those of jobs are; Prefect is told nothing.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Sequence

from povstorm_client.errors import PovstormError
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.programs.sandbox_mode import SandboxMode, sandbox_mode_here
from povstorm_client.programs.tools import PovRay, require_povray
from povstorm_client.storage.open_storage import open_storage
from povstorm_client.storage.protocol import Storage
from povstorm_client.terminal import print_only_text
from render_image.process_gate import ProcessGate
from render_image.render_unit import render_unit
from render_image.sandbox import open_sandbox


def main(storage_uri: str) -> int:
    """Render what is asked for until nobody asks any more; returns 0, or 1 after the reason."""
    print_only_text()
    try:
        povray, mode = require_povray(), sandbox_mode_here()
        # What costs a moment at the first frame: whether a sandbox works here.
        open_sandbox(povray, mode)
        asyncio.run(_Drafts(open_storage(storage_uri), povray, mode).serve())
    except PovstormError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


class _Drafts:
    """What is in work of the newest request."""

    def __init__(self, storage: Storage, povray: PovRay, mode: SandboxMode) -> None:
        self._storage = storage
        self._povray = povray
        self._mode = mode
        self._gate = ProcessGate()

    async def serve(self) -> None:
        """Take requests until there are no more."""
        requests = _lines_of_input()
        drawing: asyncio.Task[None] | None = None
        async with self._gate:
            while line := await requests.get():
                await _stopped(drawing)
                request = json.loads(line)
                kept: dict[object, object] = {}
                units = [WorkUnit.from_json(unit, kept) for unit in request["units"]]
                drawing = asyncio.create_task(self._draw(request["turn"], units))
            await _stopped(drawing)

    async def _draw(self, turn: int, units: Sequence[WorkUnit]) -> None:
        waiting = iter(units)

        async def work() -> None:
            while True:
                async with self._gate.admission():
                    unit = next(waiting, None)
                    if unit is None:
                        return
                    await self._draw_frame(turn, unit)

        async with asyncio.TaskGroup() as workers:
            for _ in range(min(self._gate.most, len(units))):
                workers.create_task(work())

    async def _draw_frame(self, turn: int, unit: WorkUnit) -> None:
        try:
            result = await render_unit(unit, self._storage, self._povray, sandbox=self._mode)
        except PovstormError as error:
            _tell(
                turn=turn,
                frame=unit.frame,
                # Without the tail of POV-Ray's output.
                error=str(error.args[0]).removeprefix(f"frame {unit.frame}: "),
            )
        else:
            self._gate.saw(result)
            _tell(turn=turn, result=result.to_json())


async def _stopped(drawing: asyncio.Task[None] | None) -> None:
    """Wait until a request's POV-Ray processes have ended, by force."""
    if drawing is not None:
        drawing.cancel()
        (error,) = await asyncio.gather(drawing, return_exceptions=True)
        if isinstance(error, Exception):
            raise error


def _lines_of_input() -> asyncio.Queue[str]:
    """The lines as they come, "" at the end.

    A daemon's thread reads: unlike an executor's it keeps no process from ending.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Queue[str] = asyncio.Queue()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(found.put_nowait, line)
        loop.call_soon_threadsafe(found.put_nowait, "")

    threading.Thread(target=read, name="requests", daemon=True).start()
    return found


def _tell(**what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
