"""A scene's files are found as POV-Ray finds them, and keep their places to each other."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from povstorm_client import InputError, RenderSettings
from povstorm_client.scene.ascii_names import ascii_path
from povstorm_client.scene.load_scene import Scene, load_scene
from povstorm_client.scene.sdl import tokens
from povstorm_client.scene.search import installed_folders


@pytest.fixture(autouse=True)
def own_povray_ini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A size, and POV-Ray's own folders, whatever povray.ini the machine has."""
    folders = "".join(f"Library_Path={folder}\n" for folder in sorted(installed_folders()))
    defaults = tmp_path / "povray.ini"
    defaults.write_text(f"Width=320\nHeight=240\n{folders}")
    monkeypatch.setenv("POVINI", str(defaults))


def write(folder: Path, **files: str) -> None:
    """Files by name, where __ stands for the dot and a leading path by a dict's key."""
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def scene_of(folder: Path, source: str, **options) -> Scene:
    folder.mkdir(exist_ok=True)
    (folder / "scene.pov").write_text(source)
    return load_scene("scene.pov", cwd=folder, **options)


def test_included_files_are_found_through_each_other_and_standard_ones_stay(tmp_path: Path):
    work = tmp_path / "work"
    (work / "parts").mkdir(parents=True)
    write(work / "parts", a__inc='#include "parts/b.inc"')
    write(work / "parts", b__inc='#declare T = "map.png"; // #include "nowhere.inc"')
    write(work, map__png="", own__ttf="", ground__png="", cloud__df3="", data__txt="")
    scene = scene_of(
        work,
        """
        #include "colors.inc" /* #include "not.inc" /* nested */ */
        #include "parts/a"
        #declare Font = "own.ttf"
        text { ttf Font "x" 1 0 } text { ttf "cyrvetic.ttf" "y" 1 0 }
        pigment { image_map { png concat("ma", "p.png") once } }
        pigment { image_map { png T } }
        height_field { png "ground.png" smooth }
        media { density { density_file df3 "cloud.df3" } }
        #fopen F "data.txt" read  #fopen G "out.txt" write
        #debug "#include \\"quoted.inc\\""
        """,
    )
    assert set(scene.files) == {
        "scene/scene.pov", "scene/parts/a.inc", "scene/parts/b.inc", "scene/map.png",
        "scene/own.ttf", "scene/ground.png", "scene/cloud.df3", "scene/data.txt",
    }  # fmt: skip
    assert scene.settings.scene == "scene/scene.pov"
    assert scene.settings.folder == "scene"
    assert scene.settings.library_paths == ()
    assert (scene.settings.width, scene.settings.height) == (320, 240)


def test_a_file_that_shadows_a_standard_one_goes_where_povray_looks_first(tmp_path: Path):
    work = tmp_path / "work"
    work.mkdir()
    write(work, colors__inc="", own__inc="")
    scene = scene_of(work, '#include "colors" #include "own.inc"')
    assert scene.settings.folder == "scene"
    assert scene.files["scene/colors.inc"] == work / "colors.inc"
    assert "scene/own.inc" in scene.files


def test_a_file_that_a_standard_include_includes_is_shipped_too(tmp_path: Path):
    work = tmp_path / "work"
    work.mkdir()
    write(work, consts__inc='#include "mine.inc"', mine__inc="")
    assert "scene/mine.inc" in scene_of(work, '#include "shapes.inc"').files


def test_a_library_path_before_povrays_own_has_its_files_where_they_win(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "mine").mkdir()
    write(tmp_path / "mine", colors__inc="")
    folders = "".join(f"Library_Path={folder}\n" for folder in sorted(installed_folders()))
    write(tmp_path, my__ini=f"Library_Path={tmp_path}/mine\n{folders}")
    monkeypatch.setenv("POVINI", str(tmp_path / "my.ini"))
    scene = scene_of(tmp_path / "work", '#include "colors.inc"')
    assert scene.settings.folder == "scene/work"
    assert scene.files["scene/work/colors.inc"] == tmp_path / "mine" / "colors.inc"


def test_povrays_own_files_come_before_the_users_library_paths(tmp_path: Path):
    work = tmp_path / "work"
    (work / "lib").mkdir(parents=True)
    write(work / "lib", colors__inc="", own__inc="")
    scene = scene_of(work, '#include "colors.inc" #include "own.inc"', switches=["+Llib"])
    assert set(scene.files) == {"scene/scene.pov", "scene/lib/own.inc"}


