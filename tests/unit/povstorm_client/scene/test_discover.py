"""Names of files are found in a scene without running it, as far as its texts are constant."""

from __future__ import annotations

from pathlib import Path

import pytest

from povstorm_client.scene.discover import SceneFiles, discover
from povstorm_client.scene.search import SearchPath, installed_folders


def found_in(folder: Path, source: str, *files: str, **included: str) -> SceneFiles:
    """Discovery in a scene beside empty files, and includes by their names without the ending."""
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    for name, text in included.items():
        (folder / f"{name}.inc").write_text(text)
    (folder / "scene.pov").write_text(source)
    return discover(folder / "scene.pov", SearchPath((folder,)))


def names(files: SceneFiles) -> set[str]:
    return {path.name for path in files.found} - {"scene.pov"}


def lines(places: list) -> list[tuple[int, str]]:
    return [(place.line, place.text) for place in places]


@pytest.mark.parametrize(
    ("source", "file"),
    [
        ('image_map { png "a" }', "a.png"),
        ('image_map { png "a" }', "a.PNG"),
        ('image_map { jpeg "a.jpeg" }', "a.jpeg"),
        ('image_map { jpeg "a" }', "a.jpeg"),
        ('image_map { tiff "a" }', "a.tif"),
        ('image_map { "a.tga" }', "a.tga"),
        ('image_map { "a" }', "a.png"),
        ('bump_map { gif "a.gif" bump_size 2 }', "a.gif"),
        ('material_map { sys "a" }', "a"),
        ('function { pattern { image_pattern { exr "a.exr" } } }', "a.exr"),
        ('height_field { pgm "a" smooth }', "a.pgm"),
        ('density_file df3 "a"', "a.df3"),
        ('text { ttf "a" "x" 1 0 }', "a.ttf"),
        ('#include "a"', "a.inc"),
        ('#include "a.include"', "a.include"),
        ('#fopen F "a" read', "a"),
        ('global_settings { photons { load_file "a.ph" } }', "a.ph"),
        ('#if (file_exists("a.txt")) #end', "a.txt"),
        ('#include ("a")', "a.inc"),
        ('#declare A = concat("a", ".", "png"); image_map { A }', "a.png"),
        ('#declare N = array[2] { "a.png", "b.png" } image_map { png N[clock] }', "a.png"),
        ('#macro M(F) image_map { png F } #end M("a")', "a.png"),
        ('#macro M(X, F) #include concat(F, ".inc") #end M(max(1, 2), "a")', "a.inc"),
        ('#macro M(X, F) #include F #end M(<1, 2, 3>, "a")', "a.inc"),
        ('#macro M(X, F) #include F #end M(<x, 2, z>, "a")', "a.inc"),
    ],
)
def test_every_way_to_name_a_file(tmp_path: Path, source: str, file: str):
    files = found_in(tmp_path, source, file)
    assert names(files) == {file}
    assert files.missing == files.computed == []


def test_a_name_without_its_ending_is_tried_with_it_everywhere_first(tmp_path: Path):
    for folder, name in (("one", "a"), ("two", "a.inc")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).touch()
    search = SearchPath((tmp_path / "one", tmp_path / "two"))
    hit = search.find("a", "inc")
    assert hit and hit.path == tmp_path / "two" / "a.inc"


