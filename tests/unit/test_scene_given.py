"""What a user may give for a scene that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from povstorm_client.errors import InputError
from povstorm_client.scene.load_scene import load_scene


def test_a_folder_given_for_a_scene_is_called_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"scene .* is a folder: give an \.ini or a \.pov file"):
        load_scene(tmp_path)


@pytest.mark.parametrize("name", ["env.sh", "scene.inc", "anim.conf", "notes", ".pov", "a.pov.gz"])
def test_a_file_that_is_neither_ini_nor_pov_is_refused_before_work(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("sphere { 0, 1 }")
    with pytest.raises(InputError, match=rf"{name} is neither an \.ini nor a \.pov file"):
        load_scene(name, cwd=tmp_path)


def test_a_scene_with_another_ending_is_given_as_povray_takes_it(tmp_path: Path) -> None:
    (tmp_path / "scene.txt").write_text("sphere { 0, 1 }")
    loaded = load_scene("+Iscene.txt", cwd=tmp_path)
    assert list(loaded.files.values()) == [tmp_path / "scene.txt"]


@pytest.mark.parametrize("name", ["scene.POV", "Anim.INI"])
def test_the_case_of_an_ending_does_not_matter(tmp_path: Path, name: str) -> None:
    (tmp_path / "scene.POV").write_text("sphere { 0, 1 }")
    (tmp_path / "Anim.INI").write_text("Input_File_Name=scene.POV")
    assert load_scene(name, cwd=tmp_path).name == "scene"
