"""A folder that came with somebody else's scene leads no result, and no deletion, out of it.

Links, pipes and records in it may be anybody's; what outputs are called is the scene's to choose.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from povstorm_client import InputError
from povstorm_client.saving.results_folder import RECORD, Rendering, ResultsFolder

FINAL = Rendering("/scenes/anim.ini", (), "320x240", "1-48", "mp4")
IMAGE = "frames/frame_01.png"
ABANDONED = ".povstorm-partial-0123"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "anim_render").mkdir()
    return tmp_path / "anim_render"


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """A folder of the user's, beside."""
    (tmp_path / "autostart").mkdir()
    return tmp_path / "autostart"


def begun(folder: Path) -> ResultsFolder:
    results = ResultsFolder(folder)
    results.begin("job", FINAL)
    return results


def put(results: ResultsFolder, name: str) -> Path | None:
    return results.put(name, lambda path: path.write_text("scene's"))


def recorded(folder: Path, *names: str) -> None:
    """A record of another job's, by which these files were put there."""
    head = {"povstorm": 1, "job": "other", "rendering": None}
    files = ({"file": name, "size": 1, "changed_ns": 1} for name in names)
    (folder / RECORD).write_text("".join(f"{json.dumps(line)}\n" for line in (head, *files)))


@pytest.mark.parametrize("link", ["frames", "frames/sub"])
def test_no_result_is_written_through_a_link(folder: Path, users: Path, link: str):
    (folder / link).parent.mkdir(exist_ok=True)
    (folder / link).symlink_to(users)
    results = begun(folder)
    name = f"{link}/evil.desktop"
    assert put(results, name) is None
    assert results.kept == [name]
    assert list(users.iterdir()) == []


@pytest.mark.parametrize("target", ["../autostart", "/nowhere/at/all", ".."])
def test_a_link_that_leads_out_is_told_before_anything_is_rendered(
    folder: Path, users: Path, target: str
):
    (folder / "frames").symlink_to(target)
    with pytest.raises(InputError, match=r"through a link that leads out of .*: remove the link"):
        ResultsFolder(folder).check_free([IMAGE])


def test_links_in_a_circle_are_a_file_in_the_way(folder: Path):
    (folder / "frames").symlink_to("frames")
    with pytest.raises(InputError, match="is not povstorm's"):
        ResultsFolder(folder).check_free([IMAGE])
    assert put(begun(folder), IMAGE) is None


def test_a_link_that_stays_in_the_folder_is_followed(folder: Path):
    (folder / "disk").mkdir()
    (folder / "frames").symlink_to("disk")
    results = begun(folder)
    results.check_free([IMAGE])
    assert put(results, IMAGE) == folder / IMAGE
    assert (folder / "disk" / "frame_01.png").read_text() == "scene's"


def test_nothing_is_removed_behind_a_link(folder: Path, users: Path):
    (users / ABANDONED).write_text("user's")
    (users / "letter").write_text("x")
    os.utime(users / ABANDONED, (1, 1))
    os.utime(users / "letter", ns=(1, 1))
    (folder / "frames").symlink_to(users)
    recorded(folder, "frames/letter")
    begun(folder)
    assert sorted(path.name for path in users.iterdir()) == [ABANDONED, "letter"]


@pytest.mark.parametrize("name", [f"{RECORD}/x", "circle/x", "frames/../../x", "\ud800", "x\0"])
def test_a_record_of_files_that_cannot_be_is_no_hindrance(folder: Path, name: str):
    (folder / "circle").symlink_to("circle")
    recorded(folder, name)
    assert put(begun(folder), IMAGE) == folder / IMAGE


def test_a_folder_called_like_an_abandoned_file_stays(folder: Path):
    (folder / ABANDONED).mkdir()
    os.utime(folder / ABANDONED, (1, 1))
    begun(folder)
    assert (folder / ABANDONED).is_dir()


def test_a_record_that_is_a_link_says_nothing_and_is_not_written_through(folder: Path, users: Path):
    recorded(users, IMAGE)
    before = (users / RECORD).read_bytes()
    (folder / RECORD).symlink_to(users / RECORD)
    assert ResultsFolder(folder).job_id == ""
    put(begun(folder), IMAGE)
    assert (users / RECORD).read_bytes() == before


def test_a_pipe_in_place_of_the_record_is_not_waited_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    os.mkfifo(folder / RECORD)

    def waits_for_ever(path: Path, *_: object, **__: object) -> str:
        raise AssertionError(f"{path} was opened")

    monkeypatch.setattr(Path, "read_text", waits_for_ever)
    assert ResultsFolder(folder).job_id == ""
