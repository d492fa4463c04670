"""What others have written into a storage is refused, or leads nowhere but into its own job."""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from povstorm_client import Cluster, InputError, Job, PovstormError, StorageError
from povstorm_client.frames.render_settings import RenderSettings
from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.manifest import read_manifest, read_work_units
from povstorm_client.paths import check_workspace_path
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage

HOSTILE_TEXTS = [
    "/etc/passwd",
    "../../../etc/passwd",
    "shared/../../x",
    "output/x",
    "a\nb",
    "a\0b",
    'a" +O"/etc/x',
    "a +O/etc/x",
    "3 +O/etc/x",
    "-",
    "+O/etc/x",
    "Pre_Scene_Command=rm",
    "$(id)",
    "`id`",
    "%o",
    "\\\\host\\x",
    "\ud800",
    "é",
    "x" * 5000,
    "other-job",
    "jobs/other-job/output",
    "blobs",
    "",
]
texts = st.sampled_from(HOSTILE_TEXTS) | st.text(max_size=20)
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.just(10**400) | st.just(-1)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
options = st.lists(st.sampled_from(["+A0.3", "+FN16", "Declare=X=1"]) | texts, max_size=3)

GOOD_UNIT = (
    WorkUnit(RenderSettings(scene="shared/a.pov", final_frame=60), frame=7)
    .assigned(
        job_id="job", shared_prefix=layout.shared("a" * 64), offload_prefix=layout.output("job")
    )
    .to_json()
)
# What POV-Ray may be told, argument by argument: no file is named outside of the workspace, and no
# space or quote would let it read two arguments in one.
SAFE_ARGUMENT = re.compile(
    r"povray"
    r'|\+[IL]([\w./-]+|"[^"\n]+")'
    r"|\+Ooutput/frame_\d*\.png"
    r"|[+-][A-HJ-NP-Z][A-Za-z]*-?[\d.]*"
    r'|Include_Header="[^"\n]+"'
    r"|[A-Za-z_]+=[\w.+=/-]+",
    re.ASCII,
)


@st.composite
def tampered(draw: st.DrawFn, good: dict[str, Any], depth: int = 2) -> dict[str, Any]:
    """Good data of which a few entries, at some depth, are replaced by anything."""
    data = dict(good)
    for name in draw(st.lists(st.sampled_from(sorted(data)), min_size=1, max_size=2)):
        inner = data[name]
        if isinstance(inner, dict) and inner and depth > 1 and draw(st.booleans()):
            data[name] = draw(tampered(inner, depth - 1))
        elif name == "options":
            data[name] = draw(options)
        elif name == "inline_resource":
            data[name] = draw(st.dictionaries(texts, st.sampled_from(["", "YQ=="]) | values))
        else:
            data[name] = draw(values)
    return data


def assert_harmless(unit: WorkUnit) -> None:
    for argument in unit.cmd:
        assert SAFE_ARGUMENT.fullmatch(argument), argument
        path = argument[2:].strip('"') if argument[:2] in {"+I", "+L", "+O"} else ""
        assert not path.startswith("/")
        assert ".." not in path.split("/")
    for path in unit.inline_files():
        assert posixpath.normpath(f"/workspace/{path}").startswith("/workspace/")
        assert path.split("/")[0].lower() not in {"shared", "output"}
    assert "/" not in unit.name + unit.image_name + unit.work_unit_id


@given(tampered(GOOD_UNIT, depth=3))
@settings(max_examples=400)
def test_a_tampered_work_unit_is_refused_or_harmless(data: dict[str, Any]):
    try:
        unit = WorkUnit.from_json(data)
    except InputError:
        return
    assert_harmless(unit)


@given(values)
def test_what_is_no_work_unit_and_no_settings_at_all_is_refused(data: Any):
    for read in (WorkUnit.from_json, RenderSettings.from_json):
        try:
            read(data)
        except InputError:
            continue
        assert isinstance(data, dict)


