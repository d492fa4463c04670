"""How long a frame has had: time in which all of the machine stood still is not its own."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from render_image.frame_limits import Limits
from render_image.process_watch import Watch

# As often as nobody waits for a frame to be parsed.
SLEEP = 0.2


class MovedMachine:
    """Time that goes on without anybody being at work: by so many seconds at each sleep."""

    def __init__(self, *stood_still: float) -> None:
        self.now = 1000.0
        self.looks = 0
        self._stood_still = list(stood_still)

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.looks += 1
        self.now += seconds + (self._stood_still.pop(0) if self._stood_still else 0.0)


def reason_to_stop(
    machine: MovedMachine, log: Path, patch: pytest.MonkeyPatch, **times: float | None
) -> tuple[str, bool]:
    """Why a process that prints nothing is stopped, and whether its time was over."""
    patch.setattr(time, "monotonic", machine.monotonic)
    patch.setattr(asyncio, "sleep", machine.sleep)
    limits = Limits(stall_seconds=times.get("stall"))
    with log.open("w+b") as output:
        watch = Watch(
            lambda: None, timeout=times.get("timeout"), limits=limits, log=output, folders=()
        )
        reason = asyncio.run(watch.run())
    return reason, watch.timed_out


@pytest.mark.parametrize("moves", [(), (60.0,), (60.0, 0.0, 3600.0)])
def test_a_stall_is_counted_in_seconds_in_which_it_could_have_gone_on(
    moves: tuple[float, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    machine = MovedMachine(*moves)

    reason, timed_out = reason_to_stop(machine, tmp_path / "log", monkeypatch, stall=10.0)

    assert "made no progress for 10 s" in reason
    assert not timed_out
    assert machine.looks * SLEEP == pytest.approx(10.0, abs=2 * SLEEP)


@pytest.mark.parametrize("moves", [(), (60.0,)])
def test_so_is_all_of_its_time(
    moves: tuple[float, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    machine = MovedMachine(*moves)

    reason, timed_out = reason_to_stop(machine, tmp_path / "log", monkeypatch, timeout=10.0)

    assert (reason, timed_out) == ("", True)
    assert machine.looks * SLEEP == pytest.approx(10.0, abs=2 * SLEEP)


def test_a_machine_that_is_slow_all_the_time_does_not_stop_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    machine = MovedMachine(*[1.0] * 1000)

    assert reason_to_stop(machine, tmp_path / "log", monkeypatch, timeout=10.0) == ("", True)
    assert machine.looks < 10
