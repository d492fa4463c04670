"""What a job on Cloud Run has cost so far, and will in all."""

from __future__ import annotations

import pytest

from povstorm_client.cloud_run.cost import job_cost
from povstorm_client.cloud_run.stored_plan import StoredPlan, StoredWave

START = 1_790_000_000.0


def wave(name: str, **changes: object) -> StoredWave:
    given = {
        "wave": name,
        "render_job": "render-512m",
        "tasks": 2,
        "frames": 10,
        "submitted": START,
        "completed": None,
        "failed_tasks": 0,
        "predicted_seconds": 100.0,
        "predicted_usd": 0.10,
        "billed_usd": None,
    }
    return StoredWave(**given | changes)


def test_a_wave_that_has_ended_costs_what_is_billed():
    plan = StoredPlan(waves=(wave("w1", completed=START + 120, billed_usd=0.13),))

    cost = job_cost(plan, 0, START + 500)

    assert cost.billed == cost.so_far == cost.whole == pytest.approx(0.13)


def test_a_wave_at_work_costs_by_its_time_and_in_all_what_was_planned():
    plan = StoredPlan(waves=(wave("w1"),))

    cost = job_cost(plan, 10, START + 25)

    assert cost.billed == 0
    assert cost.so_far == pytest.approx(0.025)
    assert cost.whole == pytest.approx(0.10)


def test_one_that_takes_longer_costs_more():
    cost = job_cost(StoredPlan(waves=(wave("w1"),)), 10, START + 150)

    assert cost.whole == cost.so_far == pytest.approx(0.15)


def test_frames_that_no_wave_has_cost_as_much_each_as_the_others():
    ended = wave("w1", completed=START + 120, billed_usd=0.13)

    cost = job_cost(StoredPlan(waves=(ended, wave("w2"))), 35, START)

    assert cost.so_far == pytest.approx(0.13)
    assert cost.whole == pytest.approx(0.13 + 0.10 + 25 * 0.01)


def test_before_the_first_wave_nothing_is_known_to_cost():
    cost = job_cost(StoredPlan(waves=()), 35, START)

    assert (cost.so_far, cost.whole) == (0, 0)
