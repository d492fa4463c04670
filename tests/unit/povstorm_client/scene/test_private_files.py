"""A scene is given no hidden file of its user's, and none of the machine's own, unasked."""

from __future__ import annotations

from pathlib import Path

import pytest

from povstorm_client.errors import InputError
from povstorm_client.scene.load_scene import load_scene


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    for name in (".ssh", ".povray", "scene", "textures"):
        (folder / name).mkdir(parents=True)
        (folder / name / "key.txt").write_text('"a"')
    (folder / ".netrc").write_text('"a"')
    monkeypatch.setenv("HOME", str(folder))
    return folder


def load(home: Path, name: str, ini: str = "", includes: tuple[Path, ...] = ()) -> set[Path]:
    folder = home / "scene"
    (folder / "s.pov").write_text(f'#fopen F "{name}" read\n#read (F, X)\nsphere {{ 0, 1 }}\n')
    (folder / "s.ini").write_text(f"Input_File_Name=s.pov\nWidth=32\nHeight=24\n{ini}\n")
    scene = load_scene(folder / "s.ini", includes=includes, cwd=folder)
    return {Path(file).resolve() for file in scene.files.values()}


@pytest.mark.parametrize("hidden", [".ssh/key.txt", ".netrc"])
@pytest.mark.parametrize("way", ["dots", "link", "folder", "library"])
def test_a_hidden_file_is_refused_on_whatever_way_a_scene_leads_to_it(
    home: Path, hidden: str, way: str
):
    target, name, ini = home / hidden, f"../{hidden}", ""
    if way == "link":
        name = "linked.txt"
        (home / "scene" / name).symlink_to(target)
    elif way == "folder":
        (home / "scene" / "maps").symlink_to(target.parent)
        name = f"maps/{target.name}"
    elif way == "library":
        name, ini = target.name, f"Library_Path={target.parent}"
        (home / "scene" / "key.txt").unlink()

    with pytest.raises(InputError, match=r"private files[\s\S]*--include") as error:
        load(home, name, ini)
    assert str(error.value).count("\n") == 1


@pytest.mark.parametrize("target", ["/etc/hostname", "/etc/passwd", "/proc/self/environ"])
def test_a_link_to_the_machines_own_files_is_refused(home: Path, target: str):
    (home / "scene" / "linked.txt").symlink_to(target)
    with pytest.raises(InputError, match="private files"):
        load(home, "linked.txt")


def test_files_beside_the_scene_and_povrays_own_folder_are_given(home: Path):
    assert home / "textures" / "key.txt" in load(home, "../textures/key.txt")
    assert home / ".povray" / "key.txt" in load(home, "../.povray/key.txt")


def test_a_hidden_file_that_is_named_by_its_user_is_given(home: Path):
    key = home / ".ssh" / "key.txt"
    assert key in load(home, "../.ssh/key.txt", includes=(key,))


def test_a_scene_in_a_hidden_folder_has_what_lies_there(home: Path):
    (home / "scene").rename(home / ".ssh" / "scene")
    (home / "scene").symlink_to(".ssh/scene")
    assert home / ".ssh" / "scene" / "key.txt" in load(home, "key.txt")
