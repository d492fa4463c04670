"""Any JSON in any field of any stored record: it is read as what it is, or refused by its name."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from povstorm_client import Cluster, Job, RenderSettings, WorkUnit
from povstorm_client.cleaning.job_deletion import half_deleted, reasons_to_keep
from povstorm_client.cleaning.unreferenced import find_unreferenced
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.scene_estimate import read_estimate
from povstorm_client.cloud_run.stored_plan import read_plan
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob
from povstorm_client.cloud_run.wave_claim import Claim, claim, read_claims
from povstorm_client.cloud_run.wave_share import (
    WaveFrame,
    WaveShare,
    read_index,
    read_share,
    write_wave,
)
from povstorm_client.commands.job_table import job_table
from povstorm_client.commands.status_page import StatusPage
from povstorm_client.errors import PovstormError, RecordError, StorageError
from povstorm_client.frames.cached_frame import cached_frame_record, parse_cached_frame
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.jobs.manifest import check_frames, read_manifest, read_work_units
from povstorm_client.jobs.overview import FrameWatch
from povstorm_client.jobs.state import JobState, read_state, write_state
from povstorm_client.jobs.statistics import read_statistics
from povstorm_client.jobs.summary import newest_jobs
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.layout import JOB_ID
from tasks.report.gather import gather
from tests.synthetic_job import START, failed, finished, make_manifest, make_units, rendered

JOB = "orbit-20260102-030405-ab12"
FLEET = CloudRunFleet("project", "europe-west1", (CloudRunJob("small", 1.0, 512, 10, 1, 600),))
WAVE = layout.wave(JOB, "w1")
CRASHING = [
    "x", "", "1", True, None, [], {}, [1], {"a": 1}, -1, 1.5, 1e300, -1e300, 10**18, 10**400,
    float("nan"), float("inf"), "\ud800", "\x1b[2J", "../x", "1e999999999", "0/0", "1/0",
]  # fmt: skip
values = st.sampled_from(CRASHING) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all fields of a record, and of what is in them."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(data, dict):
        inner = list(data.items())
    elif isinstance(data, list):
        inner = list(enumerate(data))
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


def replaced(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    changed = copy.copy(data)
    changed[path[0]] = replaced(data[path[0]], path[1:], value)
    return changed


@st.composite
def tampered(draw: st.DrawFn, good: Any) -> bytes:
    """A good record with a field, at any depth, replaced by any JSON, or gone, or with more."""
    path = draw(st.sampled_from(places(good)))
    data = copy.deepcopy(replaced(good, path, draw(values)))
    if isinstance(data, dict) and draw(st.booleans()):
        data[draw(st.sampled_from([*data, "of_a_newer_version"]))] = draw(values)
    return json.dumps(data).encode()


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> FolderStorage:
    """A job with one of each record."""
    storage = FolderStorage(tmp_path_factory.mktemp("storage"))
    units = make_units(JOB, 3)
    manifest = make_manifest(JOB, 3, cloud_run=FLEET, shared_files={"a.inc": "a" * 64})
    results = [
        rendered(units[0], started=START, seconds=1.0, extra_outputs=["a.txt"], extra_crc32c=["x"]),
        rendered(units[1], started=START + 1, seconds=2.0),
        failed(units[2], started=START, error="Parse Error: no such thing"),
    ]
    run = finished(storage, manifest, units, results, attempts=(results[2],))
    assert run.statistics is not None
    text = json.dumps(run.statistics.to_json() | {"video": {"frames": 3, "bytes": 5, "fps": "24"}})
    storage.write(layout.statistics(JOB), text.encode())
    lines = "".join(json.dumps(unit.to_json()) + "\n" for unit in units)
    storage.write(layout.work_units(JOB), lines.encode())
    storage.write(layout.job_manifest(JOB), json.dumps(manifest.to_json()).encode())
    write_state(storage, JOB, JobState("rendering", 3, updated=time.time(), working=((2, 3),)))
    share = WaveShare(tuple(WaveFrame(unit, 1, False, START) for unit in units), None)
    write_wave(storage, WAVE, [share])
    assert claim(storage, WAVE, "unit", Claim(1, "a")) == Claim(1, "a")
    wave = {
        "wave": "w1", "execution": "e", "render_job": "small", "tasks": 1, "frames": 3,
        "submitted": START, "completed": START + 9, "failed_tasks": 0,
        "predicted_seconds": 60.0, "predicted_usd": 0.1, "billed_usd": None,
    }  # fmt: skip
    plan = {"lean": "balanced", "usd": 0.1, "billed_usd": 0.2, "waves": [wave]}
    storage.write(layout.plan(JOB), json.dumps(plan).encode())
    estimate = {"frames": 2, "total_cpu_seconds": 1.0, "peak_memory_bytes": 3}
    storage.write(layout.estimate("d"), json.dumps(estimate).encode())
    return storage


def all_readers(storage: FolderStorage) -> dict[str, Callable[[], Any]]:
    """Key → what reads it, and what is done with that afterwards."""
    units = make_units(JOB, 3)
    manifest = make_manifest(JOB, 3, cloud_run=FLEET)

    def statistics() -> str:
        found = read_statistics(storage, JOB)
        assert all(type(frame) is int for frame in found.frames_missing)
        return str(found)

    def plan() -> float:
        found = read_plan(storage, JOB)
        assert found is not None
        return sum(wave.predicted_usd + wave.submitted for wave in found.waves)

    def state() -> Any:
        found = read_state(storage, JOB)
        overview = FrameWatch(storage, JOB, units).look(found)
        page = StatusPage(JOB, found, overview, time.time())
        Console(file=open("/dev/null", "w")).print(page.render())  # noqa: PTH123, SIM115
        return overview

    def one_result() -> Any:
        found = FrameResults(storage, units[0].job_id).of(units)
        assert len(found.results) + len(found.unreadable) == 3
        for problem in found.unreadable.values():
            raise RecordError(problem)
        run = finished(storage, manifest, units, found.results, stored=False)
        gather(storage, run)
        return found

    def job() -> Any:
        found = read_manifest(storage, JOB)
        check_frames(found, read_work_units(storage, JOB))
        return found.settings.frames_per_second, time.localtime(found.created)

    return {
        layout.job_manifest(JOB): job,
        layout.work_units(JOB): lambda: read_work_units(storage, JOB),
        layout.job_state(JOB): state,
        layout.statistics(JOB): statistics,
        layout.plan(JOB): plan,
        layout.result(JOB, units[0].work_unit_id): one_result,
        layout.wave_share(WAVE, 0): lambda: read_share(storage, WAVE, 0),
        layout.wave_index(WAVE): lambda: read_index(storage, WAVE),
        layout.wave_claim(WAVE, "unit"): lambda: read_claims(storage, WAVE, {"unit"}),
        layout.estimate("d"): lambda: read_estimate(storage, "d").cpu_seconds,
    }


KINDS = [
    "job.json", "work_units.jsonl", "state.json", "statistics.json", "plan.json", "results/",
    "00000.json", "index.json", "claims/", "estimates/",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=60)
def test_a_tampered_record_is_read_as_what_it_says_or_refused_by_its_key(
    kind: str, storage: FolderStorage, data: st.DataObject
):
    [(key, read)] = [(key, read) for key, read in all_readers(storage).items() if kind in key]
    stored = storage.read(key)
    read()
    line, *rest = stored.splitlines(keepends=True) if "jsonl" in kind else [stored]
    storage.write(key, data.draw(tampered(json.loads(line))) + b"\n" + b"".join(rest))
    try:
        read()
    except RecordError as error:
        assert key in str(error) or JOB in str(error)
    finally:
        storage.write(key, stored)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"{", b"null", b"[]", b"{}", b"3", b'"x"', b"\xff\xfe"),
        *(b"[" * 100_000, b'{"a":' * 100_000, b"1" + b"0" * 5000),
    ],
    ids=lambda text: text[:6].decode(errors="replace"),
)
def test_what_is_no_record_at_all_is_refused(kind: str, text: bytes, storage: FolderStorage):
    [(key, read)] = [(key, read) for key, read in all_readers(storage).items() if kind in key]
    stored = storage.read(key)
    storage.write(key, text)
    try:
        if kind == "estimates/" or (kind, text) in {
            ("index.json", b"[]"),
            ("work_units.jsonl", b""),
        }:
            read()  # it only saves a sample; a wave of no tasks; a job of no frames
        else:
            with pytest.raises(StorageError, match=r"not readable|schema None"):
                read()
    finally:
        storage.write(key, stored)


@given(data=st.data())
@settings(max_examples=60)
def test_a_tampered_result_of_one_frame_leaves_the_others(
    storage: FolderStorage, data: st.DataObject
):
    units = make_units(JOB, 3)
    key = layout.result(JOB, units[1].work_unit_id)
    stored = storage.read(key)
    storage.write(key, data.draw(tampered(json.loads(stored))))
    try:
        found = FrameResults(storage, units[0].job_id).of(units)
    finally:
        storage.write(key, stored)
    assert {1, 3} <= {result.frame for result in found.results}
    assert {result.frame for result in found.results} | set(found.unreadable) == {1, 2, 3}


@pytest.mark.parametrize(
    "change",
    [
        {"frame": [1]}, {"started": "x"}, {"image_bytes": "5"}, {"started": 1e300},
        {"attempt": 10**30}, {"statistics": {"rays": "x"}}, {"extra_outputs": "abc"},
        {"frame": 1}, {"job_id": "another"}, {"work_unit_id": "frame-0001-000000000000"},
        {"image": "frame_1.png"}, {"image": "../x.png"}, {"extra_outputs": ["frame_1.png"]},
        {"extra_outputs": ["FRAME_3.PNG"]}, {"extra_outputs": ["a"], "extra_crc32c": ["1", "2"]},
        {"state": "done"},
    ],
    ids=str,
)  # fmt: skip
def test_a_result_that_is_not_of_its_frame_counts_as_not_rendered(
    change: dict[str, Any], storage: FolderStorage
):
    units = make_units(JOB, 3)
    key = layout.result(JOB, units[1].work_unit_id)
    stored = storage.read(key)
    storage.write(key, json.dumps(json.loads(stored) | change).encode())
    try:
        found = FrameResults(storage, units[0].job_id).of(units)
    finally:
        storage.write(key, stored)
    assert [result.frame for result in found.results] == [1, 3]
    assert key in found.unreadable[2]


def test_a_result_of_before_the_outputs_checksums_is_still_read():
    data = FrameResult("id", "job", 1, "rendered", 1, "host", 0.0, 0.0, extra_outputs=["a"])
    old = data.to_json()
    del old["extra_crc32c"]
    assert FrameResult.from_bytes(json.dumps(old).encode()) == data
    assert data.checksums == {"a": ""}


@pytest.mark.parametrize(
    ("change", "is_lost"),
    [
        ({}, True),
        ({"state": "retrying"}, True),
        ({"error": "Parse Error"}, False),
        ({"error": "of its container run-x/task-3 nothing is known"}, False),
        ({"host": "workstation"}, False),
        ({"state": "rendered"}, False),
        ({"error": "in other words", "lost_container": True}, True),
    ],
)
def test_a_lost_container_is_told_from_a_frame_that_failed_in_one_by_older_results_too(
    change: dict[str, object], is_lost: bool
):
    error = "its container run-x/task-3 was lost with exit code 7"
    old = FrameResult("id", "job", 1, "failed", 1, "run-x/task-3", 0.0, 0.0, error=error).to_json()
    del old["lost_container"]
    record = old | change

    assert FrameResult.from_json(record).lost_container == is_lost
    assert FrameResult.from_bytes(json.dumps(record).encode()).lost_container == is_lost


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    """Two jobs of one storage."""

    def submitted() -> Job:
        job = Job(Cluster.local(tmp_path), "mine", video=None)
        unit = WorkUnit(RenderSettings(scene="a.pov"))
        unit.add_inline_resource("a.pov", "")
        job.add_work_unit(unit)
        job.submit()
        return job

    return [submitted(), submitted()]


@pytest.mark.parametrize("field", ["created", "frames", "retries", "fps", "cloud_run", "name"])
@pytest.mark.parametrize("value", CRASHING, ids=str)
def test_a_bad_manifest_is_one_line_in_the_list_and_in_what_is_cleaned(
    field: str, value: Any, jobs: list[Job]
):
    bad, good = jobs
    storage = good.cluster.storage
    key = layout.job_manifest(bad.job_id)
    storage.write(key, json.dumps(json.loads(storage.read(key)) | {field: value}).encode())

    listed = {job.job_id: job for job in newest_jobs(storage)}
    Console(file=open("/dev/null", "w")).print(job_table(listed.values(), time.time()))  # noqa: PTH123, SIM115
    assert listed[good.job_id].phase == "submitted"
    problem = listed[bad.job_id].problem
    assert problem == "" or (key in problem and "\n" not in problem)
    now = time.time()
    unused = find_unreferenced(storage, now)
    assert bad.job_id in unused.unreadable or not problem
    reasons_to_keep(storage, list(listed))


@pytest.mark.parametrize("field", ["phase", "total", "updated", "working", "message"])
@pytest.mark.parametrize("value", [*CRASHING, [[1, 10**18]], [[0, 2**31 - 1]]], ids=str)
def test_a_bad_state_is_one_line_in_the_list(field: str, value: Any, jobs: list[Job]):
    bad, good = jobs
    storage = good.cluster.storage
    state = {"phase": "rendering", "total": 1, "updated": time.time(), field: value}
    storage.write(layout.job_state(bad.job_id), json.dumps(state).encode())

    listed = {job.job_id: job for job in newest_jobs(storage)}
    assert listed[good.job_id].phase == "submitted"
    problem = listed[bad.job_id].problem
    assert layout.job_state(bad.job_id) in problem or listed[bad.job_id].phase == "rendering"
    if not problem:
        FrameWatch(storage, bad.job_id, bad.work_units).look(bad.state())


@pytest.mark.parametrize("name", ["-.json", ".json", "a/b.json", "A.json", "x" * 101 + ".json"])
def test_a_note_of_a_deletion_that_names_no_job_is_passed_over(name: str, jobs: list[Job]):
    storage = jobs[0].cluster.storage
    storage.write(f"{layout.DELETIONS}/{name}", b"{}")
    assert half_deleted(storage) == []


@given(st.from_regex(rf"\A{JOB_ID}\Z"))
def test_job_ids_need_no_quoting(job_id: str):
    assert job_id.isascii()
    assert "/" not in job_id


RESULT = FrameResult("frame-0001-0123456789ab", "job", 1, "rendered", 1, "h", START, START)
NAME = "frame-abc-povray-3.7"


def entry() -> dict[str, Any]:
    record: dict[str, Any] = json.loads(cached_frame_record(RESULT, NAME, "3.8.8"))
    return record


@given(data=st.data())
def test_a_tampered_cache_entry_is_none_or_a_frames_result(data: st.DataObject):
    try:
        found = parse_cached_frame(data.draw(tampered(entry())), NAME)
    except PovstormError as error:
        assert NAME in str(error)
        return
    again = json.loads(cached_frame_record(found, NAME, "3.8.8"))
    assert again["metadata"]["serializer"] == {"type": "json", "object_decoder": None}


@pytest.mark.parametrize(
    "serializer",
    [
        {"type": "pickle"},
        {"type": "pickle", "picklelib": "os"},
        {"type": "json", "object_decoder": "os.system"},
        {"type": "json", "jsonlib": "os"},
        {"type": "json", "loads_kwargs": {"cls": "x"}},
        {"type": "compressed/json"},
        {"type": "compressed", "serializer": {"type": "pickle"}},
        {"type": "json", "something": "new"},
        {},
        "pickle",
        None,
    ],
    ids=str,
)
def test_a_cache_entry_that_names_a_decoder_is_none(serializer: Any):
    record = entry()
    record["metadata"]["serializer"] = serializer
    with pytest.raises(RecordError, match=r"cache entry frame-abc-povray-3\.7"):
        parse_cached_frame(json.dumps(record).encode(), NAME)


@pytest.mark.parametrize(
    "changes",
    [
        {"data": "x"},
        {"serializer": {"type": "pickle"}},
        {"expiration": None},
        {"result": {"__class__": "os.system", "data": "x"}},
        {"result": json.dumps({"__class__": "os.system", "data": "x"})},
        {"result": 5},
    ],
    ids=str,
)
def test_a_cache_entry_of_another_shape_is_none(changes: dict[str, Any]):
    with pytest.raises(RecordError):
        parse_cached_frame(json.dumps(entry() | changes).encode(), NAME)


def test_a_cache_entry_under_anothers_name_is_none():
    with pytest.raises(RecordError, match="it is that of"):
        parse_cached_frame(json.dumps(entry()).encode(), "frame-xyz-povray-3.7")
