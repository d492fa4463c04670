"""Which jobs a clean deletes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from povstorm_client.cleaning.job_choice import choose_jobs
from povstorm_client.jobs.summary import JobSummary

NOW = 1_000_000.0


def jobs(*ages_and_phases: tuple[float, str]) -> list[JobSummary]:
    made = [
        JobSummary(f"job-{number}", created=NOW - age, phase=phase)
        for number, (age, phase) in enumerate(ages_and_phases)
    ]
    return sorted(made, key=lambda job: -job.created)


def test_all_conditions_have_to_apply():
    found = jobs((10, "failed"), (20, "completed"), (30, "failed"), (40, "cancelled"))

    assert [job.job_id for job in choose_jobs(found, NOW, older_than=15, failed=True)] == [
        *("job-2", "job-3")
    ]
    assert [job.job_id for job in choose_jobs(found, NOW, older_than=15, keep=3)] == ["job-3"]
    assert [job.job_id for job in choose_jobs(found, NOW, keep=2)] == ["job-2", "job-3"]


def test_a_job_of_unknown_age_is_never_old():
    unknown = JobSummary("strange", created=0.0)
    assert choose_jobs([unknown], NOW, older_than=1) == []
    assert choose_jobs([unknown], NOW, failed=True) == []


@given(
    st.lists(st.tuples(st.floats(0, 1e5), st.sampled_from(["completed", "failed", "rendering"]))),
    st.floats(0, 1e5),
    st.integers(0, 20),
)
def test_the_newest_are_spared_and_nothing_young_is_chosen(ages, older_than: float, keep: int):
    found = jobs(*ages)
    chosen = choose_jobs(found, NOW, older_than=older_than, keep=keep)

    assert not {job.job_id for job in chosen} & {job.job_id for job in found[:keep]}
    assert all(NOW - job.created > older_than for job in chosen)
