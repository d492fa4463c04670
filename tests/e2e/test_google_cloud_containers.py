"""Jobs on Google Cloud whose tasks run in the built image, under the job's memory limit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from povstorm_client import Cluster
from tests.e2e.google_cloud import SERVERS, GoogleCloud, google_cloud
from tests.e2e.test_google_cloud import (
    SLOW,
    attempts,
    children_of,
    command_line,
    make_job,
    pixels,
    wait_for,
)
from tests.emulators.container.render_container import RenderContainer
from tests.emulators.gcs.server import GcsServer

# Nearly a gigabyte of pointers: too much for the smaller of the two jobs.
HUNGRY = "#declare A = array[120000000];\n"


@pytest.fixture
def cloud(
    tmp_path: Path, gcs_server: GcsServer, render_container: RenderContainer
) -> Iterator[GoogleCloud]:
    # Whom containers trust to be Google is a file there.
    command = tuple(render_container.command_in_stand_in(tmp_path / SERVERS))
    with google_cloud(tmp_path, gcs_server, command) as cloud:
        yield cloud


def test_the_image_gives_the_pixels_of_a_local_run(cloud: GoogleCloud, tmp_path: Path):
    local = make_job(Cluster.local(tmp_path / "local"), frames=4)
    local.run(show_progress=False)
    job = make_job(Cluster.from_terraform_outputs(cloud.outputs), frames=4)

    job.run(show_progress=False)

    assert pixels(job.images()) == pixels(local.images())
    assert {result.host.rsplit("-", 2)[0] for result in job.results()} == {"render-512m"}


def test_a_container_killed_in_the_middle_costs_only_the_frames_it_had_not_stored(
    cloud: GoogleCloud,
):
    cluster = Cluster.from_terraform_outputs(cloud.outputs)
    job = make_job(cluster, scene=SLOW, lean="cheapest")
    job.submit()
    flow = cluster.start(job.job_id)
    try:
        wait_for(lambda: job.images() and lifelines(job.job_id))
        unfinished = set(range(1, 13)) - set(job.images())
        max(lifelines(job.job_id), key=psutil.Process.create_time).kill()
        wait_for(lambda: flow.returncode is not None)
    finally:
        flow.stop()

    assert job.state().phase == "completed"
    again = {frame for frame, attempt in attempts(job).items() if attempt > 1}
    assert again
    assert again <= unfinished
    assert set(attempts(job).values()) == {1, 2}


def test_a_frame_without_memory_is_tried_again_with_more(cloud: GoogleCloud):
    job = make_job(Cluster.from_terraform_outputs(cloud.outputs), frames=2, scene=HUNGRY + SLOW)

    job.run(show_progress=False)

    assert {result.host.rsplit("-", 2)[0] for result in job.results()} == {"render-2g"}


def lifelines(job_id: str) -> list[psutil.Process]:
    """The processes with which the job's containers end."""
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if "lifeline.py" in (words := " ".join(command_line(process)))
        and f"/{job_id}/waves/" in words
        # What waits for its end is a copy of it.
        and children_of(process)
    ]
