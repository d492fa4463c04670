"""A process may start when another has ended, while what came of that is still being stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from render_image import process_gate
from render_image.process_gate import ProcessGate
from render_image.process_limit import ProcessLimit


@pytest.fixture(autouse=True)
def roomy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(process_gate, "available_memory", lambda: 2**40)


def in_gate(scene: Callable[[ProcessGate], Coroutine[Any, Any, None]]) -> None:
    """Play it at a gate for one process at a time."""

    async def play() -> None:
        async with ProcessGate(ProcessLimit(1, sleeps=False, at_most=1)) as gate:
            await asyncio.wait_for(scene(gate), 60)

    asyncio.run(play())


def test_one_starts_while_what_came_of_another_is_stored():
    async def scene(gate: ProcessGate) -> None:
        async with gate.admission() as has_ended:
            next_one = asyncio.create_task(pass_through(gate))
            has_ended()
            await next_one

    in_gate(scene)


def test_none_starts_before_that():
    async def scene(gate: ProcessGate) -> None:
        async with gate.admission():
            next_one = asyncio.create_task(pass_through(gate))
            await a_few_turns()
            assert not next_one.done()
        await next_one

    in_gate(scene)


def test_none_starts_without_memory_before_what_came_of_another_is_stored(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(process_gate, "available_memory", lambda: 2**20)

    async def scene(gate: ProcessGate) -> None:
        async with gate.admission() as has_ended:
            next_one = asyncio.create_task(pass_through(gate))
            has_ended()
            await a_few_turns()
            assert not next_one.done()
        await next_one

    in_gate(scene)


def test_who_is_told_of_an_end_twice_counts_it_once():
    async def scene(gate: ProcessGate) -> None:
        async with gate.admission() as has_ended:
            has_ended()
            has_ended()
        async with gate.admission():
            next_one = asyncio.create_task(pass_through(gate))
            await a_few_turns()
            assert not next_one.done()
        await next_one

    in_gate(scene)


async def pass_through(gate: ProcessGate) -> None:
    async with gate.admission():
        pass


async def a_few_turns() -> None:
    for _ in range(100):
        await asyncio.sleep(0)
