"""A job's statistics as a table for the terminal; what printing JobStatistics shows."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from povstorm_client.frames.ranges import frame_ranges
from povstorm_client.quantities import amount, byte_size, core_words, counted, duration, memory_size
from povstorm_client.terminal import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from povstorm_client.jobs.statistics import JobStatistics, Percentiles

_WIDTH = 88
_FAILURES_SHOWN = 5
_PHASES = ("parse", "bounding", "photon", "radiosity", "trace")


def statistics_table(
    statistics: JobStatistics, console_width: int = _WIDTH, *, whole_seconds: float | None = None
) -> str:
    """Plain text (no colours), at most console_width columns wide.

    whole_seconds: of the command that shows it, from its start on; rendering is a part of that.

    A line with the outcome, the job's totals, percentiles of a frame's seconds, the slowest
    frames, failures, and the frames without an image; each only if there is something to say.
    """
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    text = io.StringIO()
    # Names and errors are other people's text: no markup, no :emoji: in them.
    console = Console(
        file=text,
        width=console_width,
        color_system=None,
        force_terminal=False,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    console.print(f"\n{statistics.name}: {_outcome(statistics, whole_seconds)}")
    rows = Table.grid(padding=(0, 2))
    rows.add_column(no_wrap=True)
    rows.add_column(overflow="fold")
    for label, value in _rows(statistics, whole_seconds):
        rows.add_row(Text(label), Text(value) if isinstance(value, str) else value)
    if rows.row_count:
        console.print(Padding(rows, (0, 0, 0, 2)))
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    return printable("\n".join(lines).rstrip())


def _outcome(statistics: JobStatistics, whole_seconds: float | None) -> str:
    words = f"{statistics.frames_rendered} of {counted(statistics.frames_expected, 'frame')}"
    if statistics.frames_from_cache:
        words += f", {statistics.frames_from_cache} from cache"
    if statistics.frames_failed:
        words += f", {statistics.frames_failed} failed"
    if whole_seconds is not None:
        words += f"; {duration(whole_seconds)} in all"
        return f"{words}, of which rendering {duration(statistics.elapsed_seconds)}"
    return f"{words}; rendering took {duration(statistics.elapsed_seconds)}"


def _rows(
    statistics: JobStatistics, whole_seconds: float | None
) -> Iterator[tuple[str, RenderableType]]:
    """Labels and what stands beside them."""
    if statistics.own_loop_seconds is not None:
        yield "POV-Ray", _own_loop(statistics, statistics.own_loop_seconds, whole_seconds)
    if statistics.traced_frames:
        traced = counted(statistics.traced_frames, "frame")
        yield "traced", f"{traced} in {duration(statistics.tracing_seconds)}, before rendering"
    if statistics.cpu_percentiles:
        yield "CPU", duration(statistics.cpu_seconds)
    if phases := _phases(statistics):
        yield "phases", phases
    if statistics.frames_rendered:
        yield "memory", f"{memory_size(statistics.peak_memory_bytes)} at most in a frame"
        yield (
            "images",
            f"{byte_size(statistics.image_bytes)}, {amount(statistics.pixels)} pixels, "
            f"{amount(statistics.rays)} rays",
        )
    if statistics.video:
        yield "video", _video(statistics)
    if statistics.retries:
        yield "retries", str(statistics.retries)
    yield from _seconds(statistics)
    failed = [line for line in statistics.frames if line.state == "failed"]
    if failed or statistics.frames_missing:
        yield "", ""
    for line in failed[:_FAILURES_SHOWN]:
        yield "failed", f"frame {line.frame}: {line.error or 'no reason is known'}"
    if len(failed) > _FAILURES_SHOWN:
        yield "", f"… and {len(failed) - _FAILURES_SHOWN} more failed frames"
    if statistics.frames_missing:
        yield "missing", frame_ranges(statistics.frames_missing)


def _seconds(statistics: JobStatistics) -> Iterator[tuple[str, RenderableType]]:
    """What a frame took; of a single one there is no spread to tell."""
    wall, cpu = statistics.wall_percentiles, statistics.cpu_percentiles
    if wall is None or cpu is None:
        return
    if statistics.rendered_now == 1:
        yield "seconds", f"{wall.p50:.2f}, CPU {cpu.p50:.2f}"
        return
    yield "", ""
    yield "seconds", _percentile_line("", ("median", "90 %", "99 %", "most"))
    yield "", _percentile_line("wall", _cells(wall))
    yield "", _percentile_line("CPU", _cells(cpu))
    yield "slowest", _slowest(statistics)


def _own_loop(
    statistics: JobStatistics, own_loop_seconds: float, whole_seconds: float | None
) -> str:
    """How long POV-Ray's own loop would take, and how the whole command compares."""
    now = statistics.rendered_now
    which = f" for the {now} rendered now" if now < statistics.frames_rendered else ""
    cores = "" if statistics.cores is None else f" on {core_words(statistics.cores)}"
    words = f"own loop {duration(own_loop_seconds)}{which}{cores} (estimate)"
    if not whole_seconds:
        return words
    ratio = own_loop_seconds / whole_seconds
    return f"{words}; " + (
        f"this was {ratio:.1f}x as fast" if ratio >= 1 else f"this took {1 / ratio:.1f}x as long"
    )


def _phases(statistics: JobStatistics) -> str:
    """What part of POV-Ray's own time went where, e.g. ``"parse 3 %, trace 97 %"``."""
    seconds = {
        phase: sum(
            getattr(line, f"{phase}_seconds") or 0.0
            for line in statistics.frames
            if not line.cache_hit
        )
        for phase in _PHASES
    }
    total = sum(seconds.values())
    if total <= 0:
        return ""
    shares = {phase: round(100 * spent / total) for phase, spent in seconds.items()}
    return ", ".join(f"{phase} {share} %" for phase, share in shares.items() if share)


def _video(statistics: JobStatistics) -> str:
    video = statistics.video or {}
    return (
        f"{video.get('frames')} frames at {video.get('fps')} a second, "
        f"{video.get('width')}x{video.get('height')} {video.get('codec')}, "
        f"{byte_size(int(video.get('bytes', 0)))}"
    )


def _slowest(statistics: JobStatistics) -> str:
    wall = {line.frame: line.wall_seconds or 0.0 for line in statistics.frames}
    return ", ".join(
        f"{frame} ({wall.get(frame, 0.0):.2f} s)" for frame in statistics.slowest_frames
    )


def _percentile_line(name: str, cells: tuple[str, ...]) -> str:
    return f"{name:<4}" + "".join(f"{cell:>10}" for cell in cells)


def _cells(values: Percentiles) -> tuple[str, ...]:
    return tuple(f"{value:.2f}" for value in (values.p50, values.p90, values.p99, values.maximum))
