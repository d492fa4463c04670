"""What is not povstorm's is never deleted or written to: in a folder, and in a bucket."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from povstorm_client import Cluster, InputError, Job, RenderSettings, StorageError, WorkUnit
from povstorm_client.cleaning.job_deletion import delete_job
from povstorm_client.cleaning.unreferenced import delete_unreferenced, find_unreferenced
from povstorm_client.commands.adopt import adopt
from povstorm_client.commands.cancel import cancel
from povstorm_client.commands.chosen_cluster import ClusterChoice
from povstorm_client.commands.clean import clean
from povstorm_client.commands.jobs import jobs
from povstorm_client.jobs.state import JobState, write_state
from povstorm_client.jobs.storage_marker import FORMAT
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.open_storage import open_storage
from povstorm_client.storage.protocol import Storage
from tests.emulators.gcs.proxy import GcsProxy

TWO_DAYS = 2 * 86_400.0
FOREIGN = {
    "shared/photos/summer.jpg": b"photo",
    "jobs/mycv/cv.pdf": b"cv",
    "jobs/mycv/output/letter.pdf": b"letter",
    "blobs/sha256/notes.txt": b"notes",
    "results/thesis.pdf": b"thesis",
    "estimates/house.xls": b"house",
    "cleaning/todo.txt": b"todo",
}


@pytest.fixture(params=["folder", "bucket"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return (tmp_path / "storage").as_uri()
    return request.getfixturevalue("gcs_storage").uri


@pytest.fixture
def storage(address: str) -> Storage:
    """Opened without a look at whose it is."""
    return open_storage(address)


def job_on(cluster: Cluster, name: str = "orbit") -> Job:
    job = Job(cluster, name)
    unit = WorkUnit(RenderSettings("a.pov", width=16, height=8))
    unit.add_inline_resource("a.pov", "sphere { 0, 1 }")
    job.add_work_unit(unit)
    return job


def finished(cluster: Cluster) -> Job:
    job = job_on(cluster)
    job.submit()
    write_state(cluster.storage, job.job_id, JobState("completed", 1, done=1, updated=1.0))
    return job


def contents(storage: Storage) -> dict[str, bytes]:
    return {
        stored.key: storage.read(stored.key)
        for name in storage.top()
        if name != layout.PARTIALS
        for stored in storage.list(name)
    }


def test_a_storage_is_marked_when_the_first_job_is_submitted(address: str, storage: Storage):
    job_on(Cluster(address)).submit()

    assert json.loads(storage.read(layout.MARKER)) == {"povstorm_storage_format": FORMAT}


@pytest.mark.parametrize("key", [*FOREIGN, "thesis.tex", "src/main.c", ".git/config"])
def test_an_unmarked_storage_with_other_things_is_refused_by_whatever_writes_and_reads(
    address: str, storage: Storage, key: str
):
    storage.write(key, b"mine")
    before = contents(storage)

    for use in (
        lambda cluster: job_on(cluster).submit(),
        lambda cluster: cluster.cancel("some-job"),
        lambda cluster: cluster.start("some-job"),
        lambda cluster: cluster.claimed_storage,
        lambda cluster: cluster.jobs(),
        lambda cluster: Job.open(cluster, "some-job"),
        lambda cluster: cluster.frame_log("some-job", 1),
    ):
        with pytest.raises(StorageError, match=r"is no povstorm storage .*POVSTORM_HOME.*adopt"):
            use(Cluster(address))
    assert contents(storage) == before


def test_what_a_marked_storage_has_beside_povstorms_own_is_never_deleted(
    address: str, storage: Storage
):
    cluster = Cluster(address)
    job = finished(cluster)
    for key, content in FOREIGN.items():
        storage.write(key, content)
    own = f"{layout.job(job.job_id)}/diary.txt"
    storage.write(own, b"diary")

    delete_job(storage, job.job_id, with_cache=True)
    found = find_unreferenced(storage, time.time() + TWO_DAYS)
    delete_unreferenced(storage)

    assert (found.files, found.trees, found.leftovers) == ((), (), ())
    left = contents(storage)
    assert {key: left.get(key) for key in FOREIGN} == FOREIGN
    assert left[own] == b"diary"
    assert not any(key.startswith(f"{layout.job(job.job_id)}/") for key in left if key != own)


def test_a_storage_from_before_there_were_marks_is_taken_for_povstorms(
    address: str, storage: Storage
):
    job = finished(Cluster(address))
    storage.remove(layout.MARKER)

    assert [each.job_id for each in Cluster(address).jobs()] == [job.job_id]
    assert storage.find(layout.MARKER) is None
    job_on(Cluster(address), "second").submit()
    assert storage.find(layout.MARKER) is not None


def test_a_job_that_cannot_be_read_is_no_proof_of_a_storage_without_a_mark(
    address: str, storage: Storage
):
    job = finished(Cluster(address))
    storage.remove(layout.MARKER)
    storage.write(layout.job_manifest(job.job_id), b"{}")

    with pytest.raises(StorageError, match="is no povstorm storage"):
        Cluster(address).jobs()


def test_a_storage_can_be_adopted_and_keeps_what_is_not_povstorms(address: str, storage: Storage):
    for key, content in FOREIGN.items():
        storage.write(key, content)

    assert "in it" in Cluster(address).adopt()
    job_on(Cluster(address)).submit()

    assert FOREIGN.items() <= contents(storage).items()


@pytest.mark.parametrize(
    ("mark", "says"),
    [
        (b'{"povstorm_storage_format": 2}', "the storage format 2"),
        (b'{"povstorm_storage_format": true}', "the storage format True"),
        (b'{"povstorm_storage_format": "1"}', "the storage format '1'"),
        (b"[]", "is not povstorm's mark"),
        (b"\xff", "is not povstorm's mark"),
        (b"[" * 100_000, "is not povstorm's mark"),
    ],
)
def test_a_mark_that_is_not_understood_is_refused(
    address: str, storage: Storage, mark: bytes, says: str
):
    storage.write(layout.MARKER, mark)

    for use in (Cluster.adopt, Cluster.jobs, lambda cluster: cluster.claimed_storage):
        with pytest.raises(StorageError, match=says):
            use(Cluster(address))


def test_a_bucket_may_have_what_its_guide_puts_beside(
    gcs_storage: Storage,
):
    for key in ("outputs.json", "scenes/nightly/nightly.ini", "builds/source.tgz"):
        gcs_storage.write(key, b"")

    job_on(Cluster(gcs_storage.uri)).submit()

    assert gcs_storage.find(layout.MARKER) is not None


def test_a_marked_bucket_costs_one_more_call_a_command(
    checked_storage: Storage, gcs_proxy: GcsProxy
):
    cluster = Cluster(checked_storage.uri)
    job_on(cluster).submit()
    again = Cluster(checked_storage.uri)
    before = gcs_proxy.calls.copy()

    assert again.claimed_storage is again.storage is again.claimed_storage

    # Google's client looks at the bucket itself, of its own accord, before a first call.
    calls = gcs_proxy.calls - before
    assert {kind: calls[kind] for kind in calls if kind != "other"} == {"read": 1}


# Links


def test_a_storage_that_a_link_leads_to_is_used_and_what_is_foreign_behind_it_is_refused(
    tmp_path: Path,
):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    job = finished(Cluster.local(tmp_path / "link"))
    assert job.cluster.storage.uri == (tmp_path / "disk").as_uri()
    assert [each.job_id for each in Cluster.local(tmp_path / "disk").jobs()] == [job.job_id]

    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "summer.jpg").write_bytes(b"photo")
    (tmp_path / "wrong").symlink_to(tmp_path / "photos")
    with pytest.raises(StorageError, match=r"is no povstorm storage .*summer\.jpg"):
        job_on(Cluster.local(tmp_path / "wrong")).submit()


@pytest.mark.parametrize("name", ["jobs", "shared", "blobs", "blobs/sha256"])
def test_a_link_in_place_of_a_folder_of_the_storage_is_followed_by_nothing(
    tmp_path: Path, name: str
):
    storage = FolderStorage(tmp_path / "storage")
    outside = tmp_path / "outside"
    (outside / "a").mkdir(parents=True)
    (outside / "a" / "file").write_bytes(b"mine")
    link = storage.root / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside)

    for use in (
        lambda: list(storage.list(name)),
        lambda: list(storage.list(f"{name}/a")),
        lambda: list(storage.folders(name)),
        lambda: storage.delete(f"{name}/a"),
        lambda: storage.delete(name),
        lambda: storage.remove(f"{name}/a/file"),
        lambda: storage.read(f"{name}/a/file"),
        lambda: storage.write(f"{name}/a/file", b"other"),
        lambda: storage.create(f"{name}/a/new", b"other"),
        lambda: storage.copy(f"{name}/a/file", "copy"),
        lambda: storage.renew(f"{name}/a/file"),
        lambda: storage.mount(f"{name}/a", tmp_path / "mounted"),
    ):
        with pytest.raises(StorageError, match=r"is a link.*POVSTORM_HOME"):
            use()
    assert (outside / "a" / "file").read_bytes() == b"mine"
    assert [path.name for path in (outside / "a").iterdir()] == ["file"]


def test_a_job_that_is_a_link_is_no_job_and_links_in_a_job_are_deleted_not_followed(
    tmp_path: Path,
):
    cluster = Cluster.local(tmp_path / "storage")
    job = finished(cluster)
    storage = cluster.storage
    assert isinstance(storage, FolderStorage)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"mine")
    storage.path(layout.job("linked")).symlink_to(outside)
    storage.path(layout.output(job.job_id)).mkdir()
    storage.path(f"{layout.output(job.job_id)}/folder").symlink_to(outside)
    storage.path(f"{layout.output(job.job_id)}/file").symlink_to(outside / "file")

    assert [each.job_id for each in cluster.jobs()] == [job.job_id]
    assert list(storage.list(layout.output(job.job_id))) == []
    job.delete()

    assert not storage.path(layout.job(job.job_id)).exists()
    assert (outside / "file").read_bytes() == b"mine"
    assert (storage.root / layout.job("linked")).is_symlink()


def test_a_folder_that_is_replaced_by_a_link_while_it_is_deleted_costs_nothing_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    storage = FolderStorage(tmp_path / "storage")
    storage.write("jobs/a/output/frame_1.png", b"image")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "frame_1.png").write_bytes(b"mine")
    output = storage.root / "jobs/a/output"
    unlink = os.unlink

    def replace_and_unlink(name: str, *, dir_fd: int) -> None:
        output.rename(tmp_path / "moved")
        output.symlink_to(outside)
        unlink(name, dir_fd=dir_fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", replace_and_unlink)
        with pytest.raises(StorageError, match="cannot delete jobs/a/output"):
            storage.delete("jobs/a/output")

    assert (outside / "frame_1.png").read_bytes() == b"mine"
    assert list((tmp_path / "moved").iterdir()) == []


# Commands


def run(monkeypatch: pytest.MonkeyPatch, home: Path, function: Callable[..., None], **options):
    monkeypatch.setenv("POVSTORM_HOME", str(home))
    context = typer.Context(typer.main.get_command(_app()), obj=ClusterChoice())
    function(context, **options)


def _app() -> typer.Typer:
    from povstorm_client.command_line import app

    return app


def test_clean_leaves_a_folder_of_the_users_own_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    old = time.time() - 400 * 86_400
    for key, content in FOREIGN.items():
        file = tmp_path / "home" / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        os.utime(file, (old, old))

    for use, options in (
        (clean, {"older_than": "30d", "yes": True}),
        (clean, {"older_than": "30d", "dry_run": True}),
        (clean, {"job_ids": ["mycv"], "yes": True}),
        (cancel, {"job_id": "mycv"}),
        (jobs, {}),
    ):
        with pytest.raises(StorageError, match="is no povstorm storage"):
            run(monkeypatch, tmp_path / "home", use, **options)
    found = {
        path.relative_to(tmp_path / "home").as_posix(): path.read_bytes()
        for path in (tmp_path / "home").rglob("*")
        if path.is_file()
    }
    assert found == FOREIGN


def test_adopt_asks_somebody_or_wants_to_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "home" / "photos").mkdir(parents=True)

    with pytest.raises(InputError, match="--yes"):
        run(monkeypatch, tmp_path / "home", adopt)
    run(monkeypatch, tmp_path / "home", adopt, yes=True)

    assert "is a povstorm storage now: it has 'photos' in it" in capsys.readouterr().out
    run(monkeypatch, tmp_path / "home", jobs, last=5)
