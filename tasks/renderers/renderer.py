"""Renderer: the protocol of what renders a job's frames, here or elsewhere.

frame_attempt renders by it, for the render_frame task as for PlainRuns.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit

# As many frames failing alike, with none rendered, say that the scene is wrong, not a frame.
SAME_FAILURES = 5


class Renderer(Protocol):
    """Renders frames; entered once for a job (``async with``), left when the job ends."""

    @property
    def version(self) -> str:
        """POV-Ray's version: part of the cache key."""

    async def __aenter__(self) -> Renderer: ...

    async def __aexit__(self, *exception: object) -> None: ...

    def admission(self, unit: WorkUnit) -> AbstractAsyncContextManager[object]:
        """Wait here until this frame can be worked on: bounds the task runs in flight."""

    async def render(self, unit: WorkUnit, *, attempt: int, final_attempt: bool) -> FrameResult:
        """Render and store one frame; RenderError if it fails."""

    async def has_parsed(self) -> None:
        """Wait until a frame of this run is past parsing its scene, where that is told at all."""
