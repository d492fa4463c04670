"""Attempts that are only simulated: a function says how long each takes and how it ends.

Benchmarks use it with CloudRunModel in an event loop of virtual time.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable

from tests.emulators.cloud_run.containers import ContainerEnd, ContainerSpec

_KILLED = 9

Attempt = asyncio.Future[ContainerEnd | None]
Behaviour = Callable[[ContainerSpec], Awaitable[ContainerEnd | None]]


class SimulatedContainers:
    """behaviour: awaited for each attempt; what it returns is the end, None an exit code of 0."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._running: dict[tuple[str, int, int], set[Attempt]] = defaultdict(set)
        self._lost: set[Attempt] = set()

    async def run(self, spec: ContainerSpec) -> ContainerEnd:
        attempt = asyncio.ensure_future(self._behaviour(spec))
        running = self._running[spec.execution, spec.index, spec.attempt]
        running.add(attempt)
        try:
            return (await attempt) or ContainerEnd()
        except asyncio.CancelledError:
            if attempt in self._lost:
                return ContainerEnd(term_signal=_KILLED)
            raise
        finally:
            running.discard(attempt)
            self._lost.discard(attempt)

    def lose(self, spec: ContainerSpec) -> None:
        for attempt in self._running[spec.execution, spec.index, spec.attempt]:
            self._lost.add(attempt)
            attempt.cancel()

    async def move(self, spec: ContainerSpec, *, notice: float, pause: float) -> None:
        """Simulated work has no clock that a move could disturb."""
