"""A folder of results has those of one job, and what is the user's in it is never touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from povstorm_client import Cluster, InputError, Job, RenderSettings, StorageError, WorkUnit
from povstorm_client.saving.results_folder import RECORD, Rendering, ResultsFolder, own_folder

FINAL = Rendering("/scenes/anim.ini", ("--video=mp4",), "320x240", "1-48", "mp4")
OTHERS = {
    "size": (
        Rendering("/scenes/anim.ini", ("+W640", "+H480"), "640x480", "1-48", "mp4"),
        "anim_render_640x480",
    ),
    "frames": (
        Rendering("/scenes/anim.ini", ("--frames=1-4",), "320x240", "1-4", "mp4"),
        "anim_render_1-4",
    ),
    "many frames": (
        Rendering("/scenes/anim.ini", (), "320x240", ",".join(map(str, range(1, 48, 2))), "mp4"),
        "anim_render_1-47-24-parts",
    ),
    "section": (
        Rendering("/scenes/anim.ini[night and day]", (), "320x240", "1-48", "mp4"),
        "anim_render_night-and-day",
    ),
    "size section": (
        Rendering("/scenes/anim.ini[640x480]", (), "640x480", "1-48", "mp4"),
        "anim_render_640x480",
    ),
    "still": (Rendering("/scenes/anim.pov", (), "320x240", "1", ""), "anim_render_pov_1_images"),
    "folder": (Rendering("/other/anim.ini", (), "320x240", "1-48", "mp4"), "anim_render_other"),
    "video": (
        Rendering("/scenes/anim.ini", ("--video=gif",), "320x240", "1-48", "gif"),
        "anim_render_gif",
    ),
}


def put(folder: ResultsFolder, name: str, text: str = "image", checksum: str = "") -> Path | None:
    return folder.put(name, lambda path: path.write_text(text), checksum) and folder.path / name


def filled(path: Path, job_id: str = "first", rendering: Rendering = FINAL, files: int = 3):
    folder = ResultsFolder(path)
    folder.begin(job_id, rendering)
    for frame in range(1, files + 1):
        put(folder, f"frames/{frame}.png", job_id)
    put(folder, "anim.mp4", job_id)
    return folder


def names(path: Path) -> list[str]:
    return sorted(
        file.relative_to(path).as_posix()
        for file in path.rglob("*")
        if file.is_file() and file.name != RECORD
    )


def test_the_results_of_the_next_job_leave_none_of_the_last_ones(tmp_path: Path):
    filled(tmp_path, files=5)
    filled(tmp_path, "second", files=2)
    assert names(tmp_path) == ["anim.mp4", "frames/1.png", "frames/2.png"]
    assert {(tmp_path / name).read_text() for name in names(tmp_path)} == {"second"}


def test_nothing_is_removed_before_the_next_jobs_first_result(tmp_path: Path):
    filled(tmp_path)
    ResultsFolder(tmp_path).check_free(["frames/1.png"])
    assert len(names(tmp_path)) == 4


def test_what_the_user_has_added_or_changed_stays(tmp_path: Path):
    filled(tmp_path)
    (tmp_path / "frames" / "notes.txt").write_text("mine")
    (tmp_path / "frames" / "3.png").write_text("retouched")
    filled(tmp_path, "second", files=1)
    assert names(tmp_path) == ["anim.mp4", "frames/1.png", "frames/3.png", "frames/notes.txt"]
    assert (tmp_path / "frames" / "3.png").read_text() == "retouched"


@pytest.mark.parametrize(
    ("name", "whose"), [("frames/9.png", "is not povstorm's"), ("frames/1.png", "was changed")]
)
def test_a_file_of_the_users_in_a_results_place_is_refused_beforehand(
    tmp_path: Path, name: str, whose: str
):
    folder = filled(tmp_path)
    (tmp_path / name).write_text("the user's")
    for look in (folder, ResultsFolder(tmp_path)):
        with pytest.raises(InputError, match=f"{name} {whose}.*--output"):
            look.check_free([f"frames/{frame}.png" for frame in range(1, 10)])


@pytest.mark.parametrize("kind", ["file", "folder", "link", "dangling link"])
def test_whatever_is_in_a_results_place_is_never_replaced(tmp_path: Path, kind: str):
    folder = filled(tmp_path / "out")
    place = tmp_path / "out" / "extra.txt"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("far away")
    if kind == "file":
        place.write_text("the user's")
    elif kind == "folder":
        place.mkdir()
    else:
        place.symlink_to(elsewhere if kind == "link" else tmp_path / "nowhere")
    before = place.lstat()
    assert put(folder, "extra.txt") is None
    assert place.lstat() == before
    assert elsewhere.read_text() == "far away"
    assert folder.kept == ["extra.txt"]


def test_files_behind_a_link_are_not_removed_whatever_the_record_says(tmp_path: Path):
    out, photos = tmp_path / "out", tmp_path / "photos"
    filled(out)
    (out / "frames").rename(photos)
    (out / "frames").symlink_to(photos)
    filled_again = ResultsFolder(out)
    filled_again.begin("second", FINAL)
    assert names(photos) == ["1.png", "2.png", "3.png"]
    with pytest.raises(InputError, match=r"frames/1\.png"):
        ResultsFolder(out).check_free(["frames/1.png"])


def test_an_interrupted_file_is_not_there_at_all(tmp_path: Path):
    folder = filled(tmp_path)

    def half(path: Path) -> None:
        path.write_text("hal")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder.put("frames/4.png", half)
    assert names(tmp_path) == ["anim.mp4", *(f"frames/{n}.png" for n in (1, 2, 3))]


def test_a_file_that_is_not_what_was_rendered_is_not_kept(tmp_path: Path):
    folder = filled(tmp_path)
    with pytest.raises(StorageError, match=r"frames/4\.png .*povstorm retry first"):
        put(folder, "frames/4.png", checksum="AAAAAA==")
    assert not (tmp_path / "frames" / "4.png").exists()


def test_a_full_disk_is_named_with_the_file(tmp_path: Path):
    folder = filled(tmp_path)

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match=r"frames/4\.png: No space left on device"):
        folder.put("frames/4.png", full)


def test_the_same_job_goes_on_in_its_folder(tmp_path: Path):
    filled(tmp_path, files=2)
    again = ResultsFolder(tmp_path)
    again.begin("first", FINAL)
    put(again, "frames/3.png", "first")
    assert len(names(tmp_path)) == 4
    assert ResultsFolder(tmp_path).job_id == "first"


record_lines = st.lists(
    st.one_of(
        st.text(max_size=40),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=9),
            lambda deeper: (
                st.lists(deeper, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["povstorm", "job", "rendering", "file", "size", "changed_ns"]),
                    deeper,
                    max_size=6,
                )
            ),
            max_leaves=8,
        ).map(json.dumps),
    ),
    max_size=5,
)


@given(record_lines, st.sampled_from(["mine.txt", "../mine.txt", "/etc/hostname", ""]))
def test_a_record_that_is_damaged_or_forged_costs_the_user_no_file(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], name: str
):
    top = tmp_path_factory.mktemp("folder")
    path = top / "out"
    path.mkdir()
    for mine in (path / "mine.txt", top / "mine.txt"):
        mine.write_text("mine")
    status = (top / "mine.txt").lstat()
    forged = {"file": name, "size": status.st_size, "changed_ns": status.st_mtime_ns}
    head = {"povstorm": 1, "job": "first", "rendering": None}
    text = "\n".join([json.dumps(head), *lines, json.dumps(forged)])
    (path / RECORD).write_text(text, "utf-8", "surrogatepass")
    ResultsFolder(path).begin("second", FINAL)
    assert (top / "mine.txt").read_text() == "mine"
    assert Path("/etc/hostname").exists()


def test_an_edited_scene_and_a_tried_out_option_go_to_the_same_folder(tmp_path: Path):
    plain = tmp_path / "anim_render"
    filled(plain)
    longer = Rendering(FINAL.source, FINAL.words, "320x240", "1-96", "mp4")
    finer = Rendering(FINAL.source, ("+A0.1",), "320x240", "1-48", "mp4")
    for again in (FINAL, longer, finer):
        assert own_folder(plain, again) == plain


@pytest.mark.parametrize("what", OTHERS)
def test_another_render_of_the_same_name_gets_a_folder_of_its_own(tmp_path: Path, what: str):
    other, name = OTHERS[what]
    plain = tmp_path / "anim_render"
    filled(plain)
    beside = own_folder(plain, other)
    assert beside.name == name
    filled(beside, "second", other)
    assert own_folder(plain, other) == beside
    assert own_folder(plain, FINAL) == plain
    assert len(names(plain)) == 4


def test_where_both_folders_are_taken_one_has_to_be_chosen(tmp_path: Path):
    plain = tmp_path / "anim_render"
    filled(plain)
    other, name = OTHERS["size"]
    filled(tmp_path / name, "second", Rendering("/third/anim.ini", (), "64x48", "1", ""))
    with pytest.raises(InputError, match="--output"):
        own_folder(plain, other)


def test_a_rendering_is_that_of_its_job(cluster: Cluster):
    job = Job(cluster, "anim", video="webm")
    settings = RenderSettings("shared/anim.pov", width=64, height=48, final_frame=9)
    for frame in (1, 2, 3, 7):
        job.add_work_unit(WorkUnit(settings, frame))
    assert Rendering.of(job) == Rendering("", None, "64x48", "1-3,7", "webm")
