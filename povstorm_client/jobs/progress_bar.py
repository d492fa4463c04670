"""The progress of a running job in the terminal: frames done and failed, phase, time left.

Job.run and follow show it; `povstorm fetch` shows how much is saved, read_scene how much is parsed.
Where the output is no terminal, a line is printed for each change of phase and every ten seconds.
What frames wait for is a line of its own, once.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from typing import TYPE_CHECKING

from povstorm_client.jobs.remaining_time import left_words
from povstorm_client.jobs.state import JobState
from povstorm_client.quantities import counted
from povstorm_client.terminal import plain_console, printable

if TYPE_CHECKING:
    from rich.table import Column

_SECONDS_BETWEEN_LINES = 10.0
_STARTING = "starting"
# In columns, where the terminal is narrow.
_SHORT_BAR = 10
_MOST_OF_A_NAME = 12

Show = Callable[[JobState], None]
# Is told how many are done, of how many.
Count = Callable[[int, int], None]


@contextmanager
def progress_bar(
    name: str,
    frames: Sequence[int],
    *,
    visible: bool = True,
    read: Callable[[int], bytes] | None = None,
) -> Iterator[Show]:
    """A function that shows a JobState, for as long as the block runs; output goes to stderr.

    frames: the job's, ascending. read: a frame's image as a PNG, of which a terminal that can is
    shown the last; raises PovstormError. None shows no pictures.
    """
    if not visible:
        yield lambda state: None
    elif sys.stderr.isatty():
        with _bar(name, frames, read) as show:
            yield show
    else:
        yield _lines(printable(name), frames)


def saving_bar(name: str) -> AbstractContextManager[Count]:
    """A function that shows how many files are saved, of how many, for as long as the block runs.

    Where stderr is no terminal a line is printed every ten seconds, and none of what is soon done.
    """
    return _counting_bar(name, "saving", "files are saved")


def parsing_bar(name: str) -> AbstractContextManager[Count]:
    """The same of frames that are parsed before any is rendered."""
    return _counting_bar(name, "parsing", "frames are parsed")


@contextmanager
def _counting_bar(name: str, doing: str, done_words: str) -> Iterator[Count]:
    if sys.stderr.isatty():
        from rich.markup import escape
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

        from povstorm_client.jobs.fitting_bar import FittingBar

        name_column, done_column = TextColumn("[bold]{task.description}"), MofNCompleteColumn()
        short_name = TextColumn("[bold]{task.description}", table_column=_short_name())
        lines = (
            (name_column, BarColumn(), done_column),
            (name_column, BarColumn(_SHORT_BAR), done_column),
            (short_name, BarColumn(_SHORT_BAR), done_column),
            (short_name, done_column),
            (done_column,),
        )
        bar = FittingBar(plain_console(stderr=True), lines)
        row = bar.add_task(f"{doing} {escape(name)}", total=None)

        def show_bar(done: int, total: int) -> None:
            # Where there is nothing to save there is nothing to show.
            if not bar.live.is_started:
                bar.start()
            bar.update(row, completed=done, total=total)

        try:
            yield show_bar
        finally:
            bar.stop()
        return
    next_line = time.monotonic() + _SECONDS_BETWEEN_LINES

    def show(done: int, total: int) -> None:
        nonlocal next_line
        if time.monotonic() >= next_line:
            next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
            words = f"{printable(name)}: {done} of {total} {done_words}"
            print(words, file=sys.stderr, flush=True)

    yield show


def _short_name() -> Column:
    from rich.table import Column

    return Column(no_wrap=True, max_width=_MOST_OF_A_NAME)


@contextmanager
def _bar(name: str, frames: Sequence[int], read: Callable[[int], bytes] | None) -> Iterator[Show]:
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    from povstorm_client.jobs.fitting_bar import FittingBar
    from povstorm_client.jobs.last_frame import last_frame

    begin = (SpinnerColumn(), TextColumn("[bold]{task.description}"))
    short = (begin[0], TextColumn("[bold]{task.description}", table_column=_short_name()))
    phase = TextColumn("{task.fields[phase]}", style="cyan")
    wide, narrow, done = BarColumn(), BarColumn(_SHORT_BAR), MofNCompleteColumn()
    counts, elapsed = TextColumn("{task.fields[counts]}"), TimeElapsedColumn()
    bounded, left = TextColumn("{task.fields[bounded]}"), TextColumn("{task.fields[left]}")
    lines = (
        (*begin, phase, wide, done, counts, elapsed, bounded),
        (*begin, phase, narrow, done, counts, elapsed, bounded),
        (*begin, phase, narrow, done, counts, elapsed, left),
        (*begin, phase, narrow, done, elapsed, left),
        (*short, phase, narrow, done, elapsed, left),
        (*short, narrow, done, elapsed, left),
        (*short, done, elapsed, left),
        (*short, done, left),
        (done, left),
        (done,),
    )
    bar = FittingBar(plain_console(stderr=True), lines)
    picture = last_frame(bar, read)
    with closing(picture) if picture is not None else nullcontext(), bar:
        row = bar.add_task(
            escape(name), total=len(frames), phase=_STARTING, counts="", bounded="", left=""
        )

        news, latest = _News(), _Latest()

        def show(state: JobState) -> None:
            if picture is not None and (frame := latest.of(state)) is not None:
                picture.show(frame)
            if line := news.of(state):
                bar.console.print(line, style="yellow", markup=False, highlight=False)
            bar.update(
                row,
                completed=state.video_frames
                if state.phase == "stitching"
                else state.done + state.failed,
                phase=escape(_phase(state)),
                counts=_counts(state, colour=True),
                bounded=(bounded := _left(state, frames)),
                left=bounded.partition(" (")[0],
            )

        yield show


def _lines(name: str, frames: Sequence[int]) -> Show:
    seen, next_line, news = "", 0.0, _News()

    def show(state: JobState) -> None:
        nonlocal seen, next_line
        if line := news.of(state):
            print(f"{name}: {line}", file=sys.stderr, flush=True)
        if state.phase == seen and time.monotonic() < next_line:
            return
        seen, next_line = state.phase, time.monotonic() + _SECONDS_BETWEEN_LINES
        counts, left = _counts(state, colour=False), _left(state, frames)
        print(
            f"{name}: {printable(_phase(state))}, {state.done} of "
            + counted(state.total, "frame")
            + (f" ({counts})" if counts else "")
            + (f", {left}" if left else ""),
            file=sys.stderr,
            flush=True,
        )

    return show


class _News:
    """What is said of a running job that was not said before."""

    def __init__(self) -> None:
        self._said = ""

    def of(self, state: JobState) -> str:
        """The state's message if it is another one, "" otherwise; the end's is told by Job.run."""
        if state.ended or state.message == self._said:
            return ""
        self._said = state.message
        return printable(state.message)


class _Latest:
    """Which frame is the last that was rendered, as far as states tell."""

    def __init__(self) -> None:
        self._runs: tuple[tuple[int, int], ...] = ()
        self._frame: int | None = None

    def of(self, state: JobState) -> int | None:
        """The last of those that are new in the state; None while there is none."""
        if state.rendered != self._runs:
            ends = dict(self._runs)
            known_ends = set(ends.values())
            for first, last in state.rendered:
                if ends.get(first) == last:
                    continue
                if last not in known_ends:
                    self._frame = last
                else:
                    # It has grown at its beginning, or joins two.
                    self._frame = ends[first] + 1 if first in ends else first
            self._runs = state.rendered
        return self._frame


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


def _left(state: JobState, frames: Sequence[int]) -> str:
    return left_words(state, time.time(), frames)
