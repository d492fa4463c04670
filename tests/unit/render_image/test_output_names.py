"""What a frame writes to ./output has names that nothing is lost by, wherever it is stored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from povstorm_client import Cluster, InputError, Job, RenderSettings, StorageError, WorkUnit
from povstorm_client.errors import RenderError
from povstorm_client.frames.doubled_outputs import doubled_outputs
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from render_image.output_names import check_output_names

UNIT = WorkUnit(RenderSettings("a.pov", final_frame=4), frame=2).assigned(
    job_id="a", shared_prefix="", offload_prefix=layout.output("a")
)


@pytest.mark.parametrize(
    "names",
    [
        ["frame_2.png", "notes.txt", "data/1.txt", "data/2.txt"],
        [".partial-x", ".partial/x", ".povstorm-1", "povstorm.json", ".hidden"],
        ["trailing dot.", "trailing blank ", " leading", "frame_2.png.txt", "ä.txt", "FRAME.png"],
        ["n" * 255, "a/frame_3.png"],
    ],
)
def test_names_that_can_be_told_apart_everywhere_are_stored_and_listed(
    names: list[str], storage: FolderStorage
):
    check_output_names(UNIT, names)

    for name in names:
        storage.write(f"{UNIT.offload_gcs_prefix}/{name}", b"content")
    listed = {stored.key for stored in storage.list(UNIT.offload_gcs_prefix)}
    assert listed == {f"{UNIT.offload_gcs_prefix}/{name}" for name in names}
    assert all(layout.is_own(key) for key in listed)
    storage.delete(layout.job("a"), layout.is_own)
    assert not storage.path(layout.job("a")).exists()


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["frame_3.png"], "another frame's image: rename it"),
        (["frame_2.PNG"], "this frame's image where case does not count: rename it"),
        (["Frame_0003.png"], "another frame's image where case does not count"),
        (["a.txt", "A.txt"], "output/a.txt and output/A.txt, which are one where case"),
        (["data/a", "Data/b"], "output/data and output/Data"),
        (["Data", "data/b"], "output/Data and output/data"),
        (["\u00e4.txt", "a\u0308.txt"], "which are one where case does not count"),
        (["a\tb"], "control character"),
        (["a\\b"], "backslash"),
        (["n" * 256], "too long: shorten it"),
        (["/".join(["folder"] * 145)], "too long: shorten it"),
        (["\udcff"], "not valid Unicode"),
    ],
)
def test_names_that_would_be_lost_fail_the_frame_with_the_remedy(names: list[str], says: str):
    with pytest.raises(RenderError, match=says) as failed:
        check_output_names(UNIT, names)
    assert not failed.value.retryable


@given(st.lists(st.text(alphabet="aA.ß/ \n\\\u017fs", min_size=1, max_size=6), unique=True))
def test_whatever_is_let_pass_is_a_key_and_stays_apart_without_case(names: list[str]):
    try:
        check_output_names(UNIT, names)
    except RenderError:
        return
    assert len({name.casefold() for name in names}) == len(names)
    for name in names:
        layout_key = f"{UNIT.offload_gcs_prefix}/{name}"
        assert Path(layout_key).as_posix() == layout_key


@pytest.mark.parametrize("key", [".partial", ".partial/x", ".PARTIAL/x"])
def test_no_object_lies_where_a_folder_keeps_what_is_being_written(
    storage: FolderStorage, key: str
):
    with pytest.raises(InputError, match="what is being written"):
        storage.write(key, b"")


def result(frame: int, *names: str, state: str = "rendered") -> FrameResult:
    return FrameResult("", "a", frame, state, 1, "", 0.0, 0.0, extra_outputs=list(names))


@pytest.mark.parametrize(
    ("results", "says"),
    [
        (
            [result(1, "log.txt"), result(2, "log.txt"), result(4, "b")],
            "frames 1-2 all wrote output/log",
        ),
        ([result(1, "Log.txt"), result(3, "log.TXT")], "frames 1, 3 all wrote output/Log.txt"),
        ([result(1, "data"), result(2, "data/x")], "frames 1-2 all wrote output/data"),
        ([result(1, "a", "b"), result(2, "a", "b")], "output/a, and 1 more such names"),
    ],
)
def test_frames_that_write_one_name_are_told_of(results: list[FrameResult], says: str):
    assert says in doubled_outputs(results)
    assert "frame_number" in doubled_outputs(results)


def test_frames_with_names_of_their_own_need_not_be_told_of_anything():
    assert not doubled_outputs(
        [result(1, "a/1", "b"), result(2, "a/2"), result(3, "b", state="failed")]
    )


def test_what_several_frames_wrote_is_saved_once_and_told(
    cluster: Cluster, sphere_unit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    job = Job(cluster, "doubled")
    for frame in (1, 2):
        job.add_work_unit(sphere_unit(frame))
    job.submit()
    storage = cluster.storage
    for unit in job.work_units:
        FrameResults(storage, job.job_id).commit(
            replace(
                result(unit.frame, "log.txt"),
                work_unit_id=unit.work_unit_id,
                job_id=job.job_id,
                image=unit.image_name,
            ),
        )
        storage.write(f"{unit.offload_gcs_prefix}/{unit.image_name}", b"image")
    storage.write(f"{layout.output(job.job_id)}/log.txt", b"of one of them")

    job.save_images(tmp_path / "saved")

    assert (tmp_path / "saved" / "log.txt").read_bytes() == b"of one of them"
    assert "frames 1-2 all wrote output/log.txt" in capsys.readouterr().err
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(StorageError, match=r"file/frames cannot be made.*save to another"):
        job.save_images(tmp_path / "file" / "frames")
