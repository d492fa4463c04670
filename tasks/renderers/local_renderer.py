"""LocalRenderer: POV-Ray processes on this machine, as many at once as keep its cores busy."""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.programs.sandbox_mode import SandboxMode
from povstorm_client.programs.tools import PovRay
from povstorm_client.storage.protocol import Storage
from render_image.frame_limits import Limits
from render_image.process_gate import ProcessGate
from render_image.process_limit import ProcessLimit
from render_image.render_unit import render_unit
from render_image.sandbox import open_sandbox


class LocalRenderer:
    """Renders with POV-Ray processes here; an adaptive limit bounds how many run at once."""

    def __init__(
        self,
        storage: Storage,
        povray: PovRay,
        *,
        frame_timeout: float | None = None,
        sandbox: SandboxMode = "auto",
        limits: Limits | None = None,
        limit: ProcessLimit | None = None,
    ) -> None:
        self._storage = storage
        self._povray = povray
        self._frame_timeout = frame_timeout
        # Here, since where it is required and can't be had, that is the job's error, not a frame's.
        open_sandbox(povray, sandbox)
        self._sandbox = sandbox
        self._limits = limits
        self._gate = ProcessGate(limit)
        self._entered_gate = AsyncExitStack()
        self._entered = time.time()
        self._parsed = asyncio.Event()

    @property
    def version(self) -> str:
        """POV-Ray's version."""
        return self._povray.version

    async def __aenter__(self) -> LocalRenderer:
        self._entered = time.time()
        await self._entered_gate.enter_async_context(self._gate)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._entered_gate.aclose()

    def admission(self, unit: WorkUnit) -> AbstractAsyncContextManager[object]:
        """Wait until the limit, and the free memory, allow one more process."""
        return self._gate.admission()

    async def render(self, unit: WorkUnit, *, attempt: int, final_attempt: bool) -> FrameResult:
        """Render and store one frame; RenderError if it fails."""
        result = await render_unit(
            unit,
            self._storage,
            self._povray,
            attempt=attempt,
            final_attempt=final_attempt,
            queued_since=self._entered,
            timeout=self._frame_timeout,
            sandbox=self._sandbox,
            limits=self._limits,
            on_parsed=None if self._parsed.is_set() else self._parsed.set,
        )
        self._parsed.set()
        self._gate.saw(result)
        return result

    async def has_parsed(self) -> None:
        """Wait until POV-Ray has said so of a frame, or one is rendered."""
        await self._parsed.wait()
