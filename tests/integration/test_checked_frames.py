"""A stored image, or file, that is not what was rendered or submitted is named and never used."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from povstorm_client import Cluster, Job, JobError, RenderSettings, WorkUnit
from povstorm_client.errors import RenderError, StorageError, VideoError
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs import shared_resources as shared
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.jobs.manifest import read_manifest
from povstorm_client.programs.tools import require_povray
from povstorm_client.storage import layout
from povstorm_client.storage.checksum import crc32c, crc32c_of
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.protocol import Storage
from render_image.render_unit import render_unit
from tasks.report.build import build_report
from tasks.report.job_run import JobRun
from tasks.stored.stored_results import find_stored_results
from tests.conftest import SPHERE
from tests.integration.video_files import encode_video
from tests.synthetic_job import picture, rendered


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return FolderStorage(tmp_path / "storage")
    return request.getfixturevalue("gcs_storage")


def flip(storage: Storage, key: str) -> None:
    """One bit of an object, in place where that can be."""
    data = bytearray(storage.read(key))
    data[len(data) // 2] ^= 1
    if isinstance(storage, FolderStorage):
        storage.path(key).write_bytes(data)
    else:
        storage.write(key, bytes(data))


def submitted(storage: Storage, files: Path | None = None) -> Job:
    job = Job(Cluster(storage.uri), "checked", video=None)
    if files is not None:
        job.add_shared_resources(files)
    for frame in (1, 2, 3):
        settings = RenderSettings(scene="a.pov", width=32, height=24, final_frame=3)
        unit = WorkUnit(settings, frame)
        unit.add_inline_resource("a.pov", "")
        job.add_work_unit(unit)
    job.submit()
    return job


def image_key(unit: WorkUnit) -> str:
    return f"{layout.output(unit.job_id)}/{unit.image_name}"


def store(storage: Storage, unit: WorkUnit, extra: str = "") -> FrameResult:
    """A frame as it is after it was rendered."""
    data = picture(unit.frame, 32, 24)
    storage.write(image_key(unit), data)
    result = rendered(unit, started=1.0, seconds=1.0)
    result = replace(result, image_bytes=len(data), image_crc32c=crc32c_of(data))
    if extra:
        text = f"by frame {unit.frame}".encode()
        storage.write(f"{layout.output(unit.job_id)}/{extra}", text)
        result = replace(result, extra_outputs=[extra], extra_crc32c=[crc32c_of(text)])
    return FrameResults(storage, unit.job_id).commit(result)


@pytest.fixture
def job(storage: Storage) -> Job:
    """A job whose frames are all there."""
    made = submitted(storage)
    for unit in made.work_units:
        store(storage, unit)
    return made


def test_a_stored_image_with_a_flipped_bit_is_rendered_again_and_named(job: Job, storage: Storage):
    flip(storage, image_key(job.work_units[1]))
    said: list[str] = []

    found = find_stored_results(storage, list(job.work_units), said.append)

    assert sorted(result.frame for result in found.rendered.values()) == [1, 3]
    assert [line.split(":")[0] for line in said] == ["frame 2 is rendered again"]
    key = layout.result(job.job_id, job.work_units[1].work_unit_id)
    assert storage.stat(key) is None


def test_another_image_of_the_same_size_is_rendered_again(job: Job, storage: Storage):
    size = len(storage.read(image_key(job.work_units[1])))
    storage.write(image_key(job.work_units[1]), bytes(size))

    assert len(find_stored_results(storage, list(job.work_units), print).rendered) == 2


def test_a_damaged_further_output_is_rendered_again(storage: Storage):
    job = submitted(storage)
    units = list(job.work_units)
    for unit in units:
        store(storage, unit, extra=f"notes_{unit.frame}.txt")
    flip(storage, f"{layout.output(job.job_id)}/notes_3.txt")

    found = find_stored_results(storage, units, print)

    assert sorted(result.frame for result in found.rendered.values()) == [1, 2]


def test_an_output_that_several_frames_wrote_is_what_any_of_them_wrote(
    storage: Storage, tmp_path: Path
):
    job = submitted(storage)
    units = list(job.work_units)
    for unit in units:
        store(storage, unit, extra="notes.txt")

    assert len(find_stored_results(storage, units, print).rendered) == 3
    assert len(job.save_images(tmp_path / "saved")) == 3
    assert (tmp_path / "saved" / "notes.txt").read_text() == "by frame 3"


def test_results_that_are_not_readable_are_rendered_again_and_named(job: Job, storage: Storage):
    key = layout.result(job.job_id, job.work_units[0].work_unit_id)
    storage.write(key, b'{"frame": [1]}')
    said: list[str] = []

    found = find_stored_results(storage, list(job.work_units), said.append)

    assert sorted(result.frame for result in found.rendered.values()) == [2, 3]
    assert len(said) == 1
    assert said[0].startswith("frame 1 is rendered again: ")
    assert key in said[0]
    assert storage.stat(key) is None


def test_a_frame_that_another_run_stores_anew_meanwhile_is_no_damage(
    job: Job, storage: Storage, monkeypatch: pytest.MonkeyPatch
):
    unit = job.work_units[1]
    old = FrameResults(storage, unit.job_id).commit(store(storage, unit))
    newer = picture(99, 32, 24)
    listing = storage.list

    def replaced_after_results_were_read(prefix: str, **options: bool):
        if prefix == layout.output(job.job_id):
            storage.write(image_key(unit), newer)
            again = replace(old, image_crc32c=crc32c_of(newer), image_bytes=len(newer))
            storage.write(
                layout.result(unit.job_id, unit.work_unit_id),
                json.dumps(again.to_json()).encode(),
            )
        return listing(prefix, **options)

    monkeypatch.setattr(storage, "list", replaced_after_results_were_read)
    said: list[str] = []

    find_stored_results(storage, list(job.work_units), said.append)

    assert said == []
    assert storage.stat(layout.result(unit.job_id, unit.work_unit_id)) is not None


def test_a_damaged_image_is_not_adopted_from_the_cache(job: Job, storage: Storage):
    new = submitted(storage).work_units[1]
    result = FrameResult.from_bytes(
        storage.read(layout.result(job.job_id, job.work_units[1].work_unit_id))
    )
    another = submitted(storage)
    adopting = FrameResults(storage, another.job_id)
    assert adopting.adopt(another.work_units[1], result) is not None
    flip(storage, image_key(job.work_units[1]))
    said: list[str] = []

    assert FrameResults(storage, new.job_id).adopt(new, result, said.append) is None

    assert len(said) == 1
    assert said[0].startswith("frame 2 is rendered again: ")
    assert storage.stat(image_key(new)) is None


@pytest.mark.parametrize(
    "change",
    [
        {"work_unit_id": "frame-0002-000000000000"},
        {"frame": 3},
        {"image": "frame_1.png"},
        {"image": "../job.json"},
        {"extra_outputs": ["frame_1.png"], "extra_crc32c": []},
    ],
    ids=str,
)
def test_a_cache_entry_that_points_elsewhere_is_not_adopted(
    change: dict[str, object], job: Job, storage: Storage
):
    result = FrameResult.from_bytes(
        storage.read(layout.result(job.job_id, job.work_units[1].work_unit_id))
    )
    new = submitted(storage)
    said: list[str] = []

    changed = replace(result, **change)
    adopting = FrameResults(storage, new.job_id)
    assert adopting.adopt(new.work_units[1], changed, said.append) is None

    assert len(said) == 1
    assert list(storage.list(layout.output(new.job_id))) == []


def test_a_damaged_image_is_neither_given_nor_saved_and_the_others_are(
    job: Job, storage: Storage, tmp_path: Path
):
    flip(storage, image_key(job.work_units[1]))

    with pytest.raises(JobError, match=f"povstorm retry {job.job_id}") as raised:
        job.save_images(tmp_path / "saved")
    assert raised.value.failed_frames == (2,)
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == [
        "frame_1.png",
        "frame_3.png",
    ]
    with pytest.raises(StorageError, match=rf"frame_2\.png.*povstorm retry {job.job_id}"):
        job.images()
    assert list(job.damage()) == [2]


def test_a_saved_image_of_before_stays_where_the_stored_one_is_damaged(
    job: Job, storage: Storage, tmp_path: Path
):
    job.save_images(tmp_path)
    before = (tmp_path / "frame_2.png").read_bytes()
    flip(storage, image_key(job.work_units[1]))

    # It is the one that was rendered, so it is not fetched.
    job.save_images(tmp_path)

    assert (tmp_path / "frame_2.png").read_bytes() == before
    with pytest.raises(JobError, match="frames 2"):
        job.save_images(tmp_path / "elsewhere")
    assert list(job.damage()) == [2]


def test_a_result_that_is_not_readable_is_named_when_images_are_saved(
    job: Job, storage: Storage, tmp_path: Path
):
    storage.write(layout.result(job.job_id, job.work_units[0].work_unit_id), b"{")

    with pytest.raises(JobError, match=r"frames 1\. Frame 1: .* is not readable"):
        job.save_images(tmp_path)

    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["frame_2.png", "frame_3.png"]
    assert [result.frame for result in job.results()] == [2, 3]


def test_results_of_before_the_checksums_go_by_their_size(storage: Storage, tmp_path: Path):
    job = submitted(storage)
    for unit in job.work_units:
        result = replace(store(storage, unit), image_crc32c="")
        key = layout.result(unit.job_id, unit.work_unit_id)
        storage.write(key, json.dumps(result.to_json()).encode())
    assert len(find_stored_results(storage, list(job.work_units), print).rendered) == 3
    storage.write(image_key(job.work_units[0]), b"short")
    assert len(find_stored_results(storage, list(job.work_units), print).rendered) == 2


def test_no_video_is_made_of_a_damaged_image(tmp_path: Path):
    images = [(frame, tmp_path / f"frame_{frame}.png") for frame in (1, 2)]
    for frame, path in images:
        path.write_bytes(picture(frame, 32, 24))
    checksums = {frame: crc32c(path) for frame, path in images}
    images[1][1].write_bytes(picture(9, 32, 24))

    with pytest.raises(VideoError, match=r"frame 2 is not the image that was rendered.*retry job"):
        encode_video(
            images,
            tmp_path / "video.mp4",
            fps=Fraction(24),
            expected_frames=(1, 2),
            checksums=checksums,
            remedy="povstorm retry job",
        )
    assert not (tmp_path / "video.mp4").exists()


def test_the_report_shows_no_damaged_image_and_says_which(tmp_path: Path):
    storage = FolderStorage(tmp_path)
    job = submitted(storage)
    results = [store(storage, unit) for unit in job.work_units]
    flip(storage, image_key(job.work_units[1]))
    manifest = read_manifest(storage, job.job_id)
    run = JobRun(manifest, job.work_units, results, None, completed=False, message="")

    report = build_report(storage, run)

    assert "frame_2.png is not what was rendered" in report.html


def test_a_frame_whose_result_alone_was_damaged_gets_it_from_the_cache(job: Job, storage: Storage):
    unit = job.work_units[1]
    key = layout.result(unit.job_id, unit.work_unit_id)
    result = FrameResult.from_bytes(storage.read(key))
    storage.remove(key)

    assert FrameResults(storage, unit.job_id).adopt(unit, result) == result

    assert FrameResult.from_bytes(storage.read(key)) == result


def test_a_scene_that_prints_endless_seconds_costs_its_frame_only(sphere_unit, storage: Storage):
    line = f'#debug "Trace Time: 0 hours 0 minutes 0 seconds ({"9" * 9} seconds)\\n"'
    printed = f"#for (I, 1, 200) {line} #end"
    unit = sphere_unit(1, SPHERE + printed).assigned(
        job_id="job", shared_prefix="", offload_prefix=layout.output("job")
    )

    with pytest.raises(RenderError, match="looks like POV-Ray's statistics") as raised:
        asyncio.run(render_unit(unit, storage, require_povray()))

    assert not raised.value.retryable
    key = layout.result("job", unit.work_unit_id)
    assert FrameResult.from_bytes(storage.read(key)).state == "failed"


# Shared resources


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "scene"
    folder.mkdir()
    (folder / "colours.inc").write_text("#declare C = rgb <1, 0, 0>;" * 10)
    (folder / "shapes.inc").write_text("#declare S = sphere { 0, 1 }" * 10)
    return folder


def tree(storage: Storage, job: Job) -> dict[str, str]:
    return read_manifest(storage, job.job_id).shared_files


def test_a_damaged_blob_is_uploaded_again(storage: Storage, files: Path):
    job = submitted(storage, files)
    blob = layout.blob(tree(storage, job)["colours.inc"])
    flip(storage, blob)

    submitted(storage, files)

    assert storage.read(blob) == (files / "colours.inc").read_bytes()


def test_a_tree_that_was_edited_is_laid_out_again_and_named(storage: Storage, files: Path):
    job = submitted(storage, files)
    prefix = shared.stage(storage, tree(storage, job))
    key = f"{prefix}/colours.inc"
    storage.write(key, b"#declare C = rgb <0, 1, 0>;" * 10)  # of the same size
    storage.write(f"{prefix}/planted.inc", b"")
    said: list[str] = []

    assert shared.stage(storage, tree(storage, job), said.append) == prefix

    assert storage.read(key) == (files / "colours.inc").read_bytes()
    assert storage.stat(f"{prefix}/planted.inc") is None
    assert [line.split(" ")[0] for line in said] == [key, f"{prefix}/planted.inc"]


def test_a_blob_of_a_folder_that_is_not_what_its_name_says_is_never_laid_out(
    tmp_path: Path, files: Path
):
    storage = FolderStorage(tmp_path / "storage")
    job = submitted(storage, files)
    prefix = shared.stage(storage, tree(storage, job))
    flip(storage, f"{prefix}/colours.inc")  # and its blob: they may be one file
    flipped = storage.read(f"{prefix}/colours.inc")
    storage.write(layout.blob(tree(storage, job)["colours.inc"]), flipped)

    with pytest.raises(StorageError, match=r"shared/colours\.inc.*submit the job again"):
        shared.stage(storage, tree(storage, job))

    again = submitted(storage, files)
    shared.stage(storage, tree(storage, again))
    assert storage.read(f"{prefix}/colours.inc") == (files / "colours.inc").read_bytes()


def test_a_container_renders_no_frame_with_shared_files_that_were_edited(
    files: Path, gcs_storage: Storage
):
    job = submitted(gcs_storage, files)
    prefix = shared.stage(gcs_storage, tree(gcs_storage, job))
    gcs_storage.write(f"{prefix}/colours.inc", b"#declare C = rgb <0, 1, 0>;" * 10)
    unit = job.work_units[0]

    with pytest.raises(RenderError, match="other files than were submitted") as raised:
        asyncio.run(render_unit(unit, gcs_storage, require_povray(), sandbox="off"))

    assert not raised.value.retryable
    key = layout.result(unit.job_id, unit.work_unit_id)
    stored = FrameResult.from_bytes(gcs_storage.read(key))
    assert stored.state == "failed"
    assert "submit it again" in stored.error


def test_a_tree_is_compared_once_for_all_frames_of_a_container(
    files: Path, gcs_storage: Storage, tmp_path: Path
):
    prefix = shared.stage(gcs_storage, tree(gcs_storage, submitted(gcs_storage, files)))
    compared: list[Path] = []
    check: Callable[[Path], None] = compared.append

    for number in range(3):
        gcs_storage.mount(prefix, tmp_path / str(number), keep=True, check=check)

    assert len(compared) == 1
    shared.check_tree(tmp_path / "2", prefix.rpartition("/")[2])
