"""A job's statistics add up, survive storage, and are documented field by field."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from povstorm_client.frame_ranges import frame_ranges
from povstorm_client.frame_result import FrameResult, FrameStatistics
from povstorm_client.job_statistics import JobStatistics, field_names, summarize

START = 1_000.0
DOCUMENTATION = Path(__file__).parents[2] / "docs" / "statistics.md"


def result(frame: int, *, wall: float = 1.0, state: str = "rendered", cached: bool = False):
    taken = FrameStatistics(0.1, 0.0, 0.0, 0.0, 0.8, 0.9 * wall, wall, 2**20, 768, 900, 10, 555)
    rendered = state == "rendered"
    return FrameResult(
        work_unit_id=f"frame-{frame}",
        job_id="job",
        frame=frame,
        state=state,
        attempt=2,
        host="host",
        started=START - 500 if cached else START + 1,
        ended=START + 2,
        cache_hit=cached,
        image=f"frame_{frame}.png" if rendered else "",
        image_bytes=555 if rendered else 0,
        statistics=taken if rendered else None,
        error="" if rendered else "no such file",
    )


def statistics_of(results: list[FrameResult], expected: range, seconds: float = 2.0):
    return summarize(
        results,
        job_id="job",
        name="name",
        expected_frames=expected,
        started=START,
        ended=START + seconds,
        video=None,
    )


results = st.lists(
    st.tuples(
        st.floats(0.001, 1e4),
        st.sampled_from(["rendered", "failed", "cached"]),
    ),
    max_size=30,
).map(
    lambda frames: [
        result(
            number,
            wall=wall,
            state="failed" if kind == "failed" else "rendered",
            cached=kind == "cached",
        )
        for number, (wall, kind) in enumerate(frames, start=1)
    ]
)


@given(results, st.floats(0, 1e5))
def test_totals_add_up_and_percentiles_ascend(results: list[FrameResult], seconds: float):
    found = statistics_of(results, range(1, len(results) + 3), seconds)
    assert found.frames_rendered + found.frames_failed == len(results)
    assert len(found.frames_missing) == found.frames_expected - found.frames_rendered
    now = [line for line in results if line.state == "rendered" and not line.cache_hit]
    assert found.wall_seconds == pytest.approx(sum(r.statistics.wall_seconds for r in now))
    assert (found.wall_percentiles is None) == (not now)
    if found.wall_percentiles:
        p = found.wall_percentiles
        assert p.p50 <= p.p90 <= p.p99 <= p.maximum
        assert p.maximum == max(r.statistics.wall_seconds for r in now)
    assert str(found)


@given(results)
def test_statistics_survive_storage(results: list[FrameResult]):
    found = statistics_of(results, range(1, len(results) + 1))
    assert JobStatistics.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_the_speed_up_compares_with_one_after_another():
    assert statistics_of([result(1, wall=3), result(2, wall=5)], range(1, 3), 2.0).speed_up == 4.0


def test_frames_from_the_cache_count_as_rendered_but_not_as_work():
    found = statistics_of([result(1, cached=True), result(2)], range(1, 3))
    assert (found.frames_rendered, found.frames_from_cache, found.attempts) == (2, 1, 2)
    assert found.wall_seconds == 1.0


def test_the_table_names_failures_and_missing_frames():
    text = str(statistics_of([result(1), result(2, state="failed")], range(1, 5)))
    assert "1 of 4 frames, 1 failed" in text
    assert "frame 2 failed: no such file" in text
    assert "not rendered: 2-4" in text
    assert max(map(len, text.splitlines())) <= 88


@pytest.mark.parametrize(
    ("frames", "text"),
    [([], ""), ([3], "3"), ([1, 2, 3, 5, 7, 8], "1-3, 5, 7-8"), ([2, 1, 2], "1-2")],
)
def test_frame_numbers_are_written_as_ranges(frames: list[int], text: str):
    assert frame_ranges(frames) == text


def test_long_lists_of_frames_are_cut():
    assert frame_ranges(range(0, 200, 2)).endswith("… (100 in all)")


def test_every_field_of_statistics_json_is_documented_and_nothing_else():
    documented = [
        line.split("`")[1]
        for line in DOCUMENTATION.read_text().splitlines()
        if line.startswith("| `")
    ]
    assert documented == [name for names in field_names().values() for name in names]