@given(tampered(GOOD_UNIT["settings"]))
@settings(max_examples=300)
def test_tampered_settings_are_refused_or_make_a_harmless_command(data: dict[str, Any]):
    try:
        read = RenderSettings.from_json(data)
        unit = WorkUnit(read, frame=read.initial_frame)
    except InputError:
        return
    assert_harmless(unit)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    made = Job(Cluster.local(tmp_path), "mine", video=None)
    unit = WorkUnit(RenderSettings(scene="a.pov"))
    unit.add_inline_resource("a.pov", "")
    made.add_work_unit(unit)
    made.submit()
    return made


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_stored_units_stay_in_their_job(job: Job, data: st.DataObject):
    storage, key = job.cluster.storage, layout.work_units(job.job_id)
    good = job.work_units[0].to_json()
    storage.write(key, json.dumps(data.draw(tampered(good))).encode())
    try:
        units = read_work_units(storage, job.job_id)
    except StorageError:
        return
    finally:
        storage.write(key, json.dumps(good).encode())
    for unit in units:
        assert_harmless(unit)
        assert unit.job_id == job.job_id
        assert unit.offload_gcs_prefix == layout.output(job.job_id)
        assert re.fullmatch(r"(shared/[0-9a-f]{64})?", unit.shared_resource_gcs_prefix)


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_stored_manifest_stays_in_its_job(job: Job, data: st.DataObject):
    storage, key = job.cluster.storage, layout.job_manifest(job.job_id)
    stored = storage.read(key)
    storage.write(key, json.dumps(data.draw(tampered(json.loads(stored)))).encode())
    try:
        manifest = read_manifest(storage, job.job_id)
    except PovstormError:
        return
    finally:
        storage.write(key, stored)
    assert manifest.job_id == job.job_id
    assert "/" not in manifest.name + (manifest.settings.video or "")
    assert manifest.settings.frames_per_second > 0
    for path in manifest.shared_files:
        check_workspace_path(path, "")


@pytest.mark.parametrize(
    "text", [b"[" * 100_000, b"\xff\xfe", b"{", b"null", b"[]", b"1e999", b'{"frames": 1}']
)
def test_a_manifest_that_is_no_manifest_is_refused(text: bytes, job: Job):
    storage = job.cluster.storage
    storage.write(layout.job_manifest(job.job_id), text)
    with pytest.raises(StorageError, match="not readable"):
        read_manifest(storage, job.job_id)
    storage.write(layout.work_units(job.job_id), text)
    with pytest.raises(StorageError, match="not readable"):
        read_work_units(storage, job.job_id)


@pytest.mark.parametrize(
    "change",
    [
        {"job_id": "other"},
        {"offload_gcs_prefix": "jobs/other/output"},
        {"shared_resource_gcs_prefix": "jobs/other"},
    ],
)
def test_a_unit_that_names_another_jobs_places_is_refused(change: dict[str, str], job: Job):
    storage = job.cluster.storage
    line = json.dumps(job.work_units[0].to_json() | change)
    storage.write(layout.work_units(job.job_id), line.encode())
    with pytest.raises(StorageError, match="another job"):
        read_work_units(storage, job.job_id)


def test_a_manifest_of_before_the_limits_is_still_read(job: Job):
    storage, key = job.cluster.storage, layout.job_manifest(job.job_id)
    data = json.loads(storage.read(key))
    del data["stall_timeout"], data["frame_memory"]
    storage.write(key, json.dumps(data).encode())
    manifest = read_manifest(storage, job.job_id)
    assert (manifest.settings.stall_timeout, manifest.settings.frame_memory) == (3600.0, None)


@pytest.mark.parametrize("name", ["../../.bashrc", "/etc/x", "a/../../b"])
def test_a_result_cannot_name_a_file_outside_of_where_images_are_saved(name: str):
    result = FrameResult("id", "job", 1, "rendered", 1, "host", 0.0, 0.0).to_json()
    for change in ({"image": name}, {"extra_outputs": [name]}):
        with pytest.raises(StorageError, match="not readable"):
            FrameResult.from_json(result | change)


def test_storage_keys_lead_nowhere_else(tmp_path: Path):
    storage = FolderStorage(tmp_path)
    for key in ("../x", "/etc/passwd", "a/../../x"):
        with pytest.raises(InputError):
            storage.path(key)
