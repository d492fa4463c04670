"""Short chaos runs, which together meet every kind of fault; `make chaos` draws long ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chaos.named_plans import NAMED
from tests.chaos.plan import FRAMES, STORAGE_FAULTS, ChaosPlan, draw_plan
from tests.chaos.prefect_server import PrefectServer
from tests.chaos.run import run

PLANS = {
    "local": ChaosPlan(
        1,
        "local",
        kill_povray=[3, 9],
        kill_flow=[6],
        kill_client=[14],
        fill_disk=[10],
        lose_segment=True,
        kill_encoding=True,
    ),
    "no server but their own": ChaosPlan(
        4, "local", kill_flow=[8], kill_client=[16], own_servers=["late", "killed", "never up"]
    ),
    "storage and containers": ChaosPlan(
        2,
        "cloud",
        kill_povray=[2],
        kill_container=[4],
        kill_flow=[8],
        cancel=[16],
        storage=sorted(STORAGE_FAULTS),
        lose_answers=1,
        refuse_runs=1,
        small_quota=True,
        skew=3600,
        lose_segment=True,
        kill_joining=True,
    ),
    "everything twice": ChaosPlan(
        3,
        "cloud",
        twice=True,
        run_tasks_twice=True,
        move_tasks=True,
        fail_calls=[6],
        stop_prefect=2.0,
        hold_prefect=2.0,
        skew=-3600,
    ),
}


@pytest.mark.parametrize("plan", [pytest.param(plan, id=name) for name, plan in PLANS.items()])
def test_whatever_goes_wrong_every_frame_is_there_once_and_right(
    plan: ChaosPlan, prefect: PrefectServer, tmp_path: Path
):
    if plan.fill_disk and os.geteuid() != 0:
        pytest.skip("a disk that can be filled is mounted by root")
    report = run(plan, tmp_path, prefect)
    print(report)
    assert report.audit.violations == []
    assert report.audit.rendered == FRAMES
    assert report.faults.total() >= 3


def test_a_seed_always_draws_the_same_faults_and_seeds_differ():
    plans = [draw_plan(seed) for seed in range(200)]
    assert plans == [draw_plan(seed) for seed in range(200)]
    assert len({str(plan).partition(":")[2] for plan in plans}) > 150
    assert {plan.where for plan in plans} == {"local", "cloud"}


def test_each_fault_of_segments_and_of_a_started_wave_always_comes_on_google_cloud():
    faults = ("kill_started", "kill_encoder", "lose_segment", "kill_encoding", "kill_joining")
    assert [plan.where for plan in NAMED.values()] == ["cloud"] * len(faults)
    for plan, fault in zip(NAMED.values(), faults, strict=True):
        assert [each for each in faults if getattr(plan, each)] == [fault]
        assert plan.by_containers == (fault != "kill_started")
