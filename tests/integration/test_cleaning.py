"""Listing and deleting jobs, in a folder and in a bucket: newer jobs keep all that they need."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from povstorm_client import Cluster, InputError, Job, RenderSettings, StorageError, WorkUnit
from povstorm_client import job as job_module
from povstorm_client.cleaning import sweep_marker, unreferenced
from povstorm_client.cleaning.job_deletion import (
    delete_job,
    half_deleted,
    reason_to_keep,
    reasons_to_keep,
)
from povstorm_client.cleaning.sweep_marker import SweepMarker, wait_for_sweep
from povstorm_client.cleaning.unreferenced import delete_unreferenced, find_unreferenced
from povstorm_client.frames.cached_frame import cached_frame_record
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs import shared_resources
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.jobs.state import JobState, write_state
from povstorm_client.jobs.summary import newest_jobs
from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage, StoredObject

TWO_DAYS = 2 * 86_400.0

MakeJob = Callable[..., Job]


@pytest.fixture(params=["folder", "bucket"])
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Cluster:
    if request.param == "folder":
        return Cluster.local(tmp_path / "storage")
    return Cluster(request.getfixturevalue("gcs_storage").uri)


@pytest.fixture
def storage(cluster: Cluster) -> Storage:
    return cluster.storage


@pytest.fixture
def submitted(cluster: Cluster, tmp_path: Path) -> MakeJob:
    """A function that submits a job of three frames with shared files: name → content."""

    def submit(name: str = "orbit", phase: str = "completed", **files: str) -> Job:
        folder = tmp_path / f"scene-{time.monotonic_ns()}"
        folder.mkdir()
        (folder / "a.pov").write_text("sphere { 0, 1 }")
        for file, content in files.items():
            (folder / f"{file}.inc").write_text(content)
        job = Job(cluster, name)
        job.add_shared_resources(folder)
        settings = RenderSettings("shared/a.pov", width=16, height=8, final_frame=3)
        for frame in (1, 2, 3):
            job.add_work_unit(WorkUnit(settings, frame=frame))
        job.submit()
        if phase:
            write_state(
                cluster.storage, job.job_id, JobState(phase, 3, done=2, failed=1, updated=1.0)
            )
        return job

    return submit


def keys(storage: Storage, prefix: str) -> set[str]:
    return {stored.key for stored in storage.list(prefix)}


def stage(storage: Storage, job: Job) -> str:
    """What a flow does first; returns the tree's prefix."""
    manifest = job_module.read_manifest(storage, job.job_id)
    return shared_resources.stage(storage, manifest.shared_files)


