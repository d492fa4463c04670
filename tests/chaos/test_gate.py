"""A call that the gate holds waits for its fault, and is to be repeated then."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.chaos import gate as gate_module
from tests.chaos.gate import Gate


@pytest.fixture
def gate() -> Gate:
    made = Gate()
    made.close("join", lambda kind, name: (kind, name) == ("compose", "video.mp4"))
    return made


def test_it_holds_what_its_fault_is_to_come_before_and_nothing_else(gate: Gate):
    assert gate.admit("insert", "video.mp4")
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(gate.admit, "compose", "video.mp4")
        while not gate.is_waited_for("join"):
            assert not held.done()
        gate.open("join")
        assert held.result() is False
    assert not gate.is_waited_for("join")
    assert gate.admit("compose", "video.mp4"), "the fault has come"


def test_another_fault_lets_go_who_may_be_gone_by_it_and_holds_who_asks_again(gate: Gate):
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(gate.admit, "compose", "video.mp4")
        while not gate.is_waited_for("join"):
            assert not held.done()
        gate.open("another")
        assert held.result() is False
        again = pool.submit(gate.admit, "compose", "video.mp4")
        while not gate.is_waited_for("join"):
            assert not again.done()
        gate.open("join")


def test_a_fault_that_never_comes_holds_nobody_for_ever(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(gate_module, "_MOST_SECONDS", 0.01)
    assert gate.admit("compose", "video.mp4")
    assert not gate.is_waited_for("join")
