"""Frames that leave each other nothing are parsed in parts at once, as if in their order.

Each scene is traced in parts, and in order; what is found has to be the same.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from povstorm_client import ToolError
from povstorm_client.launch import trace_process
from povstorm_client.launch.trace_process import trace_scene
from povstorm_client.scene.load_scene import load_scene
from povstorm_client.scene.trace import Trace, TraceRequest
from render_image.trace_accesses import Accesses, Notes
from render_image.trace_loop import MOST_FAILURES, Loop, Run
from render_image.trace_scene import take_in_order

HEAD = "#version 3.7; global_settings { assumed_gamma 1 }\n"
NUMBERED = '#include concat("n", str(frame_number, 0, 0), ".inc")\n'
NUMBERS = {f"n{number}.inc": "" for number in range(1, 41)}
COUNT = (
    '#if (file_exists("n.txt")) #fopen F "n.txt" read #read (F, N) #fclose F\n'
    "#else #declare N = 0; #end\n"
    '#fopen F "n.txt" write #write (F, N + 1, ",") #fclose F\n'
)


def request_for(home: Path, source: str, files: dict[str, str], *words: str) -> TraceRequest:
    """What load_scene asks a tracer for."""
    for name, text in {**files, "own.pov": HEAD + source}.items():
        (home / name).write_text(text)
    asked: list[TraceRequest] = []

    def keep(request: TraceRequest) -> Trace:
        asked.append(request)
        return Trace()

    switches = ["+W32", "+H24", *words]
    load_scene("own.pov", switches=switches, cwd=home, tracer=keep, always_trace=True)
    return asked[0]


def in_parts(
    request: TraceRequest, monkeypatch: pytest.MonkeyPatch, parts: int = 3
) -> tuple[Trace, bool]:
    """What is found in parts, and whether these were enough."""
    were_enough: list[bool] = []

    def run(folder: Path, *_: object) -> None:
        asked = json.loads((folder / "request.json").read_text())
        (folder / "request.json").write_text(json.dumps({**asked, "parts": parts}))
        command = [sys.executable, "-P", "-m", "render_image.trace_scene", str(folder)]
        subprocess.run(command, check=True)
        were_enough.append(not (folder / "whole").exists())

    with monkeypatch.context() as changed:
        changed.setattr(trace_process, "_run", run)
        found = trace_scene(request)
    return found, were_enough[0]


def in_order(request: TraceRequest) -> Trace:
    """What is found when all frames are parsed in their order."""
    return trace_scene(replace(request, writes=True))


def same(one: Trace, other: Trace) -> bool:
    return replace(one, seconds=0) == replace(other, seconds=0)


@pytest.mark.parametrize(
    ("source", "files", "words"),
    [
        pytest.param(
            f'{NUMBERED}#if (frame_number = 5) #include concat("so", "me.inc") #end\n'
            '#if (file_exists(concat("late", str(clock, 0, 1)))) #end\n',
            # POV-Ray reads this one when it starts, so more often in parts.
            {**NUMBERS, "some.inc": "", "late0.5": "", "povray.ini": "+Q3\n"},
            ("+KFF9",),
            id="names, and files that are not there",
        ),
        pytest.param(
            "#if (mod(frame_number, 4) = 0) sphere { #end\n" + NUMBERED,
            NUMBERS,
            ("+KFF10",),
            id="frames that cannot be parsed",
        ),
        pytest.param(NUMBERED, NUMBERS, ("+KFF36", "Frame_Step=5", "+KC"), id="steps, cyclic"),
        pytest.param(NUMBERED, NUMBERS, ("+KFI3", "+KFF36", "+SF7", "+EF21"), id="a subset"),
        pytest.param(
            "#if (frame_number > 2) box { 0 1 pigment { image_map { png "
            'concat("own", str(frame_number - 2, 0, 0), ".png") } } } #end\n',
            {},
            ("+KFF9",),
            id="the loop's own images",
        ),
    ],
)
def test_parts_find_what_frames_in_their_order_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    files: dict[str, str],
    words: tuple[str, ...],
):
    request = request_for(tmp_path, source, files, *words)
    assert not request.writes
    found, were_enough = in_parts(request, monkeypatch)
    assert were_enough
    assert same(found, in_order(request))


def test_what_reading_a_scene_does_not_show_is_seen_and_has_all_parsed_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # Of files that a name can mean only those are read that are called like sources.
    named = '#fopen L "name.txt" read #read (L, Name) #fclose L #include Name\n'
    files = {"name.txt": '"count.dat",', "count.dat": COUNT}
    request = request_for(tmp_path, named, files, "+KFF6")
    assert not request.writes
    found, were_enough = in_parts(request, monkeypatch)
    assert not were_enough
    assert found.state[6] == {tmp_path / "n.txt": b"5,"}
    assert same(found, in_order(request))


def test_a_scene_that_is_seen_to_write_is_parsed_in_order_at_once(tmp_path: Path):
    request = request_for(tmp_path, COUNT, {}, "+KFF999")
    assert request.writes
    assert trace_process._parts(request) == 1


@pytest.mark.parametrize(("frames", "cores", "parts"), [(63, 8, 1), (64, 8, 2), (999, 2, 2)])
def test_there_are_as_many_parts_as_cores_that_are_worth_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: int, cores: int, parts: int
):
    monkeypatch.setattr(trace_process, "whole_cores", lambda: cores)
    assert trace_process._parts(request_for(tmp_path, "", {}, f"+KFF{frames}")) == parts


def test_parts_end_at_the_frame_at_which_all_in_order_would():
    def broken(frames: range) -> Loop:
        notes = Notes((b"F", b"/scene/own.pov", b""))
        runs = (Run(frames[at:], notes, frames[at], "why") for at in range(len(frames)))
        return Loop(tuple(runs), {})

    accesses = Accesses({"/scene": Path("/home")}, Path("/home/own.pov"))
    parts = [broken(range(1, 16)), broken(range(16, 31))]
    assert list(take_in_order(parts, accesses)) == list(range(1, MOST_FAILURES + 1))
    assert accesses.frame == accesses.frames_seen == MOST_FAILURES


def test_frames_of_all_parts_are_told_as_one_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trace_process, "_QUIET_SECONDS", 0.0)
    told: list[tuple[int, int]] = []
    begun = trace_process._Begun(tmp_path, 9, lambda done, count: told.append((done, count)))

    def note(loop: str, frames: int) -> None:
        notes = tmp_path / loop / "workspace/trace/accesses"
        notes.parent.mkdir(parents=True, exist_ok=True)
        with notes.open("ab") as file:
            file.write(b"F\0/scene/own.pov\0\0" * frames)
        begun.look()

    note("part-0", 2)
    note("part-1", 1)
    note("part-0", 1)
    # All over again, in order: what was told stays true of how many have been seen.
    note("whole", 1)
    note("whole", 6)
    assert told == [(2, 9), (3, 9), (4, 9), (4, 9), (7, 9)]


@pytest.mark.parametrize("how", ["Ctrl-C", "stop"])
def test_what_is_stopped_leaves_none_of_its_parts_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
):
    request = request_for(tmp_path, "#while (true) #end\n", {}, "+KFF9")
    monkeypatch.setattr(trace_process, "_parts", lambda _: 2)
    stop = threading.Event()
    seen: list[psutil.Process] = []

    def end_when_both_run() -> None:
        while len(seen) < 2:
            below = psutil.Process().children(recursive=True)
            seen[:] = [child for child in below if is_parsing(child)]
            time.sleep(0.05)
        if how == "stop":
            stop.set()
            return
        for child in psutil.Process().children():
            if "render_image.trace_scene" in " ".join(child.cmdline()):
                child.send_signal(signal.SIGINT)

    ending = threading.Thread(target=end_when_both_run, daemon=True)
    ending.start()
    with pytest.raises(ToolError):
        trace_scene(request, stop=stop)
    ending.join()
    _, alive = psutil.wait_procs(seen, timeout=60)
    assert alive == []


def is_parsing(process: psutil.Process) -> bool:
    """Whether it is a POV-Ray that has begun."""
    try:
        return process.name() == "povray"
    except psutil.NoSuchProcess:
        return False
