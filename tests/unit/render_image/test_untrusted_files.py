"""What a frame leaves is taken and removed without following, opening or recursing into it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from render_image.frame_limits import Limits
from render_image.process_watch import folder_problem
from render_image.untrusted_files import (
    MOST_LEVELS,
    UntrustedFileError,
    open_folder,
    remove_tree,
    take_files,
)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace" / "output"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def taken(tmp_path: Path) -> Path:
    folder = tmp_path / "taken"
    folder.mkdir()
    return folder


@pytest.fixture
def host(tmp_path: Path) -> Path:
    folder = tmp_path / "host"
    folder.mkdir()
    (folder / "secret.txt").write_text("secret")
    return folder


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def nest(folder: Path, levels: int) -> None:
    """Folders in folders, deeper than a path may be long."""
    here = os.open(folder, os.O_DIRECTORY)
    for _ in range(levels):
        os.mkdir("d" * 10, dir_fd=here)
        inner = os.open("d" * 10, os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)


def test_files_are_taken_by_their_paths_below_the_folder(output: Path, taken: Path):
    (output / "a" / "b").mkdir(parents=True)
    (output / "image.png").write_bytes(b"1")
    (output / "a" / "b" / "notes.txt").write_bytes(b"2")

    with open_folder(output) as opened:
        found = take_files(opened, taken)

    contents = {path: file.read_bytes() for path, file in found.items()}
    assert contents == {"image.png": b"1", "a/b/notes.txt": b"2"}
    assert [path for path in output.rglob("*") if path.is_file()] == []


def test_a_folder_that_was_replaced_by_a_link_is_still_the_one_that_was_opened(
    output: Path, taken: Path, host: Path
):
    (output / "image.png").write_bytes(b"1")
    with open_folder(output) as opened:
        output.rename(output.with_name("elsewhere"))
        output.symlink_to(host)
        found = take_files(opened, taken)

    assert list(found) == ["image.png"]
    assert (host / "secret.txt").read_text() == "secret"


def link_to_file(path: Path, host: Path) -> None:
    path.symlink_to(host / "secret.txt")


def link_to_folder(path: Path, host: Path) -> None:
    path.symlink_to(host)


def hard_link(path: Path, host: Path) -> None:
    path.hardlink_to(host / "secret.txt")


def pipe(path: Path, host: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path, host: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize("make", [link_to_file, link_to_folder, hard_link, pipe, unix_socket])
@pytest.mark.parametrize("where", ["image.png", "a/image.png"])
def test_what_no_scene_can_make_is_refused_and_named(
    make: Callable[[Path, Path], None], where: str, output: Path, taken: Path, host: Path
):
    (output / "a").mkdir()
    make(output / where, host)
    with open_folder(output) as opened, pytest.raises(UntrustedFileError, match=f"left {where}"):
        take_files(opened, taken)
    assert (host / "secret.txt").read_text() == "secret"


@pytest.mark.parametrize("levels", [0, 1, 3, 1_100])
def test_a_tree_of_any_depth_is_removed_with_all_that_is_in_it(
    levels: int, tmp_path: Path, host: Path
):
    root = tmp_path / "root"
    root.mkdir()
    nest(root, levels)
    (root / "link").symlink_to(host)
    (root / "closed" / "inner").mkdir(parents=True)
    (root / "closed" / "inner" / "file").write_bytes(b"")
    (root / "closed").chmod(0)
    os.mkfifo(root / "pipe")
    before = open_descriptors()

    remove_tree(root)

    assert not root.exists()
    assert (host / "secret.txt").read_text() == "secret"
    assert open_descriptors() == before


def test_folders_count_as_files_do(output: Path):
    for number in range(20):
        (output / str(number)).mkdir()
    assert folder_problem([output], Limits(files=20)) == ""
    assert "more than 19 files and folders" in folder_problem([output], Limits(files=19))


def test_folders_nested_too_deeply_are_a_problem_and_leave_no_descriptor_open(output: Path):
    nest(output, MOST_LEVELS - 1)
    assert folder_problem([output], Limits()) == ""
    before = open_descriptors()
    deep = output.parent / "deep"
    deep.mkdir()
    nest(deep, 1_100)
    try:
        assert f"nested more than {MOST_LEVELS} folders" in folder_problem([deep], Limits())
        assert open_descriptors() == before
    finally:
        remove_tree(deep)  # pytest cannot


def test_a_sparse_file_counts_with_the_size_that_it_says(output: Path):
    with (output / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    assert "a file of 1 GiB" in folder_problem([output], Limits())
