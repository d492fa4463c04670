"""Quotas of a region: calls a minute by kind, running executions, jobs, and tasks at once.

Each refusal is RESOURCE_EXHAUSTED in the words that the service was seen to use.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable

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

    def __init__(self, most: Callable[[], int]) -> None:
        self._most = most
        self._busy = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self) -> None:
        """Wait for a slot and take it."""
        if self._busy < self._most() and not self._waiting:
            self._busy += 1
            return
        slot = asyncio.get_running_loop().create_future()
        self._waiting.append(slot)
        try:
            await slot
        except asyncio.CancelledError:
            if slot.done() and not slot.cancelled():
                self.release()
            else:
                self._waiting.remove(slot)
            raise

    def release(self) -> None:
        """Give a slot back."""
        self._busy -= 1
        self.hand_out()

    def hand_out(self) -> None:
        """Let those go on for whom there is a slot; also after the limit was changed."""
        while self._waiting and self._busy < self._most():
            slot = self._waiting.popleft()
            if not slot.done():
                self._busy += 1
                slot.set_result(None)
