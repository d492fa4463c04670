"""Work runs until it ends or is asked to stop, and has ended when that is told."""

from __future__ import annotations

import asyncio
import signal

import pytest

from povstorm_client.run_until import listen_to_sigterm, run_until


def test_work_that_ends_gives_its_result():
    async def seven() -> int:
        return 7

    async def scenario() -> int | None:
        return await run_until(asyncio.Event(), seven())

    assert asyncio.run(scenario()) == 7


def test_works_error_is_raised():
    async def fail() -> None:
        raise ValueError("of the work")

    async def scenario() -> None:
        await run_until(asyncio.Event(), fail())

    with pytest.raises(ValueError, match="of the work"):
        asyncio.run(scenario())


def test_work_that_is_stopped_has_tidied_up_when_none_is_returned():
    tidied: list[str] = []

    async def work(stop: asyncio.Event) -> int:
        try:
            stop.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            tidied.append("up")
        return 7

    async def scenario() -> int | None:
        stop = asyncio.Event()
        return await run_until(stop, work(stop))

    assert asyncio.run(scenario()) is None
    assert tidied == ["up"]


def test_work_that_takes_longer_than_its_grace_is_not_waited_for():
    tidied: list[str] = []

    async def work(stop: asyncio.Event, go_on: asyncio.Event) -> None:
        try:
            stop.set()
            await asyncio.Event().wait()
        finally:
            await go_on.wait()
            tidied.append("up")

    async def scenario() -> None:
        stop, go_on = asyncio.Event(), asyncio.Event()
        assert await run_until(stop, work(stop, go_on), grace=0.01) is None
        assert tidied == []
        go_on.set()

    asyncio.run(scenario())


def test_sigterm_asks_to_stop():
    async def work() -> None:
        signal.raise_signal(signal.SIGTERM)
        await asyncio.Event().wait()

    async def scenario() -> None:
        stop = asyncio.Event()
        assert listen_to_sigterm(stop)
        assert await run_until(stop, work()) is None
        assert stop.is_set()

    asyncio.run(scenario())


def test_a_thread_that_gets_no_signals_says_so():
    async def scenario() -> bool:
        return listen_to_sigterm(asyncio.Event())

    async def from_a_thread() -> bool:
        return await asyncio.to_thread(asyncio.run, scenario())

    assert not asyncio.run(from_a_thread())
