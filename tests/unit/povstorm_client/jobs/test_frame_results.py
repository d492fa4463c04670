"""FrameResults: the one home of results, logs and images, where a result commits the others."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from povstorm_client.errors import RecordError, StorageError
from povstorm_client.frames.chain_link import ChainLink
from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from tasks.stored.stored_results import find_stored_results
from tests.synthetic_job import failed, make_units, rendered

JOB = "orbit"
UNIT = make_units(JOB, 1)[0]
ROOT = Path(__file__).parents[4]


class FailsAtWrite(FolderStorage):
    """A folder that takes so many writes and no more; written: their keys, in order."""

    def __init__(self, root: Path, *, most: int = 1000) -> None:
        super().__init__(root)
        self.most = most
        self.written: list[str] = []

    def _take(self, key: str) -> None:
        if len(self.written) == self.most:
            raise StorageError(f"no room for {key}")
        self.written.append(key)

    def write(self, key: str, data: bytes) -> None:
        self._take(key)
        super().write(key, data)

    def create(self, key: str, data: bytes) -> bool:
        self._take(key)
        return super().create(key, data)

    def upload(self, key: str, path: Path, on_progress: Callable[[int], None] | None = None) -> str:
        self._take(key)
        return super().upload(key, path, on_progress)

    def copy(self, source: str, target: str) -> None:
        self._take(target)
        super().copy(source, target)


ORDER = [
    layout.log(JOB, UNIT.work_unit_id),
    f"{layout.output(JOB)}/extra.txt",
    f"{layout.output(JOB)}/{UNIT.image_name}",
    layout.result(JOB, UNIT.work_unit_id),
]


def commit(storage: FolderStorage, folder: Path) -> FrameResult:
    image, extra = folder / "image.png", folder / "extra.txt"
    image.write_bytes(b"image")
    extra.write_bytes(b"extra")
    result = rendered(UNIT, started=1.0, seconds=1.0, extra_outputs=["extra.txt"], image_bytes=5)
    return FrameResults(storage, JOB).commit_files(
        result, image, {"extra.txt": extra}, log=b"printed"
    )


def test_log_further_outputs_and_image_are_stored_before_the_result(tmp_path: Path):
    storage = FailsAtWrite(tmp_path / "storage")

    result = commit(storage, tmp_path)

    assert storage.written == ORDER
    results = FrameResults(storage, JOB)
    assert results.read(UNIT) == result
    assert results.rendered(UNIT)
    assert results.has_image(UNIT)
    assert results.image(UNIT) == b"image"
    assert results.log(UNIT) == b"printed"


@pytest.mark.parametrize("writes", range(len(ORDER)))
def test_a_frame_whose_storing_stops_anywhere_is_not_rendered(writes: int, tmp_path: Path):
    storage = FailsAtWrite(tmp_path / "storage", most=writes)

    with pytest.raises(StorageError, match="no room"):
        commit(storage, tmp_path)

    results = FrameResults(storage, JOB)
    assert results.read(UNIT) is None
    assert not results.rendered(UNIT)
    assert results.all() == []


@pytest.mark.parametrize("writes", range(len(ORDER)))
def test_a_frame_whose_adoption_stops_anywhere_is_not_rendered(writes: int, tmp_path: Path):
    storage = FailsAtWrite(tmp_path / "storage")
    earlier = commit(storage, tmp_path)
    new = make_units("later", 1)[0]
    storage.most, storage.written = writes, []

    with pytest.raises(StorageError, match="no room"):
        # The job that it is taken from stays, so what fails is the storage.
        storage.path(layout.job_manifest(JOB)).write_text("{}")
        FrameResults(storage, "later").adopt(new, earlier)

    assert FrameResults(storage, "later").read(new) is None


def test_the_log_of_a_failure_is_stored_before_it(tmp_path: Path):
    storage = FailsAtWrite(tmp_path)
    failure = failed(UNIT, started=1.0, error="no reason")

    assert FrameResults(storage, JOB).fail(failure, log=b"printed") == failure

    assert storage.written == [ORDER[0], ORDER[-1]]


def test_a_result_that_another_frame_or_job_has_written_commits_nothing(tmp_path: Path):
    storage = FolderStorage(tmp_path)
    results = FrameResults(storage, JOB)
    other = replace(rendered(UNIT, started=1.0, seconds=1.0), job_id="other")
    FrameResults(storage, "other").commit(other)
    storage.copy(layout.result("other", UNIT.work_unit_id), layout.result(JOB, UNIT.work_unit_id))

    assert not results.rendered(UNIT)
    assert results.all() == []
    assert results.read_if_readable(UNIT) is None
    assert list(results.of([UNIT]).unreadable) == [UNIT.frame]
    assert results.discard_unless_rendered(UNIT.work_unit_id) is None
    assert results.listed() == {}


def test_what_an_attempt_left_is_cleared_for_the_next_unless_it_is_whole(tmp_path: Path):
    storage = FolderStorage(tmp_path / "storage")
    results = FrameResults(storage, JOB)
    stored = commit(storage, tmp_path)
    assert results.clear_for_another_attempt(UNIT) == stored

    storage.write(f"{layout.output(JOB)}/{UNIT.image_name}", b"something else")

    assert results.clear_for_another_attempt(UNIT) is None
    assert (results.listed(), results.log(UNIT), results.has_image(UNIT)) == ({}, None, False)


@pytest.mark.parametrize("package", ["povstorm_client", "render_image", "tasks", "flows"])
def test_only_frame_results_knows_where_results_and_logs_of_frames_lie(package: str):
    asks = re.compile(r"\blayout\.(results?|attempts?|log)\(")

    found = [
        str(file.relative_to(ROOT))
        for file in sorted((ROOT / package).rglob("*.py"))
        if asks.search(file.read_text())
    ]

    home = ["povstorm_client/jobs/frame_results.py"]
    assert found == (home if package == "povstorm_client" else [])


def chain(job_id: str = JOB, frames: int = 4) -> list[WorkUnit]:
    """Frames that each go on from the one before."""
    units: list[WorkUnit] = []
    for unit in make_units(job_id, frames):
        linked = replace(unit, link=ChainLink("scene/own"))
        after = units[-1].work_unit_id if units else ""
        units.append(
            linked.assigned(
                job_id=job_id, shared_prefix="", offload_prefix=layout.output(job_id), after=after
            )
        )
    return units


def store(storage: FolderStorage, unit: WorkUnit, *, left: bool = True) -> FrameResult:
    results = FrameResults(storage, unit.job_id)
    image = storage.path(f"{layout.output(unit.job_id)}/{unit.image_name}")
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_bytes(b"image")
    if left:
        results.leave(unit, {"scene/n.txt": b"\x00\xff", "scene/own1.png": b"image"})
    crc = storage.crc32c(f"{layout.output(unit.job_id)}/{unit.image_name}")
    return results.commit(
        rendered(unit, started=1.0, seconds=1, image_crc32c=crc, image_bytes=len(b"image"))
    )


def test_a_frame_of_a_chain_is_left_the_files_of_the_one_before_it(storage: FolderStorage):
    first, second, *_ = chain()
    results = FrameResults(storage, JOB)
    results.leave(first, {"scene/n.txt": b"\x00\xff"})
    results.leave(first, {"scene/n.txt": b"again"})
    assert results.left_to(second) == {"scene/n.txt": b"again"}
    assert results.left_to(first) == {}
    assert results.left_to(UNIT) == {}


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"[]",
        b'{"../x": "AA=="}',
        b'{"shared/x": "AA=="}',
        b'{"a": "not base64"}',
        b'{"/x": ""}',
    ],
)
def test_what_leads_elsewhere_or_is_no_record_is_left_to_nobody(
    storage: FolderStorage, stored: bytes
):
    first, second, *_ = chain()
    storage.write(layout.left(JOB, first.work_unit_id), stored)
    with pytest.raises(RecordError, match=f"left/{first.work_unit_id}"):
        FrameResults(storage, JOB).left_to(second)


def test_a_frame_is_taken_from_the_cache_with_what_it_leaves(storage: FolderStorage):
    old, new = chain("earlier")[0], chain("later")[0]
    assert old.work_unit_id == new.work_unit_id
    earlier = store(storage, old)
    later = FrameResults(storage, "later")
    assert later.adopt(new, earlier) is not None
    assert later.left_to(chain("later")[1])["scene/n.txt"] == b"\x00\xff"


def test_a_frame_whose_left_files_are_gone_is_rendered_again(storage: FolderStorage):
    old, new = chain("earlier")[0], chain("later")[0]
    earlier = store(storage, old, left=False)
    assert FrameResults(storage, "later").adopt(new, earlier) is None


def test_a_chain_goes_on_behind_the_last_frame_that_left_its_files(storage: FolderStorage):
    units = chain()
    for unit in units[:3]:
        store(storage, unit, left=unit is not units[2])
    found = find_stored_results(storage, units)
    assert [result.frame for result in found.rendered.values()] == [1, 2]
    assert set(found.others) == {units[2].work_unit_id}


def test_of_a_chain_that_is_all_there_nothing_is_rendered(storage: FolderStorage):
    units = chain()
    for unit in units:
        store(storage, unit, left=False)
    assert len(find_stored_results(storage, units).rendered) == len(units)