def test_what_the_users_own_povray_ini_points_to_is_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "mine").mkdir()
    write(tmp_path / "mine", own__inc="")
    write(tmp_path, my__ini=f"Library_Path={tmp_path}/mine\nWidth=99\n")
    monkeypatch.setenv("POVINI", str(tmp_path / "my.ini"))
    scene = scene_of(tmp_path / "work", '#include "own.inc"')
    assert set(scene.files) == {"scene/work/scene.pov", "scene/mine/own.inc"}
    assert scene.settings.folder == "scene/work"
    assert scene.settings.library_paths == ("scene/mine",)
    assert scene.settings.width == 99


def test_library_paths_are_searched_in_order_and_keep_their_places(tmp_path: Path):
    work = tmp_path / "work"
    for name in ("work", "work/one", "two", "textures"):
        (tmp_path / name).mkdir()
    write(work / "one", a__inc='#include "b.inc"')
    write(tmp_path / "two", a__inc="#error", b__inc="")
    write(tmp_path / "textures", wood__png="")
    scene = scene_of(
        work,
        '#include "a.inc" pigment { image_map { png "../textures/wood.png" } }',
        switches=["+Lone", "+L../two"],
    )
    assert set(scene.files) == {
        "scene/work/scene.pov", "scene/work/one/a.inc", "scene/two/b.inc",
        "scene/textures/wood.png",
    }  # fmt: skip
    assert scene.settings.folder == "scene/work"
    assert scene.settings.library_paths == ("scene/work/one", "scene/two")


def test_an_ini_is_rendered_from_anywhere(tmp_path: Path):
    work = tmp_path / "work"
    work.mkdir()
    write(work, scene__pov='#include "a.inc"', a__inc="")
    write(work, anim__ini="Input_File_Name=scene.pov\nFinal_Frame=20\nSubset_End_Frame=5\n")
    scene = load_scene(work / "anim.ini", cwd=tmp_path)
    assert set(scene.files) == {"scene/scene.pov", "scene/a.inc"}
    assert scene.frames == (1, 2, 3, 4, 5)
    assert load_scene(work / "anim.ini", cwd=tmp_path, frames="1-20x10").frames == (1, 11)


def test_a_missing_include_names_its_line_and_where_it_was_looked_for(tmp_path: Path):
    with pytest.raises(InputError, match=r"(?s)looked in .*work.*scene\.pov:2: nowhere\.inc"):
        scene_of(tmp_path / "work", '\n#include "nowhere.inc"')


def test_a_file_missing_inside_a_condition_is_a_warning(tmp_path: Path):
    scene = scene_of(tmp_path / "work", '#ifdef (X) #include "maybe.inc" #end')
    assert "maybe.inc" in scene.warnings[0]


def test_of_several_declarations_one_file_is_enough(tmp_path: Path):
    work = tmp_path / "work"
    work.mkdir()
    write(work, b__inc="")
    source = '#declare F = "a.inc"\n#declare F = "b.inc"\n#include F'
    assert "scene/b.inc" in scene_of(work, source).files


def test_a_computed_name_that_no_file_has_is_reported_with_its_line_until_it_is_added(
    tmp_path: Path,
):
    work = tmp_path / "work"
    (work / "other").mkdir(parents=True)
    write(work / "other", tex1__png="", tex2__png="")
    source = '\npigment { image_map { png concat("maps/tex", str(frame_number, 0, 0), ".png") } }'
    with pytest.raises(InputError, match=r"--include(?s:.*)scene\.pov:2: concat"):
        scene_of(work, source)
    scene = scene_of(work, source, includes=[Path("other")])
    assert set(scene.files) == {"scene/scene.pov", "scene/other/tex1.png", "scene/other/tex2.png"}


def test_of_a_name_with_a_number_in_it_all_files_are_shipped_and_nothing_else(tmp_path: Path):
    work = tmp_path / "work"
    (work / "maps").mkdir(parents=True)
    write(work / "maps", tex1__png="", tex02__png="", texture__jpg="", readme__txt="")
    source = 'pigment { image_map { png concat("maps/tex", str(frame_number, 0, 0)) } }'
    scene = scene_of(work, source)
    assert set(scene.files) == {
        "scene/scene.pov", "scene/maps/tex1.png", "scene/maps/tex02.png",
    }  # fmt: skip
    assert scene.warnings == ()


