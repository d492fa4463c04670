"""The report's plots: time without long pauses, lanes without overlaps, SVG for light and dark."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from povstorm_client.storage.folder import FolderStorage
from tasks.report.facts import Span
from tasks.report.figure import Plot, even_ticks, logarithmic_ticks, seconds_words
from tasks.report.gather import gather
from tasks.report.lanes import lay_out
from tasks.report.seconds_plot import seconds_plot
from tasks.report.time_scale import TimeScale
from tasks.report.timeline_plot import timeline, timeline_plot
from tests.synthetic_job import cloud_run, local_run

moments = st.floats(0, 1000)
stretches = st.lists(st.tuples(moments, moments).map(sorted).map(tuple), min_size=1, max_size=12)


def test_a_night_between_two_runs_takes_little_of_the_axis():
    scale = TimeScale([(0, 40), (50_000, 50_060)])
    assert scale.length == pytest.approx(105)
    assert scale(40) == 40
    assert scale(50_030) == pytest.approx(75)
    [pause] = scale.pauses
    assert (pause.position, pause.seconds) == (pytest.approx(42.5), 49_960)


def test_an_end_by_another_clock_that_is_behind_makes_no_time_negative():
    scale = TimeScale([(5000, 5010), (5004, 1404)])
    assert scale.length == 10
    assert scale(1404) == 0


def test_short_waits_stay_as_they_are():
    scale = TimeScale([(100, 110), (112, 120)])
    assert [scale(100), scale(112), scale(120), scale.length] == [0, 12, 20, 20]
    assert scale.pauses == []


@given(busy=stretches, asked=st.lists(moments, min_size=2))
def test_time_never_runs_backwards(busy, asked):
    scale = TimeScale(busy)
    places = [scale(moment) for moment in sorted(asked)]
    assert places == sorted(places)
    assert all(0 <= place <= scale.length for place in places)


spans = st.builds(
    lambda frame, host, started, took, outcome: Span(
        frame, 1, host, started, started + took, outcome
    ),
    st.integers(1, 99),
    st.sampled_from(["a", "b", "wave-x/task-10", "wave-x/task-2"]),
    moments,
    st.floats(0, 50),
    st.sampled_from(["rendered", "retried", "failed", "cached", "lost"]),
)


@given(st.lists(spans, max_size=40))
def test_nothing_overlaps_in_a_lane_and_every_host_has_its_own(given_spans: list[Span]):
    lanes = lay_out(given_spans)
    by_lane: dict[int, list[Span]] = {}
    for bar in lanes.bars:
        by_lane.setdefault(bar.lane, []).append(bar.span)
    for row in by_lane.values():
        row.sort(key=lambda span: span.started)
        assert all(one.ended <= other.started for one, other in pairwise(row))
        assert len({span.host for span in row}) == 1
    assert sorted(by_lane) == list(range(lanes.count))
    told = sum(len(bar.frames) for bar in lanes.bars)
    assert told == sum(span.outcome != "cached" for span in given_spans)


def test_hosts_come_in_the_order_of_their_numbers_and_a_lost_container_is_one_bar():
    lost = [Span(frame, 1, "x/task-10", 5, 9, "lost") for frame in (3, 1, 2)]
    lanes = lay_out([Span(4, 1, "x/task-2", 6, 7, "rendered"), *lost])
    assert [host.name for host in lanes.hosts] == ["x/task-2", "x/task-10"]
    assert [bar.frames for bar in lanes.bars] == [(4,), (1, 2, 3)]


def assert_fits_into_a_page(plot: Plot):
    root = ElementTree.fromstring(plot.svg)  # noqa: S314 - our own
    assert root.get("viewBox") == f"0 0 {plot.width:g} {plot.height:g}"
    assert "var(--rendered)" in plot.svg
    assert not re.search(r"(fill|stroke): #", plot.svg), "a colour for light or dark only"
    assert "font:" not in plot.svg
    assert "<style" not in plot.svg


@pytest.mark.parametrize("width", [1040.0, 343.0])
def test_plots_take_colours_and_fonts_from_the_page(storage: FolderStorage, width: float):
    facts = gather(storage, cloud_run(storage))
    shown = timeline(facts.spans, facts.waves)
    assert shown is not None
    assert_fits_into_a_page(seconds_plot(facts.frames, width))
    assert_fits_into_a_page(timeline_plot(shown, width))


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(1, 12), st.booleans())
def test_ticks_are_even_in_reach_and_no_more_than_have_room(low, span, most, whole):
    ticks = even_ticks(low, low + span, most, whole=whole)
    assert len(ticks) <= most + 1
    slack = 1e-6 + 1e-7 * span
    assert all(low - slack <= tick <= low + span + slack for tick in ticks)
    assert len({round(other - one, 6) for one, other in pairwise(ticks)}) <= 1
    assert not whole or all(tick == int(tick) for tick in ticks)


def test_ticks_are_numbers_that_people_count_in():
    assert even_ticks(0, 2.2, 5) == [0, 0.5, 1, 1.5, 2]
    assert even_ticks(0.5, 60.5, 10, whole=True) == [10, 20, 30, 40, 50, 60]
    assert even_ticks(0.5, 1.5, 10, whole=True) == [1]
    assert logarithmic_ticks(0.05, 120) == [0.1, 1, 10, 100]
    assert logarithmic_ticks(0.3, 12) == [0.5, 1, 2, 5, 10]


def test_neighbouring_ticks_have_as_many_decimals():
    assert [seconds_words(value, 0.5) for value in (0, 0.5, 1)] == ["0 s", "0.5 s", "1.0 s"]
    assert [seconds_words(value, 0.02) for value in (0.08, 0.1)] == ["0.08 s", "0.10 s"]
    assert [seconds_words(value, 15) for value in (15, 30)] == ["15 s", "30 s"]


def test_a_hosts_name_is_words_whatever_is_in_it():
    hosts = ["<b>&x", "host/task-2"]
    shown = timeline([Span(1, 1, host, 0, 5, "rendered") for host in hosts], ())
    assert shown is not None
    root = ElementTree.fromstring(timeline_plot(shown, 1040).svg)  # noqa: S314 - our own
    words = {element.text for element in root.iter() if element.tag.endswith("text")}
    assert set(hosts) <= words


def test_nothing_is_drawn_beside_the_axes(storage: FolderStorage):
    """A frame may take more CPU time than it took time, and none at all."""
    run = local_run(storage, 3)
    frames = gather(storage, run).frames
    strange = [
        replace(frame, cpu_seconds=cpu) for frame, cpu in zip(frames, (0.0, 1e6, 1.0), strict=True)
    ]
    plot = seconds_plot(strange, 1040)
    bars = re.findall(r"M\S+ (\S+?)V(\S+?)H", plot.svg)
    assert len(bars) == 6
    assert all(plot.top <= float(y) <= plot.bottom for ends in bars for y in ends)


def test_two_plots_in_a_page_share_no_ids(storage: FolderStorage):
    facts = gather(storage, cloud_run(storage))
    shown = timeline(facts.spans, facts.waves)
    assert shown is not None
    plots = [
        *(seconds_plot(facts.frames, 1040), seconds_plot(facts.frames, 343)),
        *(timeline_plot(shown, 1040), timeline_plot(shown, 343)),
    ]
    ids = [name for plot in plots for name in re.findall(r' id="([^"]+)"', plot.svg)]
    assert len(ids) == len(set(ids))


def test_ten_thousand_frames_are_small_plots_that_have_the_failures(storage: FolderStorage):
    run = local_run(storage, 10_000, at_once=40, stored=False)
    facts = gather(storage, run)
    broken = Span(5, 1, "workstation", facts.spans[50].started, facts.spans[50].ended, "retried")
    shown = timeline([*facts.spans, broken], ())
    assert shown is not None
    assert not shown.in_lanes
    assert shown.hover == []
    plot = timeline_plot(shown, 1040)
    assert "var(--retried)" in plot.svg
    assert len(plot.svg) + len(seconds_plot(facts.frames, 1040).svg) < 150_000


def test_one_frame_that_took_no_time_is_a_plot(storage: FolderStorage):
    facts = gather(storage, local_run(storage, 1))
    moment = facts.spans[0].started
    shown = timeline([Span(1, 1, "$x^2$", moment, moment, "rendered")], ())
    assert shown is not None
    timeline_plot(shown, 1040)
    seconds_plot(facts.frames, 1040)


def test_a_job_of_which_nothing_is_known_has_no_timeline():
    assert timeline((), ()) is None
