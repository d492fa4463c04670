"""The table of a job's statistics says what matters, in plain text that fits the terminal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from povstorm_client.frames.result import FrameResult, FrameStatistics
from povstorm_client.jobs.statistics import JobStatistics
from povstorm_client.jobs.statistics_table import statistics_table
from povstorm_client.jobs.summarize import summarize

VIDEO = {"frames": 3, "width": 64, "height": 48, "fps": "24", "codec": "h264", "bytes": 8_400_000}


def rendered(frame: int, seconds: float = 1.0, **changes: Any) -> FrameResult:
    taken = FrameStatistics(
        parse_seconds=seconds / 4,
        bounding_seconds=0.0,
        photon_seconds=0.0,
        radiosity_seconds=0.0,
        trace_seconds=seconds * 3 / 4,
        cpu_seconds=seconds,
        wall_seconds=seconds,
        peak_memory_bytes=50 * 2**20,
        pixels=1_000_000,
        rays=2_000_000,
        samples=None,
        image_bytes=1_500_000,
    )
    result = FrameResult(
        work_unit_id=f"frame-{frame}",
        job_id="job",
        frame=frame,
        state="rendered",
        attempt=1,
        host="host",
        started=1.0,
        ended=2.0,
        image_bytes=1_500_000,
        statistics=taken,
    )
    return replace(result, **changes)


def failed(frame: int, error: str) -> FrameResult:
    return rendered(frame, state="failed", image_bytes=0, statistics=None, error=error)


def statistics_of(
    results: list[FrameResult],
    *,
    frames: int,
    name: str = "orbit",
    seconds: float = 2.0,
    video: dict[str, Any] | None = None,
    cores: float | None = None,
) -> JobStatistics:
    return summarize(
        results,
        job_id="job",
        name=name,
        expected_frames=range(1, frames + 1),
        started=0.0,
        ended=seconds,
        video=video,
        cores=cores,
    )


def test_a_finished_job_shows_totals_percentiles_and_slowest_frames():
    results = [rendered(1, 4.0), rendered(2, 8.0), rendered(3, 12.0, attempt=3)]
    text = str(statistics_of(results, frames=3, seconds=12.0, video=VIDEO, cores=4))
    assert text == (
        "\n"
        "orbit: 3 of 3 frames; rendering took 12 s\n"
        "  POV-Ray  own loop 12 s on 4 cores (estimate)\n"
        "  CPU      24 s\n"
        "  phases   parse 25 %, trace 75 %\n"
        "  memory   50 MiB at most in a frame\n"
        "  images   4.5 MB, 3.0 million pixels, 6.0 million rays\n"
        "  video    3 frames at 24 a second, 64x48 h264, 8.4 MB\n"
        "  retries  2\n"
        "\n"
        "  seconds          median      90 %      99 %      most\n"
        "           wall      8.00     12.00     12.00     12.00\n"
        "           CPU       8.00     12.00     12.00     12.00\n"
        "  slowest  3 (12.00 s), 2 (8.00 s), 1 (4.00 s)"
    )


def test_a_commands_time_is_all_of_it_and_compared_with_povrays_own_loop():
    # The loop: 12 s and what it waits.
    results = [rendered(1, 4.0), rendered(2, 8.0), rendered(3, 12.0)]
    statistics = statistics_of(results, frames=3, seconds=7.0, cores=4)
    text = statistics_table(statistics, whole_seconds=24.0)
    assert "orbit: 3 of 3 frames; 24 s in all, of which rendering 7.0 s" in text
    assert "12 s on 4 cores (estimate); this took 2.1x as long" in " ".join(text.split())
    quick = " ".join(statistics_table(statistics, whole_seconds=8.0).split())
    assert "this was 1.5x as fast" in quick


@pytest.mark.parametrize("earlier", [{"cache_hit": True}, {"started": -1.0}])
def test_the_own_loop_is_only_that_of_the_frames_rendered_now(earlier: dict[str, Any]):
    statistics = statistics_of([rendered(1), rendered(2, **earlier)], frames=2, cores=2)
    assert "for the 1 rendered now on 2 cores" in " ".join(str(statistics).split())


def test_what_is_said_of_the_own_loop_fits_a_terminal_of_80_columns():
    statistics = statistics_of([rendered(1, 1000.0)], frames=1, seconds=7.0, cores=128)
    text = statistics_table(statistics, console_width=80, whole_seconds=5000.0)
    assert any("own loop" in line and line.endswith("long") for line in text.splitlines())


def test_a_single_frame_has_no_percentiles():
    text = str(statistics_of([rendered(1, 4.0)], frames=1))
    assert "seconds  4.00, CPU 4.00" in text
    assert "median" not in text
    assert "slowest" not in text


def test_failures_are_named_with_their_reason_and_missing_frames_as_ranges():
    text = str(statistics_of([rendered(1), failed(2, "no such file")], frames=6))
    assert "orbit: 1 of 6 frames, 1 failed; rendering took 2.0 s" in text
    assert "failed   frame 2: no such file" in text
    assert "missing  2-6" in text


def test_many_failures_are_counted_after_the_first_five():
    text = str(statistics_of([failed(n, f"reason {n}.") for n in range(1, 9)], frames=8))
    assert [f"reason {n}." in text for n in range(1, 9)] == [True] * 5 + [False] * 3
    assert "… and 3 more failed frames" in text


def test_a_job_all_from_the_cache_shows_no_times():
    text = str(statistics_of([rendered(1, cache_hit=True)], frames=1, video=VIDEO))
    assert "1 of 1 frame, 1 from cache" in text
    assert "video" in text
    assert "own loop" not in text
    assert "median" not in text
    assert "phases" not in text


def test_a_job_with_nothing_rendered_has_a_table_too():
    assert str(statistics_of([], frames=2, seconds=0.0)) == (
        "\norbit: 0 of 2 frames; rendering took 0.0 s\n\n  missing  1-2"
    )


def test_names_and_errors_are_shown_as_they_are():
    text = str(
        statistics_of([failed(1, "unknown [/b] :boom: [red]")], frames=1, name="a [/x] :smile: [b]")
    )
    assert "a [/x] :smile: [b]: 0 of 1 frame" in text
    assert "unknown [/b] :boom: [red]" in text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.04 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599.6, "1 h 00 min"),
        (7_260, "2 h 01 min"),
    ],
)
def test_durations_read_well_at_every_length(seconds: float, words: str):
    assert str(statistics_of([], frames=0, seconds=seconds)) == (
        f"\norbit: 0 of 0 frames; rendering took {words}"
    )


@given(st.integers(40, 200), st.text(max_size=300), st.floats(1e-3, 1e6))
def test_it_is_plain_and_never_wider_than_the_console(width: int, error: str, seconds: float):
    statistics = statistics_of([rendered(1, seconds), failed(2, error)], frames=900, video=VIDEO)
    text = statistics_table(statistics, console_width=width)
    assert "\x1b[" not in text.replace(error, "")
    if error.isascii():
        # Others can be two columns wide, or none.
        assert max(map(len, text.splitlines())) <= width