def test_of_a_name_that_can_be_any_the_scenes_own_files_are_shipped_and_it_is_told(tmp_path: Path):
    work = tmp_path / "work"
    (work / "maps").mkdir(parents=True)
    (work / "scene_render" / "frames").mkdir(parents=True)
    write(work / "maps", tex1__png="")
    write(work / "scene_render" / "frames", frame_1__png="")
    scene = scene_of(work, '#fopen F "maps/tex1.png" read #read (F, N) #if (file_exists(N)) #end')
    assert set(scene.files) == {"scene/scene.pov", "scene/maps/tex1.png"}
    assert "scene.pov:1: N can name any file: shipping the 1 below" in scene.warnings[0]


def test_a_home_folder_is_not_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path, diary__inc="")
    with pytest.raises(InputError, match="--include"):
        scene_of(tmp_path, "#include Name")


def test_a_folder_with_thousands_of_files_is_not_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("povstorm_client.scene.own_files.MOST_FILES", 2)
    work = tmp_path / "work"
    work.mkdir()
    write(work, a__inc="", b__inc="", c__inc="")
    with pytest.raises(InputError, match="--include"):
        scene_of(work, "#include Name")


def test_an_absolute_name_is_refused_with_its_line(tmp_path: Path):
    work = tmp_path / "work"
    work.mkdir()
    write(work, a__inc="")
    with pytest.raises(InputError, match=r"(?s)absolute.*scene\.pov:1: .*/a\.inc"):
        scene_of(work, f'#include "{work}/a.inc"')


@pytest.mark.parametrize(
    ("path", "options", "words"),
    [
        ("nowhere.pov", {}, "nowhere.pov does not exist"),
        ("scene.pov", {"size": (0, 10)}, "width is 0"),
        ("scene.pov", {"includes": [Path("nix")]}, "--include nix does not exist"),
        ("scene.pov", {"switches": ["Include_Header=x"]}, "scene.pov:0: x"),
        ("scene.pov[large]", {}, "no ini file"),
        ("bad.ini", {"sections": ["large"]}, r"no section \[large\]"),
        ("scene.pov", {"switches": ["+KFI9", "+KFF3"]}, "before initial frame"),
        ("bad.ini", {}, "no Input_File_Name"),
        ("typo.ini", {}, "scenee.pov is not in [^ ]+, which has scene.pov"),
    ],
)
def test_what_cannot_be_rendered_is_refused_before_any_work(
    tmp_path: Path, path: str, options: dict, words: str
):
    write(tmp_path, scene__pov="", bad__ini="Width=3\n", typo__ini="Input_File_Name=scenee.pov\n")
    with pytest.raises(InputError, match=words):
        load_scene(path, cwd=tmp_path, **options)


def test_an_include_header_is_found_and_kept(tmp_path: Path):
    work = tmp_path / "work"
    work.mkdir()
    write(work, head__inc='#declare F = "own.ttf"', own__ttf="")
    scene = scene_of(work, 'text { ttf F "x" 1 0 }', switches=["+HIhead.inc"])
    assert set(scene.files) == {"scene/scene.pov", "scene/head.inc", "scene/own.ttf"}
    assert "Include_Header=head.inc" in scene.settings.options


def test_a_folder_added_from_elsewhere_becomes_a_library_path(tmp_path: Path):
    (tmp_path / "maps" / "more").mkdir(parents=True)
    write(tmp_path / "maps" / "more", a1__png="")
    scene = scene_of(
        tmp_path / "work",
        '#include concat("more/a", str(clock, 0, 0))',
        includes=[tmp_path / "maps"],
    )
    assert scene.settings.library_paths == ("scene/maps",)
    assert [place.line for place in scene.unresolved] == [1]


def test_the_ini_and_the_switches_make_the_settings(tmp_path: Path):
    write(
        tmp_path,
        scene__pov="",
        anim__ini="scene.pov\n+A0.2 +AM2 +R4 -J +KC +KFF9 +KI1 +KF3\nBits_Per_Color=16\n"
        "[Large]\nWidth=1600\nHeight=1200\n",
    )
    settings = load_scene("anim.ini[large]", cwd=tmp_path, switches=["+H900", "Quality=8"]).settings
    assert settings == RenderSettings(
        scene="scene/scene.pov", width=1600, height=900, antialias=0.2, antialias_method=2,
        antialias_depth=4, jitter=0.0, quality=8, final_frame=9, initial_clock=1, final_clock=3,
        cyclic=True, folder="scene", options=("+FN16",),
    )  # fmt: skip


def test_a_preview_is_small_and_fast(tmp_path: Path):
    settings = scene_of(
        tmp_path / "work", "", size=(1920, 1080), switches=["+A0.1"], preview=True
    ).settings
    assert (settings.width, settings.height) == (480, 270)
    assert settings.antialias is None
    small = scene_of(tmp_path / "work", "", size=(200, 100), preview=True).settings
    assert (small.width, small.height) == (160, 80)


