"""Quotas of a region: calls a minute by kind, running executions, jobs, and tasks at once.

Each refusal is in the words that the service was seen to use.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict, deque
from dataclasses import dataclass

from tests.emulators.cloud_run.api_error import ApiError
from tests.emulators.cloud_run.clock import Now
from tests.emulators.cloud_run.knobs import Knobs
from tests.emulators.cloud_run.names import Location

_MINUTE = 60.0
# Kind of call → the knob that limits it, and the metric's name, display name and limit.
_METRICS = {
    "run": ("run_calls_per_minute", "job_run_regional", "Job run requests", "JobRun"),
    "read": ("read_calls_per_minute", "read_regional", "Read requests", "Read"),
    "write": ("write_calls_per_minute", "write_regional", "Write requests", "Write"),
}
QUOTA_CALLS = tuple(_METRICS)


@dataclass(frozen=True)
class Size:
    """Of one task: its vCPUs and GiB of memory."""

    vcpus: float
    gib: float


class CallRates:
    """How many calls of each kind each region got in the last minute."""

    def __init__(self, knobs: Knobs, now: Now) -> None:
        self._knobs = knobs
        self._now = now
        self._calls: dict[tuple[Location, str], deque[float]] = defaultdict(deque)

    def count(self, location: Location, kind: str) -> None:
        """Count a call; RESOURCE_EXHAUSTED if the quota is used up."""
        calls, now = self._calls[location, kind], self._now()
        while calls and calls[0] <= now - _MINUTE:
            calls.popleft()
        if len(calls) >= getattr(self._knobs, _METRICS[kind][0]):
            raise rate_exceeded(location, kind)
        calls.append(now)


def rate_exceeded(location: Location, kind: str) -> ApiError:
    """The refusal of a call beyond the quota of its kind."""
    _, metric, words, limit = _METRICS[kind]
    limit_words = f"{words} per minute per region"
    consumer = f"projects/{location.project}"
    return ApiError(
        "RESOURCE_EXHAUSTED",
        f"Quota exceeded for quota metric '{words}' and limit '{limit_words}' of service "
        f"'run.googleapis.com' for consumer '{consumer}'.",
        [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "RATE_LIMIT_EXCEEDED",
                "domain": "googleapis.com",
                "metadata": {
                    "service": "run.googleapis.com",
                    "consumer": consumer,
                    "quota_metric": f"run.googleapis.com/{metric}",
                    "quota_limit": f"{limit}PerMinutePerProjectRegion",
                    "quota_location": location.region,
                },
            }
        ],
    )


class TaskSlots:
    """The tasks that can run at once in a region; others wait, first come, first served."""

    def __init__(self, knobs: Knobs) -> None:
        self._knobs = knobs
        self._busy = 0
        self._used = Size(0.0, 0.0)
        self._waiting: deque[tuple[Size, asyncio.Future[None]]] = deque()
        self._answers = itertools.cycle(("RESOURCE_EXHAUSTED", "INVALID_ARGUMENT"))

    def have_room(self, size: Size, tasks: int = 1) -> bool:
        """Whether so many tasks of that size could start now."""
        return not self._waiting and self._fits(size, tasks)

    async def acquire(self, size: Size) -> None:
        """Wait for room and take it."""
        if self.have_room(size):
            self._take(size)
            return
        slot = asyncio.get_running_loop().create_future()
        self._waiting.append((size, slot))
        try:
            await slot
        except asyncio.CancelledError:
            if slot.done() and not slot.cancelled():
                self.release(size)
            else:
                self._waiting.remove((size, slot))
                self.hand_out()
            raise

    def release(self, size: Size) -> None:
        """Give it back."""
        self._busy -= 1
        self._used = Size(self._used.vcpus - size.vcpus, self._used.gib - size.gib)
        self.hand_out()

    def hand_out(self) -> None:
        """Let those go on for whom there is room; also after a limit was changed."""
        while self._waiting and self._fits(self._waiting[0][0]):
            size, slot = self._waiting.popleft()
            if not slot.done():
                self._take(size)
                slot.set_result(None)

    def exhausted(self, size: Size, tasks: int) -> ApiError:
        """The refusal of an execution of so many tasks at once, for which there is no room.

        No document says which of the two answers it is; so each comes in its turn, in words that
        the service was seen to use.
        """
        if next(self._answers) == "RESOURCE_EXHAUSTED":
            words = "Quota exceeded for total allowable CPU per project per region."
            return ApiError("RESOURCE_EXHAUSTED", words)
        requested = (self._used.vcpus + size.vcpus * tasks) * 1000
        return ApiError(
            "INVALID_ARGUMENT",
            "Consider running your workload in a region with greater capacity, or requesting an "
            "increase in quota for this region if you are seeing sustained usage near this limit, "
            "see https://cloud.google.com/run/quotas.\n\nQuota violated:\n"
            f"CpuAllocPerProjectRegion requested: {requested:.0f} "
            f"allowed: {self._knobs.vcpu_quota * 1000:.0f}",
        )

    def _fits(self, size: Size, tasks: int = 1) -> bool:
        knobs = self._knobs
        return (
            self._busy + tasks <= knobs.parallel_tasks
            and self._used.vcpus + size.vcpus * tasks <= knobs.vcpu_quota
            and self._used.gib + size.gib * tasks <= knobs.memory_gib_quota
        )

    def _take(self, size: Size) -> None:
        self._busy += 1
        self._used = Size(self._used.vcpus + size.vcpus, self._used.gib + size.gib)
