"""An error is told with the file and line as its user knows them, and the lines around it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from povstorm_client import RenderSettings
from povstorm_client.scene.load_scene import Scene
from povstorm_client.watch.scene_problem import problem_of_frame, problem_of_scene

SETTINGS = RenderSettings(scene="scene/a.pov", folder="scene", width=32, height=24)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    (tmp_path / "parts").mkdir()
    files = {"scene/a.pov": tmp_path / "a.pov", "scene/parts/b.inc": tmp_path / "parts/b.inc"}
    for file in files.values():
        file.write_text("".join(f"line {number}\n" for number in range(1, 10)))
    return Scene("a", SETTINGS, (1,), files, (), ())


def test_povrays_line_leads_to_the_file_here(scene: Scene, tmp_path: Path):
    found = problem_of_frame("File 'a.pov' line 5: Parse Error: no }", 3, scene, tmp_path)
    assert (found.where, found.words, found.note) == (
        "a.pov, line 5",
        "Parse Error: no }",
        "In frame 3.",
    )
    assert found.lines == [(n, f"line {n}", n == 5) for n in range(2, 9)]


@pytest.mark.parametrize("name", ["parts/b.inc", "b.inc", "/povstorm/workspace/scene/parts/b.inc"])
def test_an_included_file_is_found_however_povray_names_it(scene: Scene, tmp_path: Path, name: str):
    found = problem_of_frame(f"File '{name}' line 1: Parse Error: x", 1, scene, tmp_path)
    assert found.lines[0] == (1, "line 1", True)


def test_a_quote_in_a_files_name_is_part_of_it(scene: Scene, tmp_path: Path):
    files = {"scene/it's.pov": tmp_path / "it's.pov"}
    files["scene/it's.pov"].write_text("one\ntwo\n")
    quoted = replace(scene, files=files)
    found = problem_of_frame("File 'it's.pov' line 2: Parse Error: no 'x'", 1, quoted, tmp_path)
    assert (found.where, found.words) == ("it's.pov, line 2", "Parse Error: no 'x'")
    assert found.lines == [(1, "one", False), (2, "two", True)]


def test_a_file_that_is_not_the_scenes_is_named_without_lines(scene: Scene, tmp_path: Path):
    found = problem_of_frame("File 'colors.inc' line 7: Parse Error: x", 1, scene, tmp_path)
    assert (found.where, found.lines) == ("colors.inc, line 7", ())


def test_other_words_are_told_as_they_are(scene: Scene, tmp_path: Path):
    found = problem_of_frame("POV-Ray was killed by signal 9", 2, scene, tmp_path)
    assert (found.where, found.words) == ("Frame 2", "POV-Ray was killed by signal 9")


def test_what_is_wrong_with_an_ini_file_has_its_line_too(scene: Scene, tmp_path: Path):
    ini = tmp_path / "a.ini"
    ini.write_text("Width=64\nHieght=48\n")
    found = problem_of_scene(f"{ini}:2: unknown option", "a.ini", tmp_path)
    assert (found.where, found.words) == ("a.ini, line 2", "unknown option")
    assert [2, "Hieght=48", True] in found.to_json()["lines"]
    plain = problem_of_scene("the scene has no light", "a.ini", tmp_path)
    assert (plain.where, plain.words, plain.lines) == ("a.ini", "the scene has no light", ())