@given(st.text(st.characters(codec="latin-1"), max_size=200))
def test_any_text_has_tokens_with_lines_within_it(source: str):
    found = list(tokens(source))
    assert all(1 <= token.line <= source.count("\n") + 1 for token in found)
    assert [token.line for token in found] == sorted(token.line for token in found)


def test_lines_are_counted_through_comments_and_strings():
    source = '/* one\n/* two\n*/ */ a\n"b\nc" // d\n#  include e'
    assert [(token.kind, token.text, token.line) for token in tokens(source)] == [
        ("word", "a", 3),
        ("string", "b\nc", 4),
        ("directive", "#include", 6),
        ("word", "e", 6),
    ]


@pytest.mark.parametrize(
    ("words", "clock"),
    [
        (("+KF0.9", "a.ini"), 3),
        (("a.ini", "+KF0.9"), 0.9),
        (("Final_Clock=0.9", "+W8", "a.ini", "+H9"), 3),
        (("b.ini", "a.ini"), 3),
        (("+Iscene.pov", "+KFF4", "+KF0.9"), 0.9),
        (("+KF2", "scene.pov", "b.ini"), 0.9),
        (("lib/", "a.ini", "b.ini"), 0.9),
    ],
)
def test_files_and_options_are_read_in_the_order_of_the_words(
    tmp_path: Path, words: tuple[str, ...], clock: float
):
    write(
        tmp_path,
        scene__pov="",
        a__ini="scene.pov\n+KFF4\nFinal_Clock=3\n",
        b__ini="+KFF4\nFinal_Clock=0.9\n",
    )
    scene = load_scene(words[0], switches=words[1:], cwd=tmp_path)
    assert scene.name == "scene"
    assert scene.frames == (1, 2, 3, 4)
    assert scene.settings.final_clock == clock


@pytest.mark.parametrize(
    ("switches", "initial", "final", "is_loop"),
    [
        ((), 1, 1, False),
        (("+KFI1", "+KFF1"), 1, 1, False),
        (("+KFI0", "+KFF0"), 0, 0, False),
        (("+KFI-1",), 0, 1, True),
        (("+KFI-3", "+KFF2"), 0, 2, True),
        (("+KFI-3", "+KFF0"), 0, 0, True),
        (("+KFF1",), 1, 1, True),
        (("+KFI1",), 1, 1, True),
        (("+KFI3",), 3, 3, True),
    ],
)
def test_the_loop_has_the_frames_that_povray_makes_of_them(
    tmp_path: Path, switches: tuple[str, ...], initial: int, final: int, is_loop: bool
):
    settings = scene_of(tmp_path, "", switches=switches).settings
    assert (settings.initial_frame, settings.final_frame) == (initial, final)
    assert settings.is_animation == is_loop


def test_numbers_beyond_what_povray_knows_become_the_nearest(tmp_path: Path):
    words = ("+A0.2", "+Q12", "+R12", "+AM5", "Bits_Per_Color=40")
    settings = scene_of(tmp_path, "", switches=words).settings
    assert (settings.quality, settings.antialias_depth, settings.antialias_method) == (11, 9, 2)
    assert "+FN16" in settings.options
    settings = scene_of(tmp_path, "", switches=["+A0.2", "+Q-3", "+R0", "+AM0"]).settings
    assert (settings.quality, settings.antialias_depth, settings.antialias) == (0, 1, None)


def test_names_that_povray_cannot_take_are_others_in_the_workspace(tmp_path: Path):
    (tmp_path / "bücher").mkdir()
    write(tmp_path / "bücher", a__inc="")
    (tmp_path / "übung.pov").write_text('#include "a.inc"')
    scene = load_scene("übung.pov", switches=["+Lbücher"], cwd=tmp_path)
    assert scene.name == "übung"
    assert scene.settings.scene.isascii()
    assert all(path.isascii() for path in (*scene.settings.library_paths, *scene.files))
    assert set(scene.files.values()) == {tmp_path / "übung.pov", tmp_path / "bücher" / "a.inc"}


NAMES = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1)


@given(st.lists(NAMES, min_size=1, max_size=4), st.sampled_from(["ä", "ö", "_ue4_"]))
def test_different_paths_stay_different_in_the_workspace(parts: list[str], more: str):
    path = "/".join(parts)
    assert ascii_path(path).isascii()
    assert ascii_path(path).count("/") == path.count("/")
    paths = {path, path + more, path + "_", f"{path}.inc"}
    assert len({ascii_path(other) for other in paths}) == len(paths)