def make_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have everything count as older than a day."""
    monkeypatch.setattr(unreferenced, "YOUNG_SECONDS", -60.0)


# Listing


def test_jobs_are_listed_newest_first_with_what_they_came_to(
    cluster: Cluster, submitted: MakeJob, monkeypatch: pytest.MonkeyPatch
):
    older = submitted("older", phase="failed")
    newer = submitted("newer", phase="")

    assert [job.job_id for job in cluster.jobs()] == [newer.job_id, older.job_id]
    first, second = cluster.jobs(sizes=True)
    assert (first.name, first.phase, first.frames, first.done) == ("newer", "submitted", 3, 0)
    assert (second.phase, second.done, second.failed) == ("failed", 2, 1)
    assert second.bytes == sum(
        stored.size for stored in cluster.storage.list(layout.job(older.job_id))
    )
    assert abs(first.created - time.time()) < 600


def test_only_the_newest_are_read_by_the_times_in_their_ids(storage: Storage):
    for day in range(10, 30):
        storage.write(layout.job_manifest(f"anim-202601{day}-120000-abcd"), b"{}")
        storage.write(layout.log(f"anim-202601{day}-120000-abcd", "frame-0001-x"), b"")

    found = newest_jobs(storage, 3)

    assert [job.job_id[5:13] for job in found] == ["20260129", "20260128", "20260127"]


def test_a_job_that_cannot_be_read_is_listed_as_such(
    cluster: Cluster, storage: Storage, submitted: MakeJob
):
    good = submitted()
    storage.write(layout.job_manifest("torn-20260101-000000-abcd"), b'{"job_id": ')
    storage.write(layout.work_units("begun-20260101-000000-abcd"), b"")
    storage.write(layout.job_state(good.job_id), b"[]")
    storage.write("jobs/Not a job/x", b"")

    found = {job.name or job.job_id.split("-")[0]: job for job in cluster.jobs()}

    assert set(found) == {"orbit", "torn", "begun"}
    assert {job.phase for job in found.values()} == {"unreadable"}
    assert "job.json" in found["torn"].problem
    assert "just being submitted" in found["begun"].problem
    assert "state.json" in found["orbit"].problem
    assert found["orbit"].frames == 3


def test_folders_are_named_without_what_is_below_them(storage: Storage):
    for key in ("jobs/a/x", "jobs/a/y/z", "jobs/b/x", "jobs/file", "other/c/x"):
        storage.write(key, b"")

    assert sorted(storage.folders("jobs")) == ["a", "b"]
    assert list(storage.folders("nothing")) == []


# Deleting a job


def test_a_deleted_job_is_gone_and_its_neighbours_are_not(storage: Storage, submitted: MakeJob):
    job, other = submitted(), submitted()
    storage.write(f"{layout.output(job.job_id)}/frame_1.png", b"image")
    before = keys(storage, layout.job(other.job_id))

    job.delete()

    assert keys(storage, layout.job(job.job_id)) == set()
    assert keys(storage, layout.job(other.job_id)) == before
    assert keys(storage, "cleaning") == set()
    with pytest.raises(InputError, match="there is no job"):
        Job.open(job.cluster, job.job_id)


@pytest.mark.parametrize("phase", ["staging", "rendering", "stitching", ""])
def test_a_job_that_runs_or_is_to_run_is_refused(submitted: MakeJob, phase: str):
    job = submitted(phase=phase)

    with pytest.raises(InputError, match=f"povstorm cancel {job.job_id}"):
        job.delete()
    assert Job.open(job.cluster, job.job_id)


def test_a_cancelled_or_silent_flow_does_not_keep_its_job(storage: Storage, submitted: MakeJob):
    job, waiting = submitted(phase="rendering"), submitted(phase="")
    now = storage.stat(layout.job_state(job.job_id)).changed

    assert "it is rendering" in reason_to_keep(storage, job.job_id, now + 600)
    assert reason_to_keep(storage, job.job_id, now + 1000) == ""
    assert "has not begun" in reason_to_keep(storage, waiting.job_id, now + 3600)
    for each in (job, waiting):
        each.cluster.cancel(each.job_id)
    assert "it is stopping" in reason_to_keep(storage, job.job_id, now + 60)
    assert reason_to_keep(storage, job.job_id, now + 200) == ""
    assert reason_to_keep(storage, waiting.job_id, now) == ""


def test_a_job_that_cloud_run_renders_is_refused(storage: Storage, submitted: MakeJob):
    job = submitted()

    assert (
        "Cloud Run is rendering it"
        in reasons_to_keep(storage, [job.job_id], at_work=[job.job_id])[job.job_id]
    )


def test_an_interrupted_deletion_is_no_job_and_is_gone_on_with(
    storage: Storage, submitted: MakeJob, monkeypatch: pytest.MonkeyPatch
):
    job = submitted()
    with monkeypatch.context() as patch:
        patch.setattr(storage, "delete", interrupt)
        with pytest.raises(KeyboardInterrupt):
            delete_job(storage, job.job_id, with_cache=True)

    with pytest.raises(InputError, match="there is no job"):
        Job.open(job.cluster, job.job_id)
    assert half_deleted(storage) == [job.job_id]
    assert "half deleted" in newest_jobs(storage)[0].problem
    assert delete_unreferenced(storage).leftovers == (job.job_id,)
    assert keys(storage, "jobs") == set()
    assert half_deleted(storage) == []


def test_a_deletion_that_was_interrupted_before_it_began_leaves_a_whole_job(
    storage: Storage, submitted: MakeJob, monkeypatch: pytest.MonkeyPatch
):
    job = submitted()
    with monkeypatch.context() as patch:
        patch.setattr(storage, "remove", interrupt)
        with pytest.raises(KeyboardInterrupt):
            delete_job(storage, job.job_id, with_cache=True)

    delete_unreferenced(storage)

    assert len(Job.open(job.cluster, job.job_id).work_units) == 3


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_the_cache_forgets_the_images_of_the_job_and_no_others(
    storage: Storage, submitted: MakeJob
):
    job, other = submitted(), submitted()

    def entry(unit: WorkUnit, job_id: str, povray: str) -> str:
        name = f"frame-{unit.content_digest()}-povray-{povray}"
        key = f"{layout.RESULT_CACHE}/{name}"
        result = FrameResult(unit.work_unit_id, job_id, unit.frame, "rendered", 1, "", 0.0, 0.0)
        storage.write(key, cached_frame_record(result, name, "3.9.1"))
        return key

    own = entry(job.work_units[0], job.job_id, "3.7")
    others = entry(job.work_units[1], other.job_id, "3.7")
    storage.write(f"{layout.RESULT_CACHE}/0123456789abcdef", b"no frame")
    torn = f"{layout.RESULT_CACHE}/frame-{job.work_units[2].content_digest()}-povray-3.7"
    storage.write(torn, b"{")
    group = job.work_units[0].content_group()
    lists = [layout.cache_list(group, each.job_id, 16 * "0") for each in (job, other)]
    for key in lists:
        storage.write(key, b"")

    delete_job(storage, job.job_id, with_cache=False)
    assert {own, *lists} <= keys(storage, layout.RESULT_CACHE)
    again = submitted()
    assert again.work_units[0].content_digest() == job.work_units[0].content_digest()
    entry(again.work_units[0], again.job_id, "3.7")
    storage.write(layout.cache_list(group, again.job_id, 16 * "0"), b"")
    delete_job(storage, again.job_id, with_cache=True)

    assert keys(storage, layout.RESULT_CACHE) == {
        others,
        torn,
        *lists,
        f"{layout.RESULT_CACHE}/0123456789abcdef",
    }


def test_a_frame_whose_job_is_deleted_while_it_is_taken_over_is_rendered_instead(
    storage: Storage, submitted: MakeJob, monkeypatch: pytest.MonkeyPatch
):
    old, new = submitted(), submitted()
    unit = old.work_units[0]
    storage.write(f"{layout.output(old.job_id)}/{unit.image_name}", b"image")
    result = FrameResult(
        *(unit.work_unit_id, old.job_id, 1, "rendered", 1, "", 0.0, 0.0),
        image=unit.image_name,
        image_bytes=5,
    )
    copy = storage.copy

    def copy_too_late(source: str, target: str) -> None:
        delete_job(storage, old.job_id, with_cache=True)
        copy(source, target)

    monkeypatch.setattr(storage, "copy", copy_too_late)

    assert FrameResults(storage, new.job_id).adopt(new.work_units[0], result) is None


# What no job refers to


def test_files_of_deleted_jobs_go_and_those_that_another_job_needs_stay(
    storage: Storage, submitted: MakeJob, monkeypatch: pytest.MonkeyPatch
):
    old, new = submitted(common="both", mine="old"), submitted(common="both")
    trees = {job.job_id: stage(storage, job) for job in (old, new)}
    old.delete()
    make_old(monkeypatch)

    found = delete_unreferenced(storage)

    assert len(found.files) == 1 + 3  # the blob of mine.inc, and the tree with its three files
    assert keys(storage, trees[old.job_id]) == set()
    assert len(keys(storage, trees[new.job_id])) == 2
    assert len(keys(storage, "blobs")) == 2
    assert keys(storage, "cleaning") == {layout.LAST_SWEEP}
    assert stage(storage, new) == trees[new.job_id]
    assert delete_unreferenced(storage).files == ()


def test_the_caches_lists_of_deleted_jobs_go_with_the_next_sweep(
    storage: Storage, submitted: MakeJob, monkeypatch: pytest.MonkeyPatch
):
    old, new = submitted(), submitted()
    lists = [layout.cache_list("0" * 16, job.job_id, "1" * 16) for job in (old, new)]
    for key in lists:
        storage.write(key, b"{}")
    old.delete()
    delete_unreferenced(storage)
    assert keys(storage, layout.RESULT_CACHE) == set(lists)  # it is young
    make_old(monkeypatch)

    delete_unreferenced(storage)

    assert keys(storage, layout.RESULT_CACHE) == {lists[1]}


def test_what_is_young_stays(storage: Storage, submitted: MakeJob):
    job = submitted()
    stage(storage, job)
    job.delete()
    storage.write(layout.work_units("begun-20260101-000000-abcd"), b"")
    now = time.time()

    assert find_unreferenced(storage, now) == unreferenced.Unreferenced()
    later = find_unreferenced(storage, now + TWO_DAYS)
    assert len(later.files) == 2
    assert later.leftovers == ("begun-20260101-000000-abcd",)


def test_nothing_is_deleted_while_a_manifest_cannot_be_read(
    storage: Storage, submitted: MakeJob, monkeypatch: pytest.MonkeyPatch
):
    submitted().delete()
    storage.write(layout.job_manifest("torn-20260101-000000-abcd"), b"{")
    make_old(monkeypatch)
    before = keys(storage, "blobs")

    found = delete_unreferenced(storage)

    assert found.unreadable == ("torn-20260101-000000-abcd",)
    assert keys(storage, "blobs") == before != set()


def test_what_a_chosen_job_alone_needs_is_shown_beforehand(storage: Storage, submitted: MakeJob):
    job = submitted(common="both")
    other = submitted(common="both", mine="more")

    found = find_unreferenced(storage, time.time() + TWO_DAYS, without=[other.job_id])

    assert len(found.files) == 1
    assert len(Job.open(job.cluster, job.job_id).work_units) == 3
    assert len(Job.open(other.cluster, other.job_id).work_units) == 3


def test_a_job_that_is_submitted_during_a_sweep_has_its_files(
    storage: Storage, submitted: MakeJob, monkeypatch: pytest.MonkeyPatch
):
    """The sweep begins when all is uploaded, or found to be there, and no manifest is written."""
    submitted(common="both").delete()
    make_old(monkeypatch)
    write_manifest = job_module.write_manifest
    swept = []

    def sweep_and_write(*arguments) -> None:
        swept.append(delete_unreferenced(storage))
        write_manifest(*arguments)

    monkeypatch.setattr(job_module, "write_manifest", sweep_and_write)

    job = submitted(common="both")

    assert len(swept[0].files) == 2
    assert len(keys(storage, stage(storage, job))) == 2


def test_a_submit_waits_for_a_sweep_that_did_not_see_its_manifest(
    storage: Storage, submitted: MakeJob, monkeypatch: pytest.MonkeyPatch, capsys
):
    submitted(common="both").delete()
    make_old(monkeypatch)
    write_manifest = job_module.write_manifest
    notice = SweepMarker(storage)
    found: list[StoredObject] = []

    def begin_sweep_and_write(*arguments) -> None:
        notice.__enter__()
        found.extend(find_unreferenced(storage, notice.storage_time).files)
        write_manifest(*arguments)

    def go_on_with_sweep(seconds: float) -> None:
        for stored in found:
            storage.remove(stored.key)
        notice.__exit__()

    monkeypatch.setattr(job_module, "write_manifest", begin_sweep_and_write)
    monkeypatch.setattr(sweep_marker.time, "sleep", go_on_with_sweep)

    job = submitted(common="both")

    assert len(found) == 2
    assert "being cleaned" in capsys.readouterr().err
    assert len(keys(storage, stage(storage, job))) == 2


def test_a_file_that_is_deleted_while_a_submit_looks_at_it_is_uploaded_again(
    storage: Storage, submitted: MakeJob, monkeypatch: pytest.MonkeyPatch
):
    submitted(common="both")
    renew = storage.renew

    def renew_too_late(key: str) -> None:
        storage.remove(key)
        renew(key)

    monkeypatch.setattr(shared_resources, "_OLD_SECONDS", -60.0)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "renew", renew_too_late)
        job = submitted(common="both")

    assert len(keys(storage, "blobs")) == 2
    assert len(keys(storage, stage(storage, job))) == 2


def test_a_sweep_that_was_given_up_deletes_nothing_more(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
):
    with SweepMarker(storage) as notice:
        monkeypatch.setattr(sweep_marker, "_GIVEN_UP_SECONDS", -1.0)
        assert wait_for_sweep(storage)
        with pytest.raises(StorageError, match="run it again"):
            notice.check()
    assert not wait_for_sweep(storage)
