"""What `povstorm status` shows."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from povstorm_client.cloud_run.api import ExecutionState
from povstorm_client.commands.status_page import StatusPage
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.overview import FrameOverview
from povstorm_client.jobs.state import JobState

NOW = 2_000_000.0
FAILURE = FrameResult(
    work_unit_id="frame-0003-abc",
    job_id="orbit-1",
    frame=3,
    state="failed",
    attempt=1,
    host="here",
    started=NOW,
    ended=NOW,
    error="File 'a.pov' line 7: Parse Error: Cannot open include file nowhere.inc.",
)
OVERVIEW = FrameOverview(
    {1: "rendered", 2: "rendered", 3: "failed", 4: "working", 5: "waiting"},
    failures=[FAILURE],
    finished=[NOW - 10, NOW - 5, NOW],
)
STATE = JobState(
    "rendering",
    5,
    done=2,
    cached=1,
    failed=1,
    running=1,
    updated=NOW - 1,
    timed=1,
    frame_seconds=5.0,
    begun=(NOW,),
)
PAGE = StatusPage("orbit-1", STATE, OVERVIEW, NOW)


def shown(page: StatusPage, *, ascii_only: bool = False) -> str:
    text = io.StringIO()
    Console(file=text, width=80, highlight=False).print(page.render(ascii_only=ascii_only))
    return text.getvalue()


def test_a_running_job_has_counts_rate_time_left_and_povrays_line():
    text = shown(PAGE)

    assert "orbit-1  rendering" in text
    assert "2 of 5 rendered, 1 from the cache, 1 failed, 1 in work" in text
    assert "12 frames a minute, about 10 s left" in text
    assert "3: File 'a.pov' line 7: Parse Error: Cannot open include file" in text
    assert "look closer: povstorm frame orbit-1 3" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text


def test_before_a_frame_was_rendered_in_this_run_no_time_left_is_told():
    text = shown(replace(PAGE, state=replace(STATE, timed=0, frame_seconds=0.0)))

    assert "12 frames a minute" in text
    assert " left" not in text


def test_of_a_run_that_is_not_heard_of_no_time_left_is_told():
    late = shown(replace(PAGE, state=replace(STATE, updated=NOW - 110)))
    silent = shown(replace(PAGE, state=replace(STATE, updated=NOW - 180)))

    assert "about 10 s left" in late
    assert "nothing was heard" not in late
    assert " left" not in silent
    assert "a minute" not in silent
    assert "nothing was heard of its flow for 3 min" in silent


def test_all_of_it_can_be_had_in_ascii():
    execution = ExecutionState("e/render-a", "", 4, 1, 2, 1, 0, 0, NOW - 60, None, "")
    assert shown(replace(PAGE, executions=[execution]), ascii_only=True).isascii()


def test_executions_tell_their_tasks_and_what_was_lost():
    ended = ExecutionState("e/render-a", "", 4, 0, 3, 1, 0, 0, NOW - 100, NOW - 25, "")
    running = ExecutionState("e/render-b", "", 2, 1, 1, 0, 0, 0, NOW - 20, None, "")
    text = shown(replace(PAGE, executions=[running, ended], usd=(0.5, 0.25)))

    assert "1 of 2 tasks done, 1 running" in text
    assert "3 of 4 tasks done, 1 lost" in text
    assert "in 1 min 15 s" in text
    assert "for 20 s" in text
    assert "$0.250 billed so far, $0.500 planned" in text


def test_long_names_of_executions_are_whole_and_fit():
    name = "povstorm-render-small-ab12x"
    execution = ExecutionState(f"e/{name}", "", 90, 8, 81, 1, 0, 0, NOW - 50, None, "")
    lines = shown(replace(PAGE, executions=[execution])).splitlines()

    assert f"{name}  81 of 90 tasks done, 8 running, 1 lost  for 50 s" in lines[-1]


def test_only_the_newest_executions_are_listed():
    many = [
        ExecutionState(f"e/render-{number}", "", 1, 0, 1, 0, 0, 0, NOW, NOW, "")
        for number in range(9)
    ]
    text = shown(replace(PAGE, executions=many))

    assert "render-0" in text
    assert "and 5 earlier executions" in text


def test_a_job_without_a_flow_and_a_flow_that_fell_silent_are_told_apart():
    waiting = shown(replace(PAGE, state=None, overview=FrameOverview({1: "waiting"})))
    silent = shown(replace(PAGE, state=replace(STATE, updated=NOW - 7200)))

    assert "no flow has begun yet" in waiting
    assert "its flow is silent since 2 h" in silent


def test_an_ended_job_has_its_slowest_frames_and_its_message():
    state = replace(STATE, phase="failed", message="not started: more than --max-cost 1")
    page = replace(
        PAGE,
        state=state,
        overview=FrameOverview({1: "rendered", 2: "waiting"}),
        slowest=[(2, 3.25), (1, 2.0)],
    )

    assert "slowest  2: 3.2 s, 1: 2.0 s" in shown(page)
    assert "not started: more than --max-cost 1" in shown(page)
    assert "a minute" not in shown(page)


def test_what_a_scene_prints_cannot_steer_the_terminal():
    hostile = replace(FAILURE, error="\x1b[2J\x1b]0;owned\x07 [red]line[/red]\nnext")
    text = shown(replace(PAGE, overview=replace(OVERVIEW, failures=[hostile])))

    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[red]line[/red] next" in text


def test_whether_prefect_is_still_being_told_of_a_run_is_said_by_who_tells_it():
    ended = replace(STATE, phase="completed", recording=True, updated=NOW - 7200)
    page = replace(PAGE, state=ended)

    assert "Prefect is still being told of this run\n" in shown(replace(page, teller="here"))
    left = " ".join(shown(replace(page, teller="nobody")).split())
    assert "Prefect has not recorded all of this run yet: what tells it was killed" in left
    assert "povstorm ui orbit-1, has it told" in left
    assert "its journal is not here" in shown(page)
    told = replace(ended, recording=False)
    assert "Prefect" not in shown(replace(page, state=told, teller="nobody"))
