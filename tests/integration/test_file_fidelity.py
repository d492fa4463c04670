"""What a scene finds in files is in every frame what POV-Ray's own loop finds, or told before."""

from __future__ import annotations

from pathlib import Path

import pytest

from povstorm_client import InputError, RenderError
from povstorm_client.scene.load_scene import Scene, load_scene
from povstorm_client.storage.folder import FolderStorage
from tests.fidelity.compare import by_povray, by_povstorm, differences
from tests.fidelity.file_scenes import ALL_RIGHT, drawn, outcomes

SIZE = ("+W32", "+H24", "+KFF3")
HEAD = "#version 3.7; global_settings { assumed_gamma 1 }\n"
SHOW = "background { rgb Level / 16 }\n"


def level(number: int) -> str:
    return f"#declare Level = {number};\n"


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def load(folder: Path, source: str, files: dict[str, str], *words: str) -> Scene:
    write(folder, {**files, "own.pov": f"{HEAD}{level(0)}{source}{SHOW}"})
    return load_scene("own.pov", switches=[*SIZE, *words], cwd=folder)


@pytest.mark.parametrize(
    ("source", "files"),
    [
        pytest.param(
            f'#include "{folder}/c.inc"\n',
            {"c.inc": level(1), f"{folder}/c.inc": level(9)},
            id=f"a folder named {folder}",
        )
        for folder in ("shared", "output", "scene")
    ]
    + [
        pytest.param(
            '#include concat("col", "ors.inc")\n#declare Level = Level + White.red;\n',
            {"colors.inc": f"{level(7)}#declare White = rgb 1;"},
            id="a standard include's name, put together",
        ),
        pytest.param(
            '#include "shapes.inc"\n', {"consts.inc": level(7)}, id="what a standard one includes"
        ),
        pytest.param(
            '#if (file_exists("data")) #declare Level = 5; #end\n', {"data": ""}, id="no ending"
        ),
        pytest.param(
            '#if (file_exists("sub")) #declare Level = 5; #end\n',
            {"sub/a.txt": ""},
            id="a folder is asked for",
        ),
        pytest.param(
            '#if (file_exists(concat("on", str(frame_number, 0, 0)))) #declare Level = 5; #end\n',
            {"on2": ""},
            id="a name for each frame",
        ),
        pytest.param(
            '#if (file_exists(concat("no/../on", str(frame_number, 0, 0)))) #declare Level = 5; '
            "#end\n",
            {"on2": ""},
            id="through a folder that is not there",
        ),
        pytest.param(
            '#fopen F "names.txt" read #read (F, Name) #fclose F #include Name\n',
            {"names.txt": '"parts/a.inc"', "parts/a.inc": level(3)},
            id="a name from a file",
        ),
        pytest.param(
            '#include "strings.inc"\nParse_String("#include \\"a.inc\\"")\n',
            {"a.inc": level(3)},
            id="code from a text",
        ),
        pytest.param(
            '#fopen F "sub/o.inc" write #write (F, "#declare Level = ", frame_number, ";") '
            '#fclose F #include "sub/o.inc"\n',
            {"sub/a.txt": ""},
            id="written into a folder, and read in the same frame",
        ),
        pytest.param(
            '#include "a.inc" #fopen F "b.inc" write #write (F, "#declare Level = 2;") #fclose F '
            '#include "b.inc"\n',
            {"a.inc": level(1), "b.inc": level(1)},
            id="one of its own files, written anew in each frame",
        ),
        pytest.param(
            '#macro Save(Name) #fopen F Name write #write (F, "#declare Level = 2;") #fclose F '
            '#end\nSave("b.inc")\n#include "b.inc"\n',
            {},
            id="written by a macro",
        ),
    ],
)  # fmt: skip
def test_the_frames_are_those_of_povrays_own_loop(
    tmp_path: Path, storage: FolderStorage, source: str, files: dict[str, str]
):
    folder = tmp_path / "home"
    scene = load(folder, source, files)
    before = {name: (folder / name).read_text() for name in files}
    ours = by_povstorm(scene, storage)
    assert {name: (folder / name).read_text() for name in files} == before
    for path in storage.path("shared").rglob("*"):
        if path.is_file() and path.name != "own.pov":
            assert path.read_text() in files.values(), "what is shared never changes"
    assert differences(ours, by_povray(folder, "own.pov", *SIZE)) == []


