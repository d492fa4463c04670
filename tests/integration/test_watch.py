"""``povstorm watch`` with real POV-Ray: a save draws what it changes, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import httpx
import psutil
import pytest

from povstorm_client.storage import layout
from tests.watched_scene import PATIENCE, WatchedScene, save, watched

HEAD = "#version 3.7; global_settings { assumed_gamma 1 }\n"
BALL = "camera { location -4*z } light_source { -9*z, 1 } sphere { 0, 1 pigment { rgb COLOUR } }\n"
LATE = '#if (frame_number >= 4) #include "late.inc" #end\n'
RED, GREEN = (HEAD + LATE + BALL.replace("COLOUR", colour) for colour in ("x", "y"))
SMALL = ("own.pov", "+W64", "+H48", "+KFF5")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "a scene"
    made.mkdir()
    save(made / "own.pov", RED)
    save(made / "late.inc", "background { 0.2 }\n")
    return made


def letters(shown: dict) -> str:
    return "".join(shown["rows"][at][1] for at in sorted(shown["rows"]))


def versions(shown: dict) -> list[str]:
    return [shown["rows"][at][9] for at in sorted(shown["rows"])]


def is_up_to_date(shown: dict) -> bool:
    return shown["status"]["phase"] == "Up to date"


def test_a_save_draws_the_frames_that_it_changes_and_undoing_it_none(folder: Path):
    with watched(folder, *SMALL) as scene:
        scene.says("opened: 5 of 5 frames drawn")
        first = versions(scene.shows(is_up_to_date))
        scene.says("5 frames run")
        # Frames 4 and 5 alone include it.
        save(folder / "late.inc", "background { 0.7 }\n")
        scene.says("late.inc saved: 2 of 5 frames drawn")
        shown = scene.shows(is_up_to_date)
        assert letters(shown) == "cccrr"
        second = versions(shown)
        assert second[:3] == first[:3]
        assert not set(second[3:]) & set(first)
        scene.says("5 frames run")

        save(folder / "late.inc", "background { 0.2 }\n")
        scene.says("late.inc saved: 0 of 5 frames drawn")
        assert versions(scene.shows(is_up_to_date)) == first
        # All read the scene itself.
        save(folder / "own.pov", GREEN)
        scene.says("own.pov saved: 5 of 5 frames drawn")


def test_a_scene_is_drawn_with_each_value_that_is_declared(folder: Path):
    save(folder / "own.pov", RED + '#if (Size = 2) #include "late.inc" #end\n')
    with watched(folder, *SMALL[:-1], "+KFF3", "--declare", "Size=1,2") as scene:
        scene.says("opened: 6 of 6 frames drawn")
        page = httpx.get(scene.url, timeout=PATIENCE).text
        assert '"variants": ["Size=1", "Size=1", "Size=1", "Size=2",' in page
        scene.says("6 frames run")
        save(folder / "late.inc", "background { 0.7 }\n")
        scene.says("late.inc saved: 3 of 6 frames drawn")


def test_an_error_is_told_with_its_place_and_gone_with_the_next_good_save(folder: Path):
    with watched(folder, *SMALL) as scene:
        scene.says("opened: 5 of 5")
        before = versions(scene.shows(is_up_to_date))
        save(folder / "own.pov", RED.replace("pigment", "pigmment"))
        line = scene.says("own.pov saved: ")
        assert "own.pov, line 3: Parse Error: No matching } in 'sphere'" in line
        shown = scene.shows(lambda shown: shown["problem"] is not None)
        assert shown["problem"]["where"] == "own.pov, line 3"
        assert [3, RED.splitlines()[2].replace("pigment", "pigmment"), True] in shown["problem"][
            "lines"
        ]
        assert shown["status"]["phase"] == "Error"
        assert versions(shown) == before, "the pictures of before stay"
        save(folder / "own.pov", GREEN)
        scene.says("own.pov saved: 5 of 5")
        assert scene.shows(is_up_to_date)["problem"] is None


def test_a_file_that_the_scene_newly_includes_is_waited_for_and_watched(folder: Path):
    with watched(folder, *SMALL) as scene:
        scene.says("opened: 5 of 5")
        save(folder / "own.pov", HEAD + '#include "new.inc"\n' + BALL.replace("COLOUR", "x"))
        assert "new.inc" in scene.says("own.pov")
        scene.shows(lambda shown: "new.inc" in str(shown["problem"]))
        save(folder / "new.inc", "background { 0.3 }\n")
        scene.says("a file came or went: 5 of 5 frames drawn")
        save(folder / "new.inc", "background { 0.4 }\n")
        scene.says("new.inc saved: 5 of 5 frames drawn")
        (folder / "new.inc").unlink()
        os.mkfifo(folder / "new.inc")
        scene.says("new.inc is a pipe, not a file")
        scene.shows(lambda shown: "new.inc is a pipe" in str(shown["problem"]))
        save(folder / "new.inc", "background { 0.5 }\n")
        scene.says("new.inc saved: 5 of 5 frames drawn")
        assert scene.shows(is_up_to_date)["problem"] is None


def test_an_ini_file_is_watched_as_well(folder: Path):
    ini = folder / "own.ini"
    save(ini, "Input_File_Name=own.pov\nWidth=64\nHeight=48\nFinal_Frame=5\n")
    with watched(folder, "own.ini") as scene:
        scene.says("opened: 5 of 5")
        edition = scene.shows(is_up_to_date)["edition"]
        save(ini, ini.read_text(encoding="utf-8").replace("Final_Frame=5", "Final_Frame=3"))
        scene.says("own.ini saved: 3 of 3")
        assert scene.shows(is_up_to_date)["edition"] != edition
        save(ini, "Input_File_Name=own.pov\nHieght=48\n")
        assert "own.ini, line 2" in scene.says("Hieght")


def test_a_draft_in_work_gives_way_to_the_next_save(folder: Path):
    endless = HEAD + "#while (yes) #end\n"
    with watched(folder, *SMALL) as scene:
        scene.says("opened: 5 of 5")
        save(folder / "own.pov", endless)
        scene.shows(lambda shown: shown["status"]["phase"] == "Drawing")
        at_work = povrays(scene)
        save(folder / "own.pov", GREEN)
        scene.says("own.pov saved: 0 frames, then it was saved again")
        scene.says("own.pov saved: 5 of 5 frames drawn")
        psutil.wait_procs(at_work, PATIENCE)
        assert [each for each in at_work if each.is_running()] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_behind(folder: Path, number: signal.Signals):
    save(folder / "own.pov", HEAD + "#while (yes) #end\n")
    there = sorted(path.name for path in folder.iterdir())
    with watched(folder, *SMALL) as scene:
        scene.shows(lambda shown: shown["status"]["phase"] == "Drawing")
        family = psutil.Process(scene.process.pid).children(recursive=True)
        assert family
        assert list(scene.temporary.iterdir())
        assert scene.end(number) == 128 + number
        psutil.wait_procs(family, PATIENCE)
        assert [each for each in family if each.is_running()] == []
        assert list(scene.temporary.iterdir()) == []
        # No job, no cache, no Prefect: what its page's address is made from.
        assert [path.name for path in scene.home.iterdir()] == [layout.LIVE_PAGE]
        assert sorted(path.name for path in folder.iterdir()) == there


def test_frames_that_go_on_from_images_are_refused_with_what_to_do(folder: Path):
    save(
        folder / "own.pov",
        HEAD + BALL.replace("COLOUR", "x") + "#if (frame_number > 1)\n"
        'plane { z, 9 pigment { image_map { png concat("own", str(frame_number - 1, 0, 0)) } } }\n'
        "#end\n",
    )
    with watched(folder, *SMALL) as scene:
        assert "povstorm render --preview" in scene.says("go on from each other's images")
        assert scene.process.wait(PATIENCE) == 1


def povrays(scene: WatchedScene) -> list[psutil.Process]:
    """POV-Ray's processes, as soon as there are any."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        family = psutil.Process(scene.process.pid).children(recursive=True)
        if found := [each for each in family if is_povray(each)]:
            return found
        time.sleep(0.02)
    raise AssertionError("POV-Ray was not started")


