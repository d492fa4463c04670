"""What lies where a scene reads a file, and never ends or cannot be opened, is refused at once."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from povstorm_client.errors import InputError
from povstorm_client.jobs.shared_resources import files_below, sha256
from povstorm_client.scene.load_scene import load_scene


def socket_at(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)


def endless_at(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    return tmp_path


KINDS = [(os.mkfifo, "a pipe"), (socket_at, "a socket"), (endless_at, "a device")]


@pytest.mark.parametrize(("make", "kind"), KINDS, ids=[kind for _, kind in KINDS])
@pytest.mark.parametrize(
    ("name", "scene"),
    [
        ("part.inc", '#include "part.inc"'),
        ("map.png", 'sphere { 0, 1 pigment { image_map { png "map.png" } } }'),
        ("data.txt", '#fopen In "data.txt" read'),
    ],
)
def test_in_the_place_of_a_file_that_a_scene_reads(
    folder: Path, name: str, scene: str, make: Callable[[Path], None], kind: str
) -> None:
    (folder / "a.pov").write_text(scene)
    make(folder / name)
    with pytest.raises(InputError, match=rf"{name} is {kind}, not a file"):
        load_scene("a.pov", cwd=folder)


@pytest.mark.parametrize(("make", "kind"), KINDS, ids=[kind for _, kind in KINDS])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.pov", ["a.pov"]),
        ("a.pov", ["+Ia.pov"]),
        ("step_1.pov", ["step_*.pov"]),
        ("a.ini", ["a.ini"]),
        ("more.ini", ["b.pov", "more.ini"]),
    ],
    ids=" ".join,
)
def test_in_the_place_of_what_is_given(
    folder: Path, name: str, words: list[str], make: Callable[[Path], None], kind: str
) -> None:
    (folder / "b.pov").write_text("sphere { 0, 1 }")
    make(folder / name)
    with pytest.raises(InputError, match=rf"{name} is {kind}, not a file"):
        load_scene(words[0], switches=words[1:], cwd=folder)


@pytest.mark.parametrize(("make", "kind"), KINDS, ids=[kind for _, kind in KINDS])
def test_in_the_place_of_a_file_that_is_added(
    folder: Path, make: Callable[[Path], None], kind: str
) -> None:
    (folder / "b.pov").write_text("sphere { 0, 1 }")
    make(folder / "more")
    for add in (
        lambda: load_scene("b.pov", cwd=folder, includes=[Path("more")]),
        lambda: files_below(folder / "more"),
        lambda: sha256(folder / "more"),
    ):
        with pytest.raises(InputError, match=rf"more is {kind}, not a file"):
            add()
