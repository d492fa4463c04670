"""Motion blur of a scene whose frames go on from each other, beside POV-Ray's own images of it.

Each moment goes on from what the frame before left at its own clock; what the frame leaves to the
next is what it leaves at its own clock too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from povstorm_client import InputError
from povstorm_client.scene.load_scene import Scene
from povstorm_client.scene_job import read_scene
from povstorm_client.storage.folder import FolderStorage
from tests.fidelity.compare import by_povstorm, pixels

HEAD = "#version 3.7; global_settings { assumed_gamma 1 }\n#declare Place = 0;\n"
# A walk whose steps depend on the clock, so that each moment would leave another place.
WALK = (
    '#if (file_exists("n.txt")) #fopen F "n.txt" read #read (F, Place) #fclose F #end\n'
    "#declare Place = Place + 0.1 + clock / 8;\n"
    '#fopen F "n.txt" write #write (F, Place, ",") #fclose F\n'
)
SHOW = (
    "camera { location -5 * z look_at 0 angle 50 } light_source { <-5, 9, -6> 1.4 }\n"
    "sphere { <Place - 1, 0, 0>, 0.8 pigment { rgb <1, clock_delta, frame_number / 5> } }\n"
)
FEEDBACK = (
    "#if (frame_number > 1) plane { z, 2 pigment { image_map { png "
    'concat("own", str(frame_number - 1, 0, 0), ".png") } } } #end\n'
)
LOOP = ("+W32", "+H24", "+KFF3", "+KI0", "+KF2")
# Between two frames the clock goes on by 1, and the shutter is open for half of that.
MOMENTS = (0.0, 0.25)
_OPTIONS = {"frames": None, "size": None, "preview": False, "include": None, "threads": None}


def write(folder: Path, source: str) -> None:
    (folder / "own.pov").write_text(f"{HEAD}{source}{SHOW}", "utf-8")


def blurred(folder: Path, *words: str, warn=pytest.fail, **options: object) -> Scene:
    return read_scene(
        "own.pov",
        switches=[*LOOP, *words],
        warn=warn,
        cwd=folder,
        motion_blur=len(MOMENTS),
        **(_OPTIONS | options),
    )


def povray(folder: Path, *words: str) -> None:
    subprocess.run(
        ["povray", "own.pov", *LOOP, "+WT1", "-D", *words],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        check=True,
        capture_output=True,
    )


def moment(before: Path, folder: Path, frame: int, shift: float) -> np.ndarray:
    """POV-Ray's linear values of a frame at a moment, from what the frame before left."""
    shutil.copytree(before, folder)
    clocks = (f"+KI{shift}", f"+KF{2 + shift}")
    povray(folder, f"+SF{frame}", f"+EF{frame}", *clocks, "+FP16", "File_Gamma=1", "+Olinear")
    return np.frombuffer((folder / f"linear{frame}.ppm").read_bytes()[-32 * 24 * 6 :], ">u2")


def averaged(images: list[np.ndarray]) -> np.ndarray:
    mean = (np.sum(images, axis=0, dtype=int) + len(images) // 2) // len(images) / 65535
    return np.round(
        np.where(mean <= 0.0031308, 12.92 * mean, 1.055 * mean ** (1 / 2.4) - 0.055) * 255
    )


def samples(png: Path) -> np.ndarray:
    rows = np.frombuffer(pixels(png)[1], np.uint8).reshape(24, -1)
    assert not rows[:, 0].any()
    return rows[:, 1:].ravel()


def test_each_moment_goes_on_from_what_the_frame_before_left_at_its_own_clock(
    tmp_path: Path, storage: FolderStorage
):
    own = tmp_path / "own"
    own.mkdir()
    write(own, WALK)
    scene = blurred(own)
    assert sorted(scene.state) == [2, 3]
    ours = by_povstorm(scene, storage)

    left = []
    for frame in (1, 2, 3):
        images = [moment(own, tmp_path / f"{frame} {shift}", frame, shift) for shift in MOMENTS]
        assert (images[0] != images[1]).any()
        assert (samples(ours[f"frame_{frame}.png"]) == averaged(images)).all()
        povray(own, f"+SF{frame}", f"+EF{frame}")
        left.append((own / "n.txt").read_bytes())
    assert [scene.state[frame]["scene/n.txt"] for frame in (2, 3)] == left[:2]


def test_of_frames_in_order_each_is_left_the_average_of_the_one_before(
    tmp_path: Path, storage: FolderStorage
):
    own = tmp_path / "own"
    own.mkdir()
    write(own, WALK + FEEDBACK)
    told: list[str] = []
    ours = by_povstorm(blurred(own, warn=told.append), storage)
    assert "rendered in their order" in told[0]
    for frame in (1, 2, 3):
        images = [moment(own, tmp_path / f"{frame} {shift}", frame, shift) for shift in MOMENTS]
        assert (samples(ours[f"frame_{frame}.png"]) == averaged(images)).all()
        povray(own, f"+SF{frame}", f"+EF{frame}")
        shutil.copy(ours[f"frame_{frame}.png"], own / f"own{frame}.png")


def test_files_that_only_a_moment_uses_are_found_and_count_for_its_frame(tmp_path: Path):
    write(
        tmp_path,
        '#fopen L "names.txt" read #read (L, Early, Late) #fclose L\n'
        "#if (mod(clock, 1) < 0.2) #include Early #else #include Late #end\n",
    )
    (tmp_path / "names.txt").write_text('"early.inc", "late.inc",', "utf-8")
    (tmp_path / "early.inc").write_text("", "utf-8")
    (tmp_path / "late.inc").write_text("", "utf-8")
    scene = blurred(tmp_path)
    assert {"scene/early.inc", "scene/late.inc"} <= scene.files.keys()
    assert {"scene/early.inc", "scene/late.inc"} <= scene.uses[2].read


def test_state_that_only_a_moment_reads_is_refused(tmp_path: Path):
    read, step = WALK.split("\n", 1)
    write(tmp_path, f"#if (mod(clock, 1) > 0.2)\n{read}\n#end\n{step}")
    with pytest.raises(InputError, match=r"frame 2 reads .*n\.txt.* at moment 2 of 2 and not at"):
        blurred(tmp_path)


def test_a_moment_that_cannot_be_parsed_is_told_before_it_is_rendered(tmp_path: Path):
    write(tmp_path, "#if (clock > 2.1) sphere { #end\n")
    told: list[str] = []
    blurred(tmp_path, always_trace=True, warn=told.append)
    (line,) = told
    assert line.startswith("frame 3 cannot be parsed: ")
