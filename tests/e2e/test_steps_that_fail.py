"""A step after rendering that fails as nobody expected costs what it makes, and the job says so."""

from __future__ import annotations

import asyncio
from types import ModuleType

import pytest

from flows import job_steps, render_job
from povstorm_client.jobs.state import read_state
from povstorm_client.storage import layout
from povstorm_client.storage.job_address import job_uri


def fails(*_: object, **__: object) -> None:
    raise TypeError("nobody thought of this")


@pytest.mark.parametrize(
    ("module", "step", "phase", "there", "missing"),
    [
        (render_job, "stitch_video", "failed", ["statistics.json", "report.html"], "video.mp4"),
        (
            render_job,
            "collect_statistics",
            "completed",
            ["video.mp4", "report.html"],
            "statistics.json",
        ),
        (job_steps, "choose_renderer", "failed", ["report.html"], "statistics.json"),
    ],
)
def test_a_step_that_fails_costs_what_it_makes_and_is_told(
    module: ModuleType,
    step: str,
    phase: str,
    there: list[str],
    missing: str,
    sphere_job,
    on_server: str,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(module, step, fails)
    job = sphere_job(frames=1)
    job.submit()
    storage = job.cluster.storage
    asyncio.run(render_job.render_job(job_uri(storage, job.job_id), return_state=True))

    state = read_state(storage, job.job_id)
    assert state.phase == phase
    assert "povstorm itself failed (TypeError: nobody thought of this)" in state.message
    prefix = layout.job(job.job_id)
    assert [name for name in there if storage.stat(f"{prefix}/{name}") is None] == []
    assert storage.stat(f"{prefix}/{missing}") is None
