"""A job's statistics as a table for the terminal; what printing JobStatistics shows."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from povstorm_client.frame_ranges import frame_ranges

if TYPE_CHECKING:
    from rich.table import Table

    from povstorm_client.job_statistics import JobStatistics, Percentiles

_WIDTH = 88
_FAILURES_SHOWN = 5


def statistics_table(statistics: JobStatistics) -> str:
    """Plain text, at most 88 columns wide: totals, times, slowest frames, failures."""
    from rich.console import Console

    text = io.StringIO()
    console = Console(file=text, width=_WIDTH, color_system=None, highlight=False)
    console.print(f"\n{statistics.name}: {_frames(statistics)}")
    if statistics.wall_percentiles and statistics.cpu_percentiles:
        console.print(_totals(statistics))
        console.print(_times(statistics))
        console.print(f"slowest frames: {_slowest(statistics)}")
    failed = [line for line in statistics.frames if line.state == "failed"]
    for line in failed[:_FAILURES_SHOWN]:
        console.print(f"frame {line.frame} failed: {line.error}", markup=False, soft_wrap=True)
    if len(failed) > _FAILURES_SHOWN:
        console.print(f"… and {len(failed) - _FAILURES_SHOWN} more failed frames")
    if statistics.frames_missing:
        console.print(f"not rendered: {frame_ranges(statistics.frames_missing)}")
    return text.getvalue().rstrip()


def _frames(statistics: JobStatistics) -> str:
    words = f"{statistics.frames_rendered} of {statistics.frames_expected} frames"
    if statistics.frames_from_cache:
        words += f", {statistics.frames_from_cache} from cache"
    if statistics.frames_failed:
        words += f", {statistics.frames_failed} failed"
    return f"{words} in {_seconds(statistics.elapsed_seconds)}"


def _totals(statistics: JobStatistics) -> str:
    speed_up = f"{statistics.speed_up:.1f}x" if statistics.speed_up else "-"
    return (
        f"{speed_up} as fast as one by one ({_seconds(statistics.wall_seconds)})\n"
        f"{_seconds(statistics.cpu_seconds)} CPU, {statistics.rays:,} rays, "
        f"{statistics.image_bytes / 1e6:.1f} MB of images, "
        f"peak memory of a frame {statistics.peak_memory_bytes / 2**20:.0f} MiB"
    )


def _times(statistics: JobStatistics) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("seconds a frame")
    for heading in ("median", "90 %", "99 %", "slowest"):
        table.add_column(heading, justify="right")
    for name, values in (
        ("wall", statistics.wall_percentiles),
        ("CPU", statistics.cpu_percentiles),
    ):
        table.add_row(name, *_percentile_cells(values))
    return table


def _slowest(statistics: JobStatistics) -> str:
    seconds = {line.frame: line.wall_seconds or 0.0 for line in statistics.frames}
    return ", ".join(f"{frame} ({seconds[frame]:.2f} s)" for frame in statistics.slowest_frames)


def _percentile_cells(values: Percentiles | None) -> list[str]:
    if values is None:
        return ["-"] * 4
    return [f"{value:.2f}" for value in (values.p50, values.p90, values.p99, values.maximum)]


def _seconds(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
