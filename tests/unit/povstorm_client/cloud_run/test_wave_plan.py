"""How frames are spread over array tasks: what it costs, how long it takes, what prefer means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from povstorm_client.cloud_run import prices_and_limits
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob
from povstorm_client.cloud_run.wave_plan import plan_wave
from povstorm_client.frames.job_settings import PREFERENCES


def render_job(parallelism: int = 100, timeout: int = 3600, vcpus: float = 1) -> CloudRunJob:
    return CloudRunJob(
        name="render-2g",
        vcpus=vcpus,
        memory_mib=2048,
        parallelism=parallelism,
        max_retries=0,
        task_timeout_seconds=timeout,
    )


SCENES = {
    "frames": st.integers(1, 3000),
    "seconds": st.floats(0.01, 200),
    "parallelism": st.integers(1, 1000),
}


@given(**SCENES, prefer=st.sampled_from(PREFERENCES))
def test_every_plan_can_be_started(frames: int, seconds: float, parallelism: int, prefer: str):
    plan = plan_wave(frames, seconds, job=render_job(parallelism), prefer=prefer)

    assert 1 <= plan.tasks <= min(frames, prices_and_limits.MOST_TASKS_PER_EXECUTION)
    assert plan.frames_per_task * plan.tasks >= frames
    assert plan.usd > 0


@given(**SCENES)
def test_leaning_to_fast_is_never_slower_and_to_cheap_never_dearer(
    frames: int, seconds: float, parallelism: int
):
    fast, balanced, cheap = (
        plan_wave(frames, seconds, job=render_job(parallelism), prefer=prefer)
        for prefer in PREFERENCES
    )

    assert fast.seconds <= balanced.seconds * 1.02
    assert balanced.seconds <= cheap.seconds * 1.02
    assert cheap.usd <= balanced.usd * 1.05
    assert cheap.usd <= fast.usd * 1.05


@given(frames=st.integers(1, 500), seconds=st.floats(0.1, 50))
def test_no_plan_costs_less_than_the_rendering_itself(frames: int, seconds: float):
    plan = plan_wave(frames, seconds, job=render_job(), prefer="cheapest")

    assert plan.usd >= prices_and_limits.usd(frames * seconds, vcpus=1, memory_mib=2048)


def test_short_frames_share_a_billed_minute():
    plan = plan_wave(60, 0.5, job=render_job(), prefer="cheapest")

    assert plan.tasks == 1
    assert plan.usd == pytest.approx(prices_and_limits.usd(60, vcpus=1, memory_mib=2048))


def test_the_fastest_plan_uses_every_task_that_can_run_at_once():
    plan = plan_wave(1000, 10, job=render_job(100), prefer="fastest")

    assert plan.tasks == 100
    assert plan.seconds == pytest.approx(10 + 10 * 10 + 10 * 0.1)


def test_tasks_beyond_the_parallelism_wait_for_their_turn():
    few = plan_wave(200, 100, job=render_job(10), prefer="fastest")

    assert few.tasks == 10
    assert few.seconds >= 20 * 100


def test_only_free_slots_are_planned_with():
    plan = plan_wave(1000, 10, job=render_job(100), prefer="fastest", slots=7)

    assert plan.tasks == 7


def test_no_task_is_planned_to_run_into_its_timeout():
    plan = plan_wave(100, 60, job=render_job(parallelism=1, timeout=600), prefer="cheapest")

    assert 10 + plan.frames_per_task * 60.1 <= 600


def test_a_frame_is_no_faster_on_two_cores_but_two_frames_are():
    job = render_job(parallelism=1, vcpus=2)

    assert plan_wave(1, 30, job=job, prefer="fastest").seconds == pytest.approx(40.1)
    assert plan_wave(2, 30, job=job, prefer="fastest").seconds == pytest.approx(40.2)


def test_the_plan_in_words_names_tasks_time_and_price():
    text = str(plan_wave(1000, 10, job=render_job(100), prefer="fastest"))

    assert text == "1000 frames in 100 tasks of render-2g (10 a task): about 1 min 51 s, $0.244"
