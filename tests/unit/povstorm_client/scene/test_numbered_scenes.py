"""Numbered scene files are the frames of an animation."""

from __future__ import annotations

from pathlib import Path

import pytest

from povstorm_client import InputError
from povstorm_client.scene import load_scene as module
from povstorm_client.scene.load_scene import Scene, load_scene


def steps(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"// {name}\n")
    return folder


def load(folder: Path, pattern: str = "step_*.pov", *words: str, **options) -> Scene:
    return load_scene(pattern, switches=words, cwd=folder, **options)


def test_frames_have_the_files_numbers_in_their_order(tmp_path: Path):
    scene = load(steps(tmp_path, "step_10.pov", "step_9.pov", "step_11.pov"))
    assert scene.name == "step"
    assert scene.frames == (9, 10, 11)
    assert [unit.settings.scene for unit in scene.work_units()] == [
        f"scene/step_{frame}.pov" for frame in scene.frames
    ]
    assert [unit.image_name for unit in scene.work_units()] == [
        "frame_09.png",
        "frame_10.png",
        "frame_11.png",
    ]
    assert scene.warnings == ()


def test_each_frames_file_is_its_own_and_what_they_include_is_shared(tmp_path: Path):
    steps(tmp_path, "step_1.pov", "step_2.pov", "common.inc")
    (tmp_path / "step_2.pov").write_text('#include "common.inc"\n')
    scene = load(tmp_path)
    assert scene.files == {"scene/common.inc": tmp_path / "common.inc"}
    first, second = scene.work_units()
    assert first.inline_files() == {"scene/step_1.pov": b"// step_1.pov\n"}
    assert second.inline_files().keys() == {"scene/step_2.pov"}


def test_large_files_are_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_MOST_OWN_BYTES", 20)
    scene = load(steps(tmp_path, "step_1.pov", "step_2.pov"))
    assert scene.files.keys() == {"scene/step_1.pov", "scene/step_2.pov"}
    assert [unit.inline_resource for unit in scene.work_units()] == [{}, {}]


def test_every_frames_clock_is_a_stills(tmp_path: Path):
    settings = load(steps(tmp_path, "step_3.pov", "step_5.pov")).settings
    assert (settings.initial_clock, settings.final_clock) == (0, 0)
    assert (settings.initial_frame, settings.final_frame) == (3, 5)


def test_missing_numbers_are_told(tmp_path: Path):
    scene = load(steps(tmp_path, "step_1.pov", "step_2.pov", "step_6.pov"))
    assert scene.warnings == ("there is no file with 3-5: the video goes on without a pause",)


def test_frames_choose_among_the_files(tmp_path: Path):
    steps(tmp_path, "step_1.pov", "step_2.pov", "step_6.pov")
    assert load(tmp_path, frames="2-6x4").frames == (2, 6)
    with pytest.raises(InputError, match="there is no file for frame 3-5"):
        load(tmp_path, frames="2-6")


@pytest.mark.parametrize("word", ["+KFF9", "+K0.5", "Final_Clock=2", "+SF2", "Frame_Step=2"])
def test_a_loop_of_one_scene_is_refused(tmp_path: Path, word: str):
    with pytest.raises(InputError, match="makes a loop of one scene"):
        load(steps(tmp_path, "step_1.pov", "step_2.pov"), "step_*.pov", word)


@pytest.mark.parametrize(
    ("names", "pattern", "words"),
    [
        ([], "step_*.pov", "no file is named like"),
        (["step_1.pov", "step_01.pov"], "step_*.pov", "are both frame 1"),
        (["step_1.pov", "step_last.pov"], "step_*.pov", "step_last.pov has no number"),
        (["a/step_1.pov"], "*/step_*.pov", "a pattern for folders"),
    ],
)
def test_files_that_are_no_frames_are_told(
    tmp_path: Path, names: list[str], pattern: str, words: str
):
    with pytest.raises(InputError, match=words):
        load(steps(tmp_path, *names), pattern)


def test_a_file_with_a_star_in_its_name_is_that_file(tmp_path: Path):
    assert load(steps(tmp_path, "a*.pov", "a1.pov"), "a*.pov").name == "a*"


def test_the_name_is_what_the_files_share(tmp_path: Path):
    assert load(steps(tmp_path, "run-7.pov", "run-8.pov"), "run*.pov").name == "run"
    assert load(steps(tmp_path / "lake", "1.pov", "2.pov"), "*.pov").name == "lake"


def test_what_a_file_is_missing_is_told_with_its_line(tmp_path: Path):
    steps(tmp_path, "step_1.pov")
    (tmp_path / "step_2.pov").write_text('\n#include "gone.inc"\n')
    with pytest.raises(InputError, match=r"step_2\.pov:2: gone\.inc"):
        load(tmp_path)


def test_a_file_that_another_frame_includes_stays_shared(tmp_path: Path):
    steps(tmp_path, "step_1.pov", "step_2.pov")
    (tmp_path / "step_2.pov").write_text('#include "step_1.pov"\n')
    scene = load(tmp_path)
    assert scene.files.keys() == {"scene/step_1.pov"}
    first, second = scene.work_units()
    assert (first.settings.scene, first.inline_files()) == ("scene/step_1.pov", {})
    assert second.inline_files().keys() == {"scene/step_2.pov"}