@pytest.mark.parametrize(
    "source",
    [
        '// #include "a.inc"',
        '/* #include "a.inc" /* nested */ #include "b.inc" */',
        '#debug "#include \\"a.inc\\""',
        "image_map { function 9, 9 { x } }",
        '#fopen F "a" write',
        '#fopen F "a" append',
        '#fopen F "a" write #fclose F #fopen F "a" read',
        "#macro M(F) image_map { png F } #end",
    ],
)
def test_what_names_no_file_to_read_is_passed_over(tmp_path: Path, source: str):
    assert found_in(tmp_path, source) == SceneFiles(
        found={tmp_path / "scene.pov"}, used_roots=set()
    )


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ('image_map { png concat("a", str(frame_number, -3, 0), ".png") }',
         'concat("a", str(frame_number, -3, 0), ".png")'),
        ('image_map { png concat("a",\n   str(clock, 0, 0)) }', 'concat("a", str(clock, 0, 0))'),
        ("#include Name", "Name"),
        ("#declare T = str(clock, 0, 0); text { ttf T }", "T"),
        ('#declare T = "a"; #while (X) #declare T = concat(T, "a"); #end #include T', "T"),
        ("#macro M(F) image_map { png F } #end M(str(clock, 0, 0))", "F"),
        ("#fopen F strlwr(N) read", "strlwr(N)"),
    ],
)  # fmt: skip
def test_a_computed_name_is_told_with_its_expression(tmp_path: Path, source: str, text: str):
    files = found_in(tmp_path, f"\n{source}")
    assert lines(files.computed) == [(2, text)]
    assert files.missing == []


@pytest.mark.parametrize(
    "opening", ["#if (0)", "#ifdef (X)", "#ifndef (X)", "#switch (1) #case (1)"]
)
def test_a_missing_file_under_a_condition_may_not_be_needed(tmp_path: Path, opening: str):
    files = found_in(tmp_path, f'{opening} #include "a.inc" #end\n#include "b.inc"')
    assert lines(files.maybe_missing) == [(1, "a.inc")]
    assert lines(files.missing) == [(2, "b.inc")]


def test_an_include_under_a_condition_counts_for_what_it_names(tmp_path: Path):
    files = found_in(tmp_path, "#if (X) #include Y #end", Y='#include "a.inc"')
    assert lines([guess.place for guess in files.guesses]) == [(1, "Y")]
    assert names(files) == {"Y.inc"}
    files = found_in(tmp_path, '#if (X) #include "Y" #end', Y='#include "a.inc"')
    assert lines(files.maybe_missing) == [(1, "a.inc")]


def test_of_several_meanings_of_a_name_one_is_enough(tmp_path: Path):
    source = '#declare F = "a.inc" #declare F = "b.inc" #include F'
    files = found_in(tmp_path, source, "b.inc")
    assert names(files) == {"b.inc"}
    assert files.missing == []


def test_a_parameter_that_is_handed_on_under_its_own_name_stays_known(tmp_path: Path):
    source = '#macro A(F) text { ttf F "x" 1 0 } #end #macro B(F) A(F) #end B("a.ttf")'
    files = found_in(tmp_path, source, "a.ttf", "b.ttf")
    assert names(files) == {"a.ttf"}
    assert files.guesses == []


def test_standard_includes_have_nothing_shipped_that_the_scene_does_not_name(tmp_path: Path):
    scene = tmp_path / "scene.pov"
    (tmp_path / "b.inc").touch()
    scene.write_text('#include "shapes.inc"\n#declare W = Text_Width("cyrvetic.ttf", "x", 1, 0);')
    installed = installed_folders()
    files = discover(scene, SearchPath((tmp_path, *sorted(installed)), installed))
    assert files.found == {scene}
    assert files.guesses == files.computed == files.missing == []


def test_includes_that_include_each_other_are_read_once(tmp_path: Path):
    files = found_in(tmp_path, '#include "a"', a='#include "b"', b='#include "a" #include "c"')
    assert names(files) == {"a.inc", "b.inc"}
    assert [(place.file.name, place.text) for place in files.missing] == [("b.inc", "c")]


def test_an_absolute_name_is_told_unless_it_is_povrays_own(tmp_path: Path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a.inc").touch()
    (tmp_path / "b.inc").touch()
    (tmp_path / "scene.pov").write_text(
        f'#include "{tmp_path}/own/a.inc"\n#include "{tmp_path}/b.inc"'
    )
    search = SearchPath((tmp_path,), frozenset({tmp_path / "own"}))
    files = discover(tmp_path / "scene.pov", search)
    assert lines(files.absolute) == [(2, f"{tmp_path}/b.inc")]
