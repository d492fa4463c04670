"""A frame that fails costs itself only, and is all that a second run renders."""

from __future__ import annotations

import pytest

from povstorm_client import InputError, Job, JobError

BROKEN = '#include "nowhere.inc"\n'


def test_the_other_frames_go_on_and_the_error_names_the_frame_and_povrays_line(sphere_job):
    job = sphere_job(scenes={3: BROKEN})
    with pytest.raises(
        JobError, match=r"frame 3: .*Cannot open include file nowhere\.inc"
    ) as error:
        job.run(show_progress=False)
    assert error.value.failed_frames == (3,)
    assert sorted(job.images()) == [1, 2, 4]
    failed = job.results()[2]
    assert (failed.state, failed.attempt) == ("failed", 1), "a parse error is not tried again"
    assert "Cannot open include file" in failed.log_tail
    assert job.statistics().to_json()
    with pytest.raises(InputError, match="no video"):
        job.save_video("video.mp4")


def test_missing_frames_may_be_allowed(sphere_job, tmp_path):
    job = sphere_job(scenes={3: BROKEN}, allow_missing_frames=True)
    job.run(show_progress=False)
    assert job.save_video(tmp_path / "video.mp4").stat().st_size > 0


def test_a_scene_that_fails_in_every_frame_stops_the_job(sphere_job):
    job = sphere_job(frames=100, scenes=dict.fromkeys(range(1, 101), BROKEN))
    with pytest.raises(JobError, match=r"100 of 100 frames were not rendered"):
        job.run(show_progress=False)
    assert len(job.results()) < 50


def test_a_frame_that_takes_too_long_is_stopped_and_tried_again(sphere_job):
    endless = "#version 3.7;\n#while (1) #end\n"
    job = sphere_job(frames=2, scenes={2: endless}, frame_timeout=3, retries=1)
    with pytest.raises(JobError, match=r"frame 2: POV-Ray was stopped after 3 s"):
        job.run(show_progress=False)
    assert [result.attempt for result in job.results()] == [1, 2]


def test_a_second_run_of_the_job_renders_only_what_is_missing(sphere_job):
    job = sphere_job()
    job.run(show_progress=False)
    ended = {result.frame: result.ended for result in job.results()}
    lost = job.results()[1]
    job.cluster.storage.delete(f"jobs/{job.job_id}/output/{lost.image}")

    same_job = Job.open(job.cluster, job.job_id)
    same_job.run(show_progress=False)
    rendered_again = [
        result.frame for result in same_job.results() if result.ended != ended[result.frame]
    ]
    assert rendered_again == [2]
    assert sorted(same_job.images()) == [1, 2, 3, 4]
