"""A frame goes where it has room, and no more are in work in a container than have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from povstorm_client.cloud_run.frame_memory import frame_bytes, frames_with_room, job_with_room
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob

MIB = 2**20
JOBS = (CloudRunJob("render-2g", 1, 2048, 20, 0, 3600), CloudRunJob("render-8g", 2, 8192, 5, 0, 99))


def test_large_images_need_memory_for_the_file_system_too():
    assert frame_bytes(320, 240, 64 * MIB) < 80 * MIB
    assert 250 < frame_bytes(3840, 2160, 64 * MIB) / MIB < 320


@pytest.mark.parametrize(
    ("mib", "job", "at_once"),
    [
        (64, "render-2g", 24),
        # One at a time, where larger containers would have to be paid for.
        (1200, "render-2g", 1),
        # One for each vCPU, though more would be in work beside them.
        (2500, "render-8g", 2),
        (3300, "render-8g", 2),
        # No job has as much for each.
        (5000, "render-8g", 1),
        (20_000, "render-8g", 1),
    ],
)
def test_a_frame_goes_to_the_smallest_job_that_has_its_memory_for_each_vcpu(
    mib: int, job: str, at_once: int
):
    chosen = JOBS[job_with_room(JOBS, mib * MIB)]

    assert chosen.name == job
    assert frames_with_room(chosen.memory_mib * MIB, mib * MIB) == at_once


@given(st.integers(1, 2**34), st.sampled_from([job.memory_mib * MIB for job in JOBS]))
def test_frames_at_once_need_no_more_than_there_is_but_one_that_does(frame: int, memory: int):
    at_once = frames_with_room(memory, frame)

    assert at_once == 1 or at_once * frame < memory
