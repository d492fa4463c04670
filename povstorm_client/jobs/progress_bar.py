"""The progress of a running job in the terminal: frames done and failed, phase, time left.

Job.run shows it. Where the output is no terminal, a line is printed for each change of phase and
every ten seconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from povstorm_client.jobs.remaining_time import seconds_left
from povstorm_client.jobs.state import JobState
from povstorm_client.quantities import duration
from povstorm_client.terminal import plain_console, printable

_SECONDS_BETWEEN_LINES = 10.0
_STARTING = "starting Prefect"

Show = Callable[[JobState], None]


@contextmanager
def progress_bar(name: str, total: int, *, visible: bool = True) -> Iterator[Show]:
    """A function that shows a JobState, for as long as the block runs; output goes to stderr."""
    if not visible:
        yield lambda state: None
    elif sys.stderr.isatty():
        with _bar(name, total) as show:
            yield show
    else:
        yield _lines(printable(name))


@contextmanager
def _bar(name: str, total: int) -> Iterator[Show]:
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    bar = Progress(
        SpinnerColumn(),
        TextColumn("[bold]{task.description}"),
        TextColumn("{task.fields[phase]}", style="cyan"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        console=plain_console(stderr=True),
    )
    with bar:
        row = bar.add_task(escape(name), total=total, phase=_STARTING, counts="", left="")

        def show(state: JobState) -> None:
            bar.update(
                row,
                completed=state.video_frames
                if state.phase == "stitching"
                else state.done + state.failed,
                phase=escape(_phase(state)),
                counts=_counts(state, colour=True),
                left=_left(state),
            )

        yield show


def _lines(name: str) -> Show:
    seen, next_line = "", 0.0

    def show(state: JobState) -> None:
        nonlocal seen, next_line
        if state.phase == seen and time.monotonic() < next_line:
            return
        seen, next_line = state.phase, time.monotonic() + _SECONDS_BETWEEN_LINES
        counts, left = _counts(state, colour=False), _left(state)
        print(
            f"{name}: {printable(_phase(state))}, {state.done} of {state.total} frames"
            + (f" ({counts})" if counts else "")
            + (f", {left}" if left else ""),
            file=sys.stderr,
            flush=True,
        )

    return show


def _counts(state: JobState, *, colour: bool) -> str:
    parts = []
    if state.cached:
        parts.append(f"{state.cached} from cache")
    if state.running:
        parts.append(f"{state.running} running")
    if state.failed:
        failed = f"{state.failed} failed"
        parts.append(f"[red]{failed}[/]" if colour else failed)
    return ", ".join(parts)


def _phase(state: JobState) -> str:
    return _STARTING if state.phase == "submitted" else state.phase


def _left(state: JobState) -> str:
    left = seconds_left(state, time.time())
    return "" if left is None else f"about {duration(left)} left"
