"""What frames leave to each other, and names that they compute, are found out by running them.

Each scene's frames, rendered by themselves and in any order, have the pixels of POV-Ray's own loop.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from povstorm_client import InputError, ToolError
from povstorm_client.launch import trace_process
from povstorm_client.launch.trace_process import trace_scene
from povstorm_client.scene.load_scene import Scene, load_scene
from povstorm_client.scene.trace import Trace, TraceRequest
from povstorm_client.storage.folder import FolderStorage
from render_image.trace_accesses import Accesses, take_notes
from render_image.trace_loop import LIBRARY
from tests.fidelity.compare import by_povray, by_povstorm, differences
from tests.fidelity.file_scenes import ALL_RIGHT, drawn, outcomes

HEAD = "#version 3.7; global_settings { assumed_gamma 1 }\n#declare Level = 0;\n"
SHOW = "background { rgb <mod(Level, 16) / 16, mod(Level / 16, 16) / 16, 0.5> }\n"
SIZE = ("+W32", "+H24")

COUNT = (
    '#if (file_exists("n.txt")) #fopen F "n.txt" read #read (F, Level) #fclose F #end\n'
    "#declare Level = Level + 3;\n"
    '#fopen F "n.txt" write #write (F, Level, ",") #fclose F\n'
)
WALK = (
    '#declare Seed = seed(7);\n#if (file_exists("walk.txt"))\n'
    '#fopen F "walk.txt" read #read (F, X, S) #fclose F #declare Seed = seed(S);\n'
    "#else #declare X = 100; #end\n"
    "#declare X = X + 20 * (rand(Seed) - 0.5);\n#declare Level = X;\n"
    '#fopen F "walk.txt" write #write (F, X, ",", int(100000 * rand(Seed)), ",") #fclose F\n'
)
SIMULATION = (
    "#declare P = array[4] #declare I = 0;\n"
    '#if (file_exists("swarm.inc")) #include "swarm.inc"\n'
    "#else #while (I < 4) #declare P[I] = <I, I * 2, 0>; #declare I = I + 1; #end #end\n"
    '#fopen F "swarm.inc" write\n#declare I = 0;\n#while (I < 4)\n'
    "#declare Q = P[I] + 0.5 * (P[mod(I + 1, 4)] - P[I]) + <1, clock, 0>;\n"
    '#write (F, "#declare P[", I, "] = ", Q, ";\\n")\n'
    "#declare Level = Level + Q.x * 5 + Q.y;\n#declare I = I + 1;\n#end\n#fclose F\n"
)
NUMBERED = 'concat("state", str(frame_number{shift}, -3, 0), ".inc")'


def write(folder: Path, source: str, files: dict[str, str]) -> None:
    for name, text in {**files, "own.pov": f"{HEAD}{source}{SHOW}"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def traced(folder: Path, *words: str, **options: object) -> Scene:
    return load_scene("own.pov", switches=words, cwd=folder, tracer=trace_scene, **options)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """The scene's folder, which nothing but POV-Ray's own loop may write to."""
    folder = tmp_path / "Bühne 1"
    folder.mkdir()
    yield folder


def there(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("source", "files", "words"),
    [
        pytest.param(COUNT, {}, ("+KFF5",), id="read, then written"),
        pytest.param(COUNT, {"n.txt": "40,"}, ("+KFF3",), id="begun from a file of the user's"),
        pytest.param(
            '#fopen F "log.txt" append #write (F, frame_number, ",") #fclose F\n'
            '#fopen F "log.txt" read\n#while (defined(F)) #read (F, N) '
            "#declare Level = Level * 2 + N; #end\n",
            {},
            ("+KFF4",),
            id="appended to, then read",
        ),
        pytest.param(
            '#if (file_exists("log.txt"))\n#fopen F "log.txt" read\n'
            "#while (defined(F)) #read (F, N) #declare Level = Level + N; #end\n#end\n"
            '#fopen F "log.txt" append #write (F, frame_number, ",") #fclose F\n'
            '#fopen F "log.txt" append #write (F, "2,") #fclose F\n',
            {"log.txt": "7,"},
            ("+KFF4",),
            id="read, then appended to twice",
        ),
        pytest.param(
            '#fopen F "own.pov" append #write (F, "#declare Level = Level * 3;\\n") #fclose F\n',
            {},
            ("+KFF4",),
            id="its own file",
        ),
        pytest.param(
            COUNT + '#if (file_exists("b.inc")) #include "b.inc" #end\n'
            '#fopen F "b.inc" write\n#write (F, "#declare Level = Level + ", Level, ";")\n'
            "#fclose F\n",
            {},
            ("+KFF4",),
            id="two files",
        ),
        pytest.param(WALK, {}, ("+KFF5",), id="a random walk"),
        pytest.param(SIMULATION, {}, ("+KFF4",), id="a simulation in the scene language"),
        pytest.param(
            f"#if (frame_number > 1) #include {NUMBERED.format(shift=' - 1')} #end\n"
            "#declare Level = Level + frame_number;\n"
            f"#fopen F {NUMBERED.format(shift='')} write "
            '#write (F, "#declare Level = ", Level, ";") #fclose F\n',
            {},
            ("+KFF4",),
            id="a file of its own in each frame",
        ),
        pytest.param(
            f"#include {NUMBERED.format(shift='')}\n",
            {f"state{n:03}.inc": f"#declare Level = {n * 20};" for n in (1, 2, 3)},
            ("+KFF3",),
            id="a computed include",
        ),
        pytest.param(
            '#fopen F "names.txt" read #read (F, Name) #fclose F #include Name\n',
            {"names.txt": '"sub/far.inc"', "sub/far.inc": "#declare Level = 77;"},
            ("+KFF2",),
            id="a name that is read from a file",
        ),
        pytest.param(
            '#if (frame_number = 2 | frame_number = 4) #include concat("so", "me.inc") #end\n',
            {"some.inc": "#declare Level = 90;"},
            ("+KFF4",),
            id="an include in some frames",
        ),
        pytest.param(
            '#if (frame_number = 4) #fopen F "late" write #write (F, "1") #fclose F #end\n'
            '#if (file_exists("late")) #declare Level = 200; #end\n',
            {},
            ("+KFF6",),
            id="absent until a frame makes it",
        ),
        pytest.param(
            '#declare Name = concat("c", str(int(clock * 10), 0, 0), ".txt");\n'
            "#if (file_exists(Name)) #fopen F Name read #read (F, Level) #fclose F #end\n"
            '#fopen F Name write #write (F, Level + 9, ",") #fclose F\n',
            {},
            ("+KFF6", "+KI0", "+KF0.3"),
            id="names from the clock",
        ),
        pytest.param(COUNT, {}, ("+KFF4", "+KC"), id="cyclic"),
        pytest.param(COUNT, {}, ("+KFI3", "+KFF9", "+SF5", "+EF8"), id="a subset"),
        pytest.param(COUNT, {}, ("+KFF9", "Frame_Step=3"), id="steps"),
        pytest.param(
            COUNT.replace("n.txt", "sub/n.txt"), {"sub/x": ""}, ("+KFF3",), id="in a folder"
        ),
        pytest.param(
            COUNT.replace("n.txt", "output/n.txt"), {"output/x": ""}, ("+KFF3",), id="in output"
        ),
    ],
)
def test_frames_by_themselves_have_the_pixels_of_povrays_own_loop(
    home: Path,
    storage: FolderStorage,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    files: dict[str, str],
    words: tuple[str, ...],
):
    # In parts first, whatever reading the scene shows: those that carry state have to be told.
    monkeypatch.setattr(trace_process, "_parts", lambda _: 3)
    write(home, source, files)
    before = there(home)
    scene = traced(home, *SIZE, *words)
    assert there(home) == before
    ours = by_povstorm(scene, storage)
    assert differences(ours, by_povray(home, "own.pov", *SIZE, *words)) == []


def test_a_file_that_is_called_otherwise_but_for_case_is_found_as_on_windows(
    home: Path, storage: FolderStorage
):
    source = COUNT + '#include "Sub/Level.INC"\n'
    write(home, source, {"sub/level.inc": "#declare Level = Level + 4;"})
    scene = traced(home, *SIZE, "+KFF3")
    assert sorted(scene.state) == [2, 3]
    assert all("scene/sub/level.inc" in use.read for use in scene.uses.values())
    ours = by_povstorm(scene, storage)
    (home / "Sub").symlink_to("sub")
    (home / "sub" / "Level.INC").symlink_to("level.inc")
    assert differences(ours, by_povray(home, "own.pov", *SIZE, "+KFF3")) == []


@pytest.mark.parametrize("chosen", ["1-9x4", "7", "2,8"])
def test_chosen_frames_are_left_what_all_frames_before_them_made(
    home: Path, storage: FolderStorage, chosen: str
):
    write(home, COUNT, {})
    ours = by_povstorm(traced(home, *SIZE, "+KFF9", frames=chosen), storage)
    theirs = by_povray(home, "own.pov", *SIZE, "+KFF9")
    assert differences(ours, {name: theirs[name] for name in ours}) == []


def test_a_scene_that_reading_tells_all_of_is_not_run(home: Path):
    write(home, '#include "c.inc"\n', {"c.inc": ""})

    def refuse(request: TraceRequest) -> Trace:
        raise AssertionError(request)

    assert load_scene("own.pov", switches=["+KFF3"], cwd=home, tracer=refuse).trace is None


def test_a_frame_gets_what_it_reads_and_no_more(home: Path):
    source = COUNT + '#fopen F "log.txt" append #write (F, "a long line\\n") #fclose F\n'
    write(home, source, {})
    scene = traced(home, *SIZE, "+KFF4")
    assert {frame: list(files) for frame, files in scene.state.items()} == {
        frame: ["scene/n.txt"] for frame in (2, 3, 4)
    }


def test_an_image_of_the_loop_is_there_for_the_frames_after_it(home: Path, storage: FolderStorage):
    write(home, '#if (file_exists("own1.png")) #declare Level = 5; #end\n', {})
    scene = traced(home, *SIZE, "+KFF3")
    assert [link.keeps for link in scene.links.values()] == [("scene/own1.png",)] * 2 + [()]
    ours = by_povstorm(scene, storage)
    subprocess.run(
        ["povray", "own.pov", *SIZE, "+KFF3", "+WT1", "-D"],
        cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        check=True,
        capture_output=True,
    )
    theirs = {f"frame_{frame}.png": home / f"own{frame}.png" for frame in (1, 2, 3)}
    assert differences(ours, theirs) == []


def test_what_frames_go_on_from_is_not_called_lost(home: Path):
    read = '#fopen L "name.txt" read #read (L, Name) #fclose L\n' + COUNT.replace(
        'file_exists("n.txt")', "file_exists(Name)"
    ).replace('"n.txt" read', "Name read")
    log = '#fopen F "log.txt" append #write (F, Level) #fclose F\n'
    write(home, read + log, {"name.txt": '"n.txt",'})
    scene = traced(home, *SIZE, "+KFF3")
    assert sorted(scene.state) == [2, 3]
    assert [line.split(": ")[1] for line in scene.warnings] == ["log.txt is written, but not kept"]


def test_a_povray_too_old_for_a_scene_is_told_with_the_frames_that_fail(home: Path):
    write(home, "#if (frame_number > 1) #version 3.8; #end\n", {})
    (warning,) = traced(home, *SIZE, "+KFF3", always_trace=True).warnings
    assert "frames 2-3 cannot be parsed" in warning
    assert "name a newer one with --povray PATH" in warning


def test_frames_cannot_go_on_from_one_that_cannot_be_parsed(home: Path):
    write(home, COUNT + "#if (frame_number = 3) sphere { #end\n", {})
    with pytest.raises(InputError, match=r"frame 3 cannot be parsed: .*own\.pov.*line \d+") as told:
        traced(home, *SIZE, "+KFF5")
    assert "render those before it with --frames 1-2" in str(told.value)
    assert "\n" not in str(told.value)
    assert traced(home, *SIZE, "+KFF5", frames="1-2").frames == (1, 2)


def test_the_last_frame_may_be_one_that_cannot_be_parsed(home: Path, storage: FolderStorage):
    write(home, COUNT + "#if (frame_number = 3) sphere { #end\n", {})
    scene = traced(home, *SIZE, "+KFF3")
    assert [warning.split(" cannot")[0] for warning in scene.warnings] == ["frame 3"]
    assert sorted(scene.state) == [2, 3]


@pytest.mark.parametrize("why", ["its names", "asked to"])
def test_frames_that_leave_others_nothing_fail_by_themselves(
    home: Path, storage: FolderStorage, why: str
):
    broken = "#if (mod(frame_number, 2) = 0) sphere { #end\n"
    names = f"#include {NUMBERED.format(shift='')}\n" if why == "its names" else ""
    write(home, names + broken, {f"state{n:03}.inc": f"#declare Level = {n};" for n in range(1, 6)})
    scene = traced(home, *SIZE, "+KFF5", always_trace=True)
    assert scene.frames == (1, 2, 3, 4, 5)
    (warning,) = scene.warnings
    assert warning.startswith("frames 2, 4 cannot be parsed: ")
    assert warning.endswith("; they will fail, and the others are rendered")
    with pytest.raises(InputError, match="frames 2, 4 cannot be parsed"):
        traced(home, *SIZE, "+KFF5", always_trace=True, refuse_unparsable=True)


def test_a_scene_that_writes_and_fails_is_rendered_as_reading_it_tells(home: Path):
    write(
        home,
        '#fopen F "log.txt" append #write (F, frame_number) #fclose F\n'
        "#if (frame_number = 2) sphere { #end\n",
        {},
    )
    scene = traced(home, *SIZE, "+KFF4", always_trace=True)
    assert scene.trace is None
    assert any(warning.startswith("frame 2 cannot be parsed") for warning in scene.warnings)


def test_when_no_frame_can_be_parsed_nothing_is_rendered(home: Path):
    write(home, "sphere {\n", {})
    with pytest.raises(InputError, match="frames 1-2 cannot be parsed"):
        traced(home, *SIZE, "+KFF2", always_trace=True)


def test_all_frames_that_cannot_be_parsed_are_told_where_they_leave_nothing_to_each_other(
    home: Path,
):
    write(home, "#if (mod(frame_number, 2) = 0) sphere { #end\n", {})
    found = trace_of(home, "+KFF6")
    assert sorted(found.failures) == [2, 4, 6]
    assert found.frames == 6


def trace_of(home: Path, *words: str) -> Trace:
    """The trace itself, whatever load_scene would make of it."""
    kept: list[Trace] = []

    def keep(request: TraceRequest) -> Trace:
        kept.append(trace_scene(request))
        return Trace()

    load_scene("own.pov", switches=[*SIZE, *words], cwd=home, tracer=keep, always_trace=True)
    return kept[0]


@pytest.mark.parametrize("name", ["MAX_STATE_BYTES", "MAX_ALL_STATE_BYTES"])
def test_more_than_work_units_take_is_refused_with_the_file(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.setattr(trace_process, name, 2)
    write(home, COUNT, {"n.txt": "100,"})
    with pytest.raises(InputError, match=r"n\.txt, which frames leave to each other"):
        traced(home, *SIZE, "+KFF3")


def test_without_a_way_to_run_it_a_scene_that_must_be_run_is_refused_with_its_lines(home: Path):
    write(home, COUNT, {})

    def missing(_: TraceRequest) -> Trace:
        raise ToolError("povray is not on PATH")

    with pytest.raises(InputError, match=r"(?s)povray is not on PATH.*own\.pov:3") as refused:
        load_scene("own.pov", switches=["+KFF3"], cwd=home, tracer=missing)
    assert "n.txt" in str(refused.value)


@pytest.mark.parametrize("options", [{}, {"always_trace": True}])
@pytest.mark.parametrize("is_folder", [False, True])
def test_what_is_written_through_a_link_and_read_without_is_refused(
    home: Path, is_folder: bool, options: dict[str, bool]
):
    write(home, COUNT.replace('"n.txt" write', '"b/n.txt" write'), {"a/n.txt": "1,"})
    if is_folder:
        (home / "b").symlink_to("a")
        (home / "own.pov").write_text(
            (home / "own.pov").read_text().replace('"n.txt"', '"a/n.txt"')
        )
    else:
        (home / "b").mkdir()
        (home / "b" / "n.txt").symlink_to("../n.txt")
    with pytest.raises(
        InputError, match=r"b/n\.txt, which the scene writes, is .*n\.txt too, by a"
    ):
        traced(home, *SIZE, "+KFF3", **options)


def test_a_folder_that_holds_far_more_than_a_scene_is_not_shown_to_one(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(trace_process, "_TOO_LARGE", frozenset((home,)))
    write(home, COUNT, {})
    with pytest.raises(InputError, match="change into the scene's folder"):
        traced(home, "+KFF3")


def test_without_the_sandbox_it_is_the_same(
    home: Path, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("POVSTORM_SANDBOX", "off")
    plain = tmp_path / "plain"
    write(plain, COUNT, {})
    scene = traced(plain, *SIZE, "+KFF3")
    assert (
        differences(by_povstorm(scene, storage), by_povray(plain, "own.pov", *SIZE, "+KFF3")) == []
    )


def trace_folder(tmp_path: Path, notes: bytes) -> Path:
    trace = tmp_path / "trace"
    (trace / "kept").mkdir(parents=True)
    (trace / "accesses").write_bytes(notes)
    return trace


def test_what_a_taken_over_povray_notes_leads_nowhere_else(tmp_path: Path):
    (tmp_path / "home").mkdir()
    (tmp_path / "secret").write_text("key")
    notes = (
        b"F\0/scene/own.pov\0\0R\0/scene/../secret\0\0R\0/etc/passwd\0\0R\0/scene/a\0../../secret\0"
    )
    trace = trace_folder(tmp_path, notes)
    accesses = Accesses({"/scene": tmp_path / "home"}, tmp_path / "own.pov")
    with pytest.raises(InputError, match="could not be copied"):
        accesses.add(take_notes(trace, tmp_path / "taken"), range(1, 3))
    assert accesses.read == set()
    assert accesses.state == {}


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_a_taken_over_povray_keeps_is_a_file_or_refused(tmp_path: Path, kind: str):
    trace = trace_folder(tmp_path, b"F\0/scene/own.pov\0\0R\0/scene/a\0" + b"1-0\0")
    if kind == "link":
        (trace / "kept/1-0").symlink_to("/etc/passwd")
    else:
        os.mkfifo(trace / "kept/1-0")
    accesses = Accesses({"/scene": tmp_path}, tmp_path / "own.pov")
    with pytest.raises(InputError, match="cannot be traced"):
        accesses.add(take_notes(trace, tmp_path / "taken"), range(1, 3))


@pytest.mark.parametrize("mode", ["read", "append", "write"])
def test_a_pipe_under_a_computed_name_is_refused_and_not_waited_for(home: Path, mode: str):
    use = {"read": "#read (F, Level)"}.get(mode, "#write (F, 1)")
    write(home, f'#fopen F concat("na", "med") {mode} {use} #fclose F\n', {})
    os.mkfifo(home / "named")
    with pytest.raises(InputError, match="named is a pipe"):
        traced(home, *SIZE, "+KFF2", always_trace=True)


def test_a_note_that_is_cut_off_counts_for_nothing(tmp_path: Path):
    trace = trace_folder(tmp_path, b"F\0/scene/own.pov\0\0R\0/scene/a")
    accesses = Accesses({"/scene": tmp_path}, tmp_path / "own.pov")
    accesses.add(take_notes(trace, tmp_path / "taken"), range(1, 3))
    assert (accesses.frame, accesses.read) == (1, set())


def test_the_lightest_compiler_builds_the_library(tmp_path: Path):
    tcc = shutil.which("tcc")
    assert tcc, "apt install tcc"
    built = tmp_path / LIBRARY.name
    subprocess.run([tcc, "-shared", "-o", built, LIBRARY.with_name("povray_files.c")], check=True)
    assert built.stat().st_size > 0


def test_whatever_a_scene_does_with_files_its_frames_are_povrays_once_it_was_run(tmp_path: Path):
    counted = outcomes(drawn(30, again=True), tmp_path / "scenes", 4, tracer=trace_scene)
    assert counted.keys() <= set(ALL_RIGHT), "python -m tests.fidelity.file_scenes has more"
    assert counted["told"] == 0
    assert counted["equal"] > 10


def povstorm(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("povstorm")
    return subprocess.run(
        [program, *words],
        cwd=folder,
        env={**os.environ, "POVSTORM_HOME": str(folder.parent / "povstorm")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_check_tells_what_frames_are_left(home: Path):
    write(home, COUNT, {})
    done = povstorm(home, "check", "own.pov", *SIZE, "+KFF4")
    assert done.returncode == 0, done.stderr
    assert "frames  1-4 can be rendered: 4 frames parsed in " in done.stdout
    assert "state   n.txt, up to 2 bytes, is left to frames 2-4" in done.stdout


def test_how_many_frames_are_parsed_is_told_on_the_way(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trace_process, "_QUIET_SECONDS", 0.0)
    busy = "#declare I = 0; #while (I < 30000) #declare I = I + 1; #end\n"
    write(home, f"{COUNT}{busy}#if (frame_number = 12) sphere {{ #end\n", {})
    told: list[tuple[int, int]] = []
    scene = load_scene(
        "own.pov",
        switches=(*SIZE, "+KFF12"),
        cwd=home,
        tracer=partial(trace_scene, on_parsed=lambda done, count: told.append((done, count))),
    )
    assert scene.trace is not None
    assert told == sorted(told)
    assert {count for _, count in told} == {12}
    assert any(0 < done < 12 for done, _ in told)


def test_check_parses_each_numbered_scene_and_finds_the_names_that_it_computes(home: Path):
    named = '#fopen L "name.txt" read #read (L, Name) #fclose L #include Name\n'
    (home / "name.txt").write_text('"own.inc",')
    (home / "own.inc").write_text("#declare Level = 3;\n")
    for number in (1, 2, 4):
        (home / f"step_{number}.pov").write_text(f"{HEAD}{named}{SHOW}")
    words = ["check", "step_*.pov", *SIZE]
    done = povstorm(home, *words)
    assert done.returncode == 0, done.stderr
    assert "frames  1-2, 4 can be rendered: 3 frames parsed" in done.stdout
    assert "files   5," in done.stdout
    assert "state" not in done.stdout

    with (home / "step_4.pov").open("a") as file:
        file.write("sphere {\n")
    broken = povstorm(home, *words)
    assert broken.returncode == 1
    assert "frame 4 cannot be parsed: " in broken.stderr.splitlines()[-1]
    assert "step_4.pov' line 5: Parse Error" in broken.stderr


def test_check_tells_every_frame_that_cannot_be_parsed(home: Path):
    write(home, "#if (mod(frame_number, 2) = 0) sphere { #end\n", {})
    done = povstorm(home, "check", "own.pov", *SIZE, "+KFF6")
    assert done.returncode == 1
    # On a busy machine it says every ten seconds how many frames are parsed.
    (line,) = (each for each in done.stderr.splitlines() if "frames are parsed" not in each)
    assert line.startswith("povstorm: frames 2, 4, 6 cannot be parsed: ")
    assert str(home / "own.pov") in line
    assert done.stdout == ""
