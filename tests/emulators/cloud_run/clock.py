"""The stand-in's clock: the event loop's, real or virtual, told as Unix seconds and RFC 3339."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

Now = Callable[[], float]


def loop_now(skew: float = 0.0) -> Now:
    """Unix seconds that go on with the running loop's time, so also in a loop of virtual time.

    skew: seconds ahead of everybody else's clock.
    """
    loop = asyncio.get_running_loop()
    epoch = time.time() - loop.time() + skew
    return lambda: epoch + loop.time()


def timestamp(unix: float) -> str:
    """As the API writes times: UTC, microseconds."""
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def duration(seconds: float) -> str:
    """As in the messages of conditions: ``15.5s``, ``1m3.6s``."""
    minutes, rest = divmod(max(0.0, seconds), 60)
    text = f"{int(rest * 100) / 100:g}s"
    return f"{int(minutes)}m{text}" if minutes else text