def is_povray(process: psutil.Process) -> bool:
    try:
        return process.name() == "povray"
    except psutil.NoSuchProcess:
        return False


def test_a_scene_that_is_run_to_be_read_gives_way_too(folder: Path):
    """Which file it reads is computed; one that is endless is not waited for."""
    computed = '#fopen Names "names.txt" read\n#read (Names, Name)\n#include Name\n'
    save(folder / "names.txt", '"late.inc"\n')
    save(folder / "own.pov", HEAD + computed + BALL.replace("COLOUR", "x"))
    with watched(folder, *SMALL) as scene:
        scene.says("opened: 5 of 5 frames drawn")
        save(folder / "late.inc", "#while (yes) #end\n")
        at_work = povrays(scene)
        save(folder / "late.inc", "background { 0.7 }\n")
        scene.says("late.inc saved: 5 of 5 frames drawn")
        psutil.wait_procs(at_work, PATIENCE)
        assert [each for each in at_work if each.is_running()] == []


def test_where_drafts_cannot_be_drawn_any_more_the_command_ends_with_the_reason(folder: Path):
    with watched(folder, *SMALL) as scene:
        scene.says("opened: 5 of 5 frames drawn")
        for each in psutil.Process(scene.process.pid).children():
            if "render_image.draft_frames" in each.cmdline():
                each.kill()
        scene.says("povstorm: drafts cannot be rendered any more")
        assert scene.process.wait(PATIENCE) == 1


def test_each_numbered_scene_is_watched_for_its_own_frame(folder: Path):
    for number in (1, 2, 3):
        save(folder / f"step_{number}.pov", HEAD + BALL.replace("COLOUR", f"0.{number}"))
    with watched(folder, "step_*.pov", "+W64", "+H48") as scene:
        scene.says("opened: 3 of 3 frames drawn")
        save(folder / "step_2.pov", HEAD + BALL.replace("COLOUR", "y"))
        scene.says("step_2.pov saved: 1 of 3 frames drawn")
        save(folder / "step_2.pov", HEAD + BALL.replace("sphere", "spere"))
        assert "step_2.pov, line 2: Parse Error" in scene.says("step_2.pov saved")
        save(folder / "step_4.pov", HEAD + BALL.replace("COLOUR", "z"))
        save(folder / "step_2.pov", HEAD + BALL.replace("COLOUR", "y"))
        # Each is another frame in an animation of four.
        scene.says(r"\d of 4 frames drawn")