@pytest.mark.parametrize("sandbox", ["auto", "off"])
def test_a_scene_that_writes_over_its_own_file_changes_its_frames_copy_alone(
    tmp_path: Path, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch, sandbox: str
):
    monkeypatch.setattr("tests.fidelity.compare.SANDBOX", sandbox)
    source = (
        '#include concat("a", "")\n#fopen F concat("a", ".inc") write\n'
        '#write (F, "#declare Level = frame_number;")\n#fclose F\n'
    )
    folder = tmp_path / "home"
    scene = load(folder, source, {"a.inc": level(4)}, "+KFF1")
    ours = by_povstorm(scene, storage)
    assert (folder / "a.inc").read_text() == level(4)
    [stored] = storage.path("shared").rglob("a.inc")
    assert stored.read_text() == level(4)
    assert differences(ours, by_povray(folder, "own.pov", *SIZE, "+KFF1")) == []


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(
            '#if (file_exists("s.inc")) #include "s.inc" #end\n'
            '#fopen F "s.inc" write #write (F, "#declare Level = ", frame_number, ";") #fclose F\n',
            id="read, then written for the next",
        ),
        pytest.param(
            '#fopen F "s.txt" append #write (F, "1,") #fclose F #fopen F "s.txt" read '
            "#while (defined(F)) #read (F, N) #declare Level = Level + 1; #end\n",
            id="appended to and read",
        ),
        pytest.param(
            "#if (frame_number = 1)\n"
            '#fopen F "s.inc" write #write (F, "#declare Level = 5;") #fclose F\n#end\n'
            '#include "s.inc"\n',
            id="written in the first frame only",
        ),
        pytest.param(
            '#fopen F concat("s", str(frame_number, 0, 0)) write #write (F, "1,") #fclose F\n'
            '#if (file_exists(concat("s", str(frame_number - 1, 0, 0))))\n'
            "#declare Level = 5; #end\n",
            id="the last frame's file",
        ),
        pytest.param(
            '#if (file_exists("sub/../s.txt")) #declare Level = 5; #end\n'
            '#fopen F "s.txt" write #write (F, "1,") #fclose F\n',
            id="another name of the same file",
        ),
        pytest.param(
            '#if (file_exists("own1.png")) #declare Level = 5; #end\n', id="the loop's own image"
        ),
    ],
)
def test_what_one_frame_leaves_to_another_is_refused_before_anything_is_rendered(
    tmp_path: Path, source: str
):
    with pytest.raises(InputError, match=r"own\.pov:\d"):
        load(tmp_path, source, {"sub/x": ""})
    # A frame by itself has what POV-Ray finds there.
    assert load(tmp_path, source, {}, "+SF1", "+EF1").frames == (1,)


def test_a_folder_that_is_written_to_and_is_not_there_is_told_with_its_line(tmp_path: Path):
    with pytest.raises(InputError, match=r"(?s)folders that are not there.*own\.pov:3: sub/o\.txt"):
        load(tmp_path, '#fopen F "sub/o.txt" write\n', {})


def test_what_is_written_to_output_is_kept_and_what_is_not_is_told(
    tmp_path: Path, storage: FolderStorage
):
    source = (
        '#fopen F "output/kept.txt" write #write (F, "1") #fclose F\n'
        '#fopen F "lost.txt" write #write (F, "1") #fclose F\n'
    )
    scene = load(tmp_path / "home", source, {"output/.keep": ""}, "+KFF1")
    assert [warning.split(": ", 1)[1] for warning in scene.warnings] == [
        "lost.txt is written, but not kept: only what a scene writes into ./output is"
    ]
    by_povstorm(scene, storage)
    assert storage.read("jobs/j/output/kept.txt") == b"1"


