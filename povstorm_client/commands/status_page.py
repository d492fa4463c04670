"""What ``povstorm status`` shows of a job: counts, rate, a map of the frames, failures, tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from povstorm_client.cloud_run.api import ExecutionState
from povstorm_client.commands.status_map import frame_map
from povstorm_client.frames.ranges import frame_ranges
from povstorm_client.jobs.overview import FrameOverview
from povstorm_client.jobs.remaining_time import left_words
from povstorm_client.jobs.state import LOST_SECONDS, JobState
from povstorm_client.launch.kept_journals import Teller
from povstorm_client.quantities import age_words, counted, duration, usd
from povstorm_client.terminal import one_line

_BAR = 60
_PERCENT = len("  100 %")
_EXECUTION_BAR = 12
# Beside longer names there is no room for a bar.
_SHORT_NAME = 20
_MOST_FAILURES = 3
_MOST_EXECUTIONS = 4
_COLOURS = {"completed": "bold green", "failed": "bold red", "cancelled": "bold yellow"}


@dataclass(frozen=True)
class StatusPage:
    """All that is shown.

    now: Unix seconds. teller: of a run that Prefect is not told all of yet. slowest: frames with
    their seconds, the slowest first. usd: planned, and billed so far; None where nothing was
    planned. notes: what could not be read.
    """

    job_id: str
    state: JobState | None
    overview: FrameOverview
    now: float
    teller: Teller = "unknown"
    executions: Sequence[ExecutionState] = ()
    slowest: Sequence[tuple[int, float]] = ()
    usd: tuple[float, float] | None = None
    notes: Sequence[str] = ()

    def render(self, *, columns: int = 80, ascii_only: bool = False) -> RenderableType:
        """The page for a terminal of so many columns; it is readable without colours."""
        bar = max(1, min(_BAR, columns - _PERCENT))
        blocks: list[list[RenderableType]] = [
            [self._head(), _bar(self._share, bar, ascii_only=ascii_only), *self._counts()],
            [frame_map(self.overview.frames, columns=columns, ascii_only=ascii_only)],
            list(self._failures()),
            list(self._ending()),
            list(self._executions(ascii_only=ascii_only)),
        ]
        lines: list[RenderableType] = []
        for block in filter(None, blocks):
            lines += [Text(), *block] if lines else block
        return Group(*lines)

    @property
    def _share(self) -> float:
        """Of the frames, or of the video while that is made."""
        total = max(1, len(self.overview.frames))
        if self.state is not None and self.state.phase == "stitching":
            return self.state.video_frames / max(1, self.overview.count("rendered"))
        return self.overview.count("rendered") / total

    def _head(self) -> Text:
        text = Text(self.job_id, "bold")
        state = self.state
        if state is None:
            return text.append("  submitted: no flow has begun yet", "not bold cyan")
        text.append(f"  {state.phase}", _COLOURS.get(state.phase, "bold cyan"))
        silent = self.now - state.updated
        if state.ended:
            return text.append(f"  {age_words(silent)} ago", "not bold dim")
        if silent > LOST_SECONDS:
            lost = f"  its flow is silent since {age_words(silent)}: go on with povstorm retry"
            return text.append(lost, "not bold yellow")
        if state.is_silent(self.now):
            words = f"  nothing was heard of its flow for {age_words(silent)}"
            return text.append(words, "not bold yellow")
        return text

    def _counts(self) -> Iterator[Text]:
        overview, state = self.overview, self.state
        done, total = overview.count("rendered"), len(overview.frames)
        words = [f"{done} of {total} rendered"]
        if state is not None and state.cached:
            words.append(f"{state.cached} from the cache")
        if failed := overview.count("failed"):
            words.append(f"{failed} failed")
        if working := overview.count("working"):
            words.append(f"{working} in work")
        if retrying := overview.count("retrying"):
            words.append(f"{retrying} tried again")
        yield Text(", ".join(words))
        if state is None or state.ended or state.is_silent(self.now):
            return
        if state.phase == "stitching":
            yield Text(f"video: {state.video_frames} of {done} frames encoded")
            return
        if state.phase == "rendering" and done + failed < total:
            rate = overview.per_second
            pace = [] if rate is None else [f"{rate * 60:.3g} frames a minute"]
            left = left_words(state, self.now, list(overview.frames))
            if pace or left:
                yield Text(", ".join([*pace, left] if left else pace))

    def _failures(self) -> Iterator[RenderableType]:
        failures, unreadable = self.overview.failures, self.overview.unreadable
        if not failures and not unreadable:
            return
        failed = [frame for frame, at in self.overview.frames.items() if at == "failed"]
        yield Text("failed   ", "bold red").append(frame_ranges(failed), "default not bold")
        for failure in failures[:_MOST_FAILURES]:
            yield _indented(f"{failure.frame}: {one_line(failure.error)}")
        for frame, problem in list(unreadable.items())[:_MOST_FAILURES]:
            yield _indented(f"{frame}: {one_line(problem)}")
        if failures:
            yield _indented(f"look closer: povstorm frame {self.job_id} {failures[0].frame}", "dim")
        if unreadable:
            yield _indented(f"render again: povstorm retry {self.job_id}", "dim")

    def _ending(self) -> Iterator[Text]:
        state = self.state
        if state is not None and state.message and not self.overview.failures:
            colour = "red" if state.phase == "failed" else "default"
            yield Text(one_line(state.message), colour)
        if state is not None and state.unrecorded:
            yield Text(one_line(state.unrecorded), "yellow")
        elif state is not None and state.recording:
            yield self._telling()
        if self.slowest:
            each = [f"{frame}: {duration(seconds)}" for frame, seconds in self.slowest]
            yield Text("slowest  ", "bold").append(", ".join(each), "not bold")
        if self.usd is not None:
            planned, billed = self.usd
            yield Text("cost     ", "bold").append(
                f"{usd(billed)} billed so far, {usd(planned)} planned", "not bold"
            )
        for note in self.notes:
            yield Text(one_line(note), "yellow")

    def _telling(self) -> Text:
        if self.teller == "here":
            return Text("Prefect is still being told of this run", "dim")
        if self.teller == "unknown":
            return Text(
                "Prefect was still being told of this run, by another machine, when its state was "
                "stored: its journal is not here",
                "dim",
            )
        return Text(
            "Prefect has not recorded all of this run yet: what tells it was killed; the next "
            f"run, or povstorm ui {self.job_id}, has it told",
            "yellow",
        )

    def _executions(self, *, ascii_only: bool) -> Iterator[RenderableType]:
        if not self.executions:
            return
        shown = self.executions[:_MOST_EXECUTIONS]
        with_bars = all(len(execution.short_name) <= _SHORT_NAME for execution in shown)
        table = Table.grid(padding=(0, 2))
        for execution in shown:
            share = execution.succeeded / max(1, execution.task_count)
            bar = _bar(share, _EXECUTION_BAR, ascii_only=ascii_only, percent=False)
            words = Text(f"{execution.succeeded} of {execution.task_count} tasks done")
            if execution.completed is None:
                words.append(f", {execution.running} running")
            if execution.failed:
                words.append(", ").append(f"{execution.failed} lost", "red")
            if execution.cancelled:
                words.append(", ").append(f"{execution.cancelled} stopped", "yellow")
            took = duration((execution.completed or self.now) - execution.created)
            table.add_row(
                Text(execution.short_name),
                *([bar] if with_bars else []),
                words,
                Text(f"in {took}" if execution.completed else f"for {took}", "dim"),
            )
        yield table
        if (more := len(self.executions) - _MOST_EXECUTIONS) > 0:
            yield Text(f"and {counted(more, 'earlier execution')}", "dim")


def _bar(share: float, width: int, *, ascii_only: bool, percent: bool = True) -> Text:
    """A bar whose filled part can be told without colour."""
    full, rest = ("#", "-") if ascii_only else ("█", "░")
    filled = int(min(1.0, share) * width)
    text = Text().append(full * filled, "green").append(rest * (width - filled), "dim")
    if percent:
        text.append(f"  {int(share * 100)} %")
    return text


def _indented(words: str, style: str = "") -> Padding:
    return Padding(Text(words, style), (0, 0, 0, 2))
