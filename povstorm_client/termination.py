"""How a command is stopped: SIGTERM and SIGHUP end it as Ctrl-C does, and a line says so.

cli.py asks for it; the commands see Terminated.

By default they would end it where it stands: with the cursor hidden, what the flow had rendered
meanwhile not saved, and not a word on how to go on.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Terminated(KeyboardInterrupt):
    """Raised in the main thread where a signal other than Ctrl-C ends the command."""


class ToldInterrupt(KeyboardInterrupt):
    """Raised in place of a KeyboardInterrupt, after a line has said what was stopped."""


def tell_stopped(more: str = "") -> None:
    """Say in a line that the command was stopped; more: how to go on."""
    print(f"povstorm: stopped{more}", file=sys.stderr, flush=True)


def end_as_by_ctrl_c() -> list[signal.Signals]:
    """Have the first SIGTERM or SIGHUP raise Terminated; those that the caller ignores stay so.

    Returns a list that is empty until then, and has the signal afterwards.

    Those that follow are the same wish: timeout(1) sends two, and a terminal that is closed has
    the kernel send one and the shell another. Who does not want to wait presses Ctrl-C, or kills.
    """
    ended_by: list[signal.Signals] = []
    terminals = [number for number in (1, 2) if os.isatty(number)]

    def end(number: int, _frame: FrameType | None) -> None:
        for each in heard:
            signal.signal(each, _nothing)
        ended_by.append(signal.Signals(number))
        if number == signal.SIGHUP:
            _leave(terminals)
        raise Terminated

    # nohup(1) has SIGHUP ignored.
    heard = [each for each in _SIGNALS if signal.getsignal(each) == signal.SIG_DFL]
    for each in heard:
        signal.signal(each, end)
    return ended_by


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """Not SIG_IGN, which the processes that are started from here would inherit."""


def _leave(terminals: list[int]) -> None:
    """Whatever is printed on a terminal that has been closed would be an error (EIO)."""
    null = os.open(os.devnull, os.O_WRONLY)
    for number in terminals:
        os.dup2(null, number)
    os.close(null)