def test_names_that_go_up_out_of_a_link_are_refused(tmp_path: Path):
    (tmp_path / "far" / "deep").mkdir(parents=True)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "link").symlink_to(tmp_path / "far" / "deep")
    write(tmp_path, {"far/c.inc": level(1), "home/c.inc": level(2)})
    with pytest.raises(InputError, match="linked folder"):
        load(tmp_path / "home", '#include "link/../c.inc"\n', {})


def test_a_file_of_the_users_is_found_through_a_link(tmp_path: Path, storage: FolderStorage):
    folder = tmp_path / "home"
    write(tmp_path, {"far/c.inc": level(6)})
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "far")
    ours = by_povstorm(load(folder, '#include "link/c.inc"\n', {}), storage)
    assert differences(ours, by_povray(folder, "own.pov", *SIZE)) == []


def test_a_scene_that_leaves_its_tree_by_names_from_a_file_finds_nothing_of_the_machine(
    tmp_path: Path, storage: FolderStorage
):
    source = '#fopen F "names.txt" read #read (F, Name) #fclose F #include Name\n'
    scene = load(tmp_path / "home", source, {"names.txt": f'"{tmp_path}/far.inc"'})
    write(tmp_path, {"far.inc": level(6)})
    assert "can name any file" in scene.warnings[0]
    with pytest.raises(RenderError, match="Cannot open include file"):
        by_povstorm(scene, storage)


def test_whatever_a_scene_does_with_files_its_frames_are_povrays_or_it_is_told(tmp_path: Path):
    counted = outcomes(drawn(40, again=True), tmp_path / "scenes")
    assert counted.keys() <= set(ALL_RIGHT), "python -m tests.fidelity.file_scenes has more"
    assert counted["equal"] > 13


def test_a_scene_from_windows_is_rendered_with_its_files(tmp_path: Path, storage: FolderStorage):
    home = tmp_path / "home"
    scene = load(home, '#include "PARTS/c.inc"\n', {"Parts/C.inc": level(6)})
    assert "Parts/C.inc: taken for it, as on Windows" in scene.warnings[0]
    ours = by_povstorm(scene, storage)
    write(tmp_path / "linux", {"PARTS/c.inc": level(6), "own.pov": (home / "own.pov").read_text()})
    assert differences(ours, by_povray(tmp_path / "linux", "own.pov", *SIZE)) == []


def test_numbered_files_have_the_pixels_of_a_still_each(tmp_path: Path, storage: FolderStorage):
    home = tmp_path / "home"
    write(home, {"common.inc": "#declare Level = Level + clock * 4 + 1;\n"})
    for number in (8, 9, 11):
        source = f'{HEAD}{level(number)}#include "common.inc"\n{SHOW}'
        write(home, {f"run {number}.pov": source})
    scene = load_scene("run *.pov", switches=["+W32", "+H24"], cwd=home)
    ours = by_povstorm(scene, storage)
    theirs = {}
    for number in scene.frames:
        folder = tmp_path / str(number)
        write(folder, {name: (home / name).read_text() for name in ("common.inc",)})
        write(folder, {"own.pov": (home / f"run {number}.pov").read_text()})
        theirs[f"frame_{number:02d}.png"] = by_povray(folder, "own.pov", "+W32", "+H24")[
            "frame_1.png"
        ]
    assert differences(ours, theirs) == []


def test_a_numbered_file_that_includes_nothing_needs_no_shared_resources(
    tmp_path: Path, storage: FolderStorage
):
    home = tmp_path / "home"
    write(home, {f"step{number}.pov": f"{HEAD}{level(number)}{SHOW}" for number in (1, 2)})
    scene = load_scene("step*.pov", switches=["+W32", "+H24"], cwd=home)
    assert scene.files == {}
    assert by_povstorm(scene, storage).keys() == {"frame_1.png", "frame_2.png"}
