from __future__ import annotations

from pathlib import Path

import pytest

from povstorm_client.errors import InputError
from povstorm_client.jobs.summary import named_job
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage

OLD = "stars-20260101-120000-aaaa"
NEW = "orbit-20260301-120000-bbbb"
ALSO_STARS = "stars-20260201-120000-cccc"


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    storage = FolderStorage(tmp_path / "home")
    for job_id in (OLD, NEW, ALSO_STARS):
        storage.write(layout.job_manifest(job_id), b"{}")
    return storage


@pytest.mark.parametrize(
    ("given", "meant"),
    [(OLD, OLD), ("o", NEW), ("orbit", NEW), ("stars-202601", OLD), ("last", NEW)],
)
def test_a_job_is_named_by_its_id_a_beginning_of_its_own_or_last(
    storage: FolderStorage, given: str, meant: str
):
    assert named_job(storage, given) == meant


def test_a_beginning_that_several_have_is_refused_and_lists_them_newest_first(
    storage: FolderStorage,
):
    with pytest.raises(InputError, match="2 jobs begin with 'stars'") as refused:
        named_job(storage, "stars")
    assert str(refused.value).splitlines()[1:] == [f"  {ALSO_STARS}", f"  {OLD}"]


def test_of_many_jobs_that_begin_alike_only_some_are_listed(storage: FolderStorage):
    for second in range(30):
        storage.write(layout.job_manifest(f"stars-20260101-1300{second:02d}-dddd"), b"{}")
    with pytest.raises(InputError, match="and 22 more") as refused:
        named_job(storage, "stars")
    assert str(refused.value).count("\n") == 11


def test_a_job_whose_whole_id_begins_another_is_meant_by_it(storage: FolderStorage):
    storage.write(layout.job_manifest("stars"), b"{}")
    assert named_job(storage, "stars") == "stars"


def test_a_job_called_last_is_meant_by_its_id(storage: FolderStorage):
    storage.write(layout.job_manifest("last"), b"{}")
    assert named_job(storage, "last") == "last"


def test_the_newest_is_one_that_was_submitted_to_its_end(storage: FolderStorage):
    storage.write(layout.work_units("stars-20260401-120000-eeee"), b"")
    assert named_job(storage, "last") == NEW


def test_what_no_job_is_called_is_left_to_who_opens_it(storage: FolderStorage):
    assert named_job(storage, "moons") == "moons"


def test_there_is_no_last_job_where_there_is_none(tmp_path: Path):
    with pytest.raises(InputError, match="there are no jobs in"):
        named_job(FolderStorage(tmp_path / "empty"), "last")


def test_what_can_be_no_job_id_is_refused(storage: FolderStorage):
    with pytest.raises(InputError, match="is not usable"):
        named_job(storage, "../x")
