"""A frame has the pixels that POV-Ray's own animation loop gives it, with zero scene changes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from povstorm_client import WorkUnit
from povstorm_client.scene.ini import PovraySettings, read_ini
from povstorm_client.scene.load_scene import load_scene
from povstorm_client.storage.folder import FolderStorage
from tests.fidelity.compare import by_povray, by_povstorm, pixels

ANIMATIONS = Path("/usr/share/doc/povray/examples/animations")
SIZE = ("+W80", "+H60")


@pytest.mark.parametrize(
    ("name", "subset"),
    [
        ("camera2", (1, 6)),
        ("clockd", (1, 6)),
        ("raddem", (28, 30)),
        ("splinefollow", (9, 12)),
        ("quilted", (1, 10)),
    ],
)
def test_an_animation_has_the_pixels_of_povrays_own_loop(
    tmp_path: Path, storage: FolderStorage, name: str, subset: tuple[int, int]
):
    folder = tmp_path / name
    shutil.copytree(ANIMATIONS / name, folder)
    [ini] = folder.glob("*.ini")
    words = (*SIZE, f"+SF{subset[0]}", f"+EF{subset[1]}")
    by_povray(folder, ini.name, *words)
    ours = by_povstorm(load_scene(ini, switches=words), storage)
    theirs = {path.name: path for path in (folder / "out").iterdir()}
    assert sorted(ours) == sorted(theirs)
    for image, path in ours.items():
        assert pixels(path) == pixels(theirs[image]), image


def test_a_scene_with_all_kinds_of_files_has_povrays_pixels(tmp_path: Path, storage: FolderStorage):
    scene = tmp_path / "scene"
    (scene / "my parts").mkdir(parents=True)
    (tmp_path / "textures").mkdir()
    Image.linear_gradient("L").save(tmp_path / "textures" / "ramp.png")
    Image.radial_gradient("L").resize((32, 32)).save(scene / "hill.png")
    (scene / "my parts" / "a.inc").write_text('#include "b.inc"\n')
    (scene / "my parts" / "b.inc").write_text('#declare Map = "../textures/ramp.png";\n')
    (scene / "all.pov").write_text(
        """#version 3.7; global_settings { assumed_gamma 1 }
        #include "colors.inc"
        #include "a.inc"
        camera { location <0, 3, -5> look_at 0 } light_source { <5, 9, -5> White }
        height_field { png "hill.png" smooth translate -0.5 scale <6, 1, 6>
          pigment { image_map { png Map } rotate x * 90 scale 6 } }
        text { ttf "cyrvetic.ttf" str(frame_number, 0, 0) 0.2, 0 pigment { Red } translate y }
        """
    )
    (scene / "all.ini").write_text(
        'Input_File_Name=all.pov\nLibrary_Path="my parts"\nFinal_Frame=12\nAntialias=on\n'
        "[small]\nWidth=64\nHeight=48\n+SF9 +EF10\n"
    )
    by_povray(scene, "all.ini[small]")
    ours = by_povstorm(load_scene("all.ini[small]", cwd=scene), storage)
    assert sorted(ours) == ["frame_09.png", "frame_10.png"]
    for image, path in ours.items():
        assert pixels(path) == pixels(scene / "out" / image), image


def test_a_still_has_povrays_pixels_and_its_clock(tmp_path: Path, storage: FolderStorage):
    scene = tmp_path / "still.pov"
    scene.write_text(
        "#version 3.7; camera { location -4*z look_at 0 } background { rgb clock }\n"
        "sphere { 0, 1 pigment { rgb x } finish { emission 1 } }\n"
    )
    words = (*SIZE, "+K0.25", "+UA", "+A0.1")
    by_povray(tmp_path, "still.pov", *words)
    ours = by_povstorm(load_scene(scene, switches=words), storage)
    assert pixels(ours["frame_1.png"]) == pixels(tmp_path / "out" / "frame_.png")


def test_an_own_file_of_a_standard_ones_name_wins_in_every_frame(
    tmp_path: Path, storage: FolderStorage
):
    (tmp_path / "colors.inc").write_text("#declare White = rgb <1, 0.2, 0.1>;\n")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "math.inc").write_text("#error POV-Ray looks here after its own folders")
    scene = tmp_path / "own.pov"
    scene.write_text(
        "#version 3.7; global_settings { assumed_gamma 1 }\n"
        '#include "colors.inc"\n#include "math.inc"\n'
        "background { White * (1 + frame_number) / 4 }\n"
    )
    words = (*SIZE, "+KFF2", "+Llib")
    by_povray(tmp_path, "own.pov", *words)
    ours = by_povstorm(load_scene("own.pov", switches=words, cwd=tmp_path), storage)
    for image, path in ours.items():
        assert pixels(path) == pixels(tmp_path / "out" / image), image


def test_sixteen_bits_grey_levels_and_a_header_are_kept(tmp_path: Path, storage: FolderStorage):
    (tmp_path / "head.inc").write_text("#declare Level = 0.3;\n")
    scene = tmp_path / "grey.pov"
    scene.write_text("#version 3.7; global_settings { assumed_gamma 1 } background { rgb Level }\n")
    words = (*SIZE, "+KFF2", "+FN16", "Grayscale_Output=on", "+HIhead")
    by_povray(tmp_path, "grey.pov", *words)
    ours = by_povstorm(load_scene("grey.pov", switches=words, cwd=tmp_path), storage)
    for image, path in ours.items():
        assert pixels(path) == pixels(tmp_path / "out" / image), image


@pytest.mark.parametrize(
    "words", [("+KFI5", "+KFF14", "+SF0.5", "+EF0.6"), ("+KFF5", "+STP2"), ("+KFF9", "+KC", "+SF8")]
)
def test_the_frames_are_those_that_povray_would_render(tmp_path: Path, words: tuple[str, ...]):
    (tmp_path / "empty.pov").write_text("#version 3.7; global_settings { assumed_gamma 1 }\n")
    by_povray(tmp_path, "empty.pov", "+W8", "+H8", *words)
    scene = load_scene("empty.pov", switches=("+W8", "+H8", *words), cwd=tmp_path)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        WorkUnit(scene.settings, frame=frame).image_name for frame in scene.frames
    ]


OPTIONS = """+kf2.5 +KI-1 +kff20 -KC -W64 Height=48
Antialias=yes # a comment
Jitter_Amount = 0.5 ; another
+SF3 -Q7 +R2 +AM2 Declare=Speed=2
Initial_Frame=2.9
"scene.pov" +UA -MB7
Subset_End_Frame = '4'
[Big One]
Width=99
[  x ]
Height=7
"""


def test_an_ini_means_what_povray_says_that_it_means(tmp_path: Path):
    """POV-Ray writes all that it has read with Create_Ini."""
    (tmp_path / "scene.pov").write_text("#version 3.7;\nglobal_settings { assumed_gamma 1 }\n")
    (tmp_path / "anim.ini").write_text(OPTIONS)
    told = subprocess.run(
        ["povray", "anim.ini", "-D", "-F", "+GItold.ini"],
        cwd=tmp_path, env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]}, check=True,
        capture_output=True,
    )  # fmt: skip
    assert told.returncode == 0
    ours, theirs = PovraySettings(), PovraySettings()
    read_ini(ours, tmp_path / "anim.ini")
    read_ini(theirs, tmp_path / "told.ini")
    assert {key: ours.integer(key) for key in ("initial_frame", "final_frame")} == {
        key: theirs.integer(key) for key in ("initial_frame", "final_frame")
    }
    assert ours.numbers | {"initial_frame": 2} == theirs.numbers
    assert ours.switched == theirs.switched
    assert ours.values == theirs.values
    assert ours.options == {key: theirs.options[key] for key in ours.options}
