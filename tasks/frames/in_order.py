"""InOrder: of frames that go on from each other, each begins when the one before it is rendered.

map_frames asks it before it starts a frame; frames by themselves never wait here.
"""

from __future__ import annotations

import asyncio

from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit


class InOrder:
    """The frames of chains that are in work."""

    def __init__(self) -> None:
        self._in_work: dict[str, asyncio.Task[FrameResult]] = {}

    def begun(self, unit: WorkUnit, rendering: asyncio.Task[FrameResult]) -> None:
        """Take a frame that another may go on from."""
        if unit.link is not None:
            self._in_work[unit.work_unit_id] = rendering

    async def can_go_on(self, unit: WorkUnit) -> bool:
        """Wait for the frame that this one goes on from, if any; whether it is rendered."""
        if unit.link is None or not unit.link.after:
            return True
        before = self._in_work.pop(unit.link.after, None)
        return before is not None and (await asyncio.shield(before)).state == "rendered"