PHOTONS = "global_settings { photons { count 100 } }"


@pytest.mark.parametrize(
    ("source", "is_told"),
    [
        (PHOTONS, True),
        ('#include "a.inc"', True),
        ("global_settings { photons { Mine() } }", True),
        ("sphere { 0, 1 photons { target 1.0 refraction on } }", False),
        (f"// {PHOTONS}", False),
    ],
)
def test_photons_are_told_of_in_advance(tmp_path: Path, source: str, is_told: bool):
    write(tmp_path, a__inc=PHOTONS)
    told = scene_of(tmp_path, source, switches=["+KFF3"]).warnings
    assert bool(told) == is_told
    assert scene_of(tmp_path, source, switches=["+KFF3"], frames="2").warnings == ()
    if is_told:
        assert "photons" in told[0]
        assert "\n" not in told[0]


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("#version 3.8;\n", "scene.pov:1: #version 3.8"),
        ("// of mine\n#version 3.71;", "scene.pov:2: #version 3.71"),
        ("#version unofficial 3.8;\n", "#version 3.8"),
        ('#include "own.inc"\n', "own.inc:1: #version 4.0"),
        ("#version 3.7;", None),
        ("#version 3.6;", None),
        ("// #version 3.8;", None),
        ("#version version;", None),
        ("#if (version >= 3.8) #version 3.8; #else #version 3.7; #end", None),
        ('#ifdef (New) #include "own.inc" #end', None),
        ("#macro Newer() #version 3.8; #end", None),
    ],
)
def test_a_scene_for_a_newer_povray_is_told_with_the_remedy(
    tmp_path: Path, source: str, place: str | None
):
    write(tmp_path, own__inc="#version 4.0;\n")
    if place is None:
        assert scene_of(tmp_path, source).newer == ""
        return
    with pytest.raises(InputError, match=r"a newer POV-Ray than 3\.7.*--povray PATH") as told:
        scene_of(tmp_path, source)
    assert place in str(told.value)


def test_an_antialiasing_that_this_povray_takes_for_another_is_told(tmp_path: Path):
    scene = scene_of(tmp_path, "", switches=["+A", "+AM3"])
    assert scene.settings.antialias_method == 2
    assert "3.7, which renders here, takes it for +AM2" in scene.warnings[0]
    assert scene_of(tmp_path, "", switches=["+A", "+AM3", "+AM1"]).warnings == ()


def test_a_file_that_differs_in_case_is_taken_as_on_windows_and_told(tmp_path: Path):
    work = tmp_path / "work"
    (work / "Textures").mkdir(parents=True)
    write(work / "Textures", Wood__PNG="")
    write(work, Parts__Inc='pigment { image_map { png "textures/wood.png" } }')
    scene = scene_of(work, '#include "parts.inc"\n#include "PARTS.inc"\n')
    assert scene.files["scene/parts.inc"] == work / "Parts.Inc"
    assert scene.files["scene/PARTS.inc"] == work / "Parts.Inc"
    assert scene.files["scene/textures/wood.png"] == work / "Textures" / "Wood.PNG"
    assert len(scene.warnings) == 3
    assert f"scene.pov:1: parts.inc is there as {work}/Parts.Inc" in scene.warnings[0]


def test_of_two_files_that_differ_in_case_none_is_taken_and_both_are_named(tmp_path: Path):
    work = tmp_path / "work"
    work.mkdir()
    write(work, Parts__inc="", PARTS__inc="")
    with pytest.raises(
        InputError, match=r"scene\.pov:1: parts\.inc \(PARTS\.inc and Parts\.inc are"
    ):
        scene_of(work, '#include "parts.inc"\n')
    maybe = scene_of(work, '#if (clock > 2) #include "parts.inc" #end\n')
    assert maybe.files.keys() == {"scene/scene.pov"}
    assert "name one of them) is not there; under a condition" in maybe.warnings[0]


def test_case_counts_where_a_file_has_the_very_name(tmp_path: Path):
    work = tmp_path / "work"
    work.mkdir()
    write(work, a__inc="", A__inc="")
    scene = scene_of(work, '#include "A.inc"\n')
    assert scene.files.keys() == {"scene/scene.pov", "scene/A.inc"}
    assert scene.warnings == ()


def test_a_file_that_is_asked_for_has_to_have_the_very_name(tmp_path: Path):
    work = tmp_path / "work"
    work.mkdir()
    write(work, A__inc="")
    scene = scene_of(work, '#if (file_exists("a.inc")) #debug "there" #end\n')
    assert "scene/a.inc" not in scene.files
