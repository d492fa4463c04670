"""Frames that go on from images that earlier frames render are rendered in order, as POV-Ray does.

Each has the pixels of POV-Ray's own loop, which finds the images of earlier frames in its folder.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from povstorm_client import InputError
from povstorm_client.frames.developing import light_of
from povstorm_client.launch.trace_process import trace_scene
from povstorm_client.scene.load_scene import Scene, load_scene
from povstorm_client.storage.folder import FolderStorage
from tests.fidelity.compare import by_povstorm, differences

HEAD = "#version 3.7; global_settings { assumed_gamma 1 }\n#declare Level = 0;\n"
CAMERA = (
    "camera { orthographic location <0, 0, -5> look_at 0 right x * 4 up y * 3 }\n"
    "background { rgb <0.1, clock, 0.3> }\n"
)
# The image before, smaller and turned, beside something new.
FEEDBACK = (
    "#if (frame_number > {first})\n"
    'plane {{ z, 0 pigment {{ image_map {{ png concat("{name}", '
    'str(frame_number - {back}, -{digits}, 0), ".png") once }} translate -0.5 scale <3, 2, 1> '
    "rotate z * 20 }} finish {{ ambient 1 diffuse 0 }} }}\n#end\n"
    "sphere {{ <1.2 - clock, 0.6, -1>, 0.4 pigment {{ rgb <1, clock, 0> }} "
    "finish {{ ambient 1 diffuse 0 }} }}\n"
)
# What a pixel of the image before shows, and a file that is carried on with it.
COUNTED = (
    '#include "functions.inc"\n'
    '#if (file_exists("sum.txt")) #fopen F "sum.txt" read #read (F, Level) #fclose F #end\n'
    "#if (frame_number > 1)\n"
    '#declare Before = concat("own", str(frame_number - 1, -1, 0), ".png");\n'
    "#declare P = pigment { image_map { png Before } };\n"
    "#declare Level = Level + eval_pigment(P, <0.5, 0.5, 0>).green;\n#end\n"
    '#fopen F "sum.txt" write #write (F, Level + 0.05, ",") #fclose F\n'
    "plane { z, 1 pigment { rgb <0, mod(Level, 1), 0.5> } finish { ambient 1 diffuse 0 } }\n"
)
SIZE = ("+W32", "+H24")


def feedback(name: str = "own", *, back: int = 1, first: int = 1, digits: int = 1) -> str:
    return FEEDBACK.format(name=name, back=back, first=first + back - 1, digits=digits)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "Bühne 1"
    (folder / "frames").mkdir(parents=True)
    return folder


def write(home: Path, source: str) -> None:
    (home / "own.pov").write_text(f"{HEAD}{CAMERA}{source}", "utf-8")


def loaded(home: Path, *words: str, **options: object) -> Scene:
    return load_scene("own.pov", switches=words, cwd=home, tracer=trace_scene, **options)


def by_povray(home: Path, *words: str) -> dict[str, Path]:
    """POV-Ray's own loop, with its images where the words say; by povstorm's names for them."""
    there = set(home.rglob("*.png"))
    subprocess.run(
        ["povray", "own.pov", *words, "+WT1", "-D"],
        cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        check=True,
        capture_output=True,
    )
    made = set(home.rglob("*.png")) - there
    return {f"frame_{path.stem.lstrip('animow')}.png": path for path in made}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        pytest.param(feedback(), ("+KFF5",), id="the image before"),
        pytest.param(feedback(back=3), ("+KFF7",), id="the third before"),
        pytest.param(feedback(digits=2), ("+KFF10",), id="numbers of two digits"),
        pytest.param(feedback(first=4), ("+KFI4", "+KFF7"), id="a loop from frame 4"),
        pytest.param(
            feedback("frames/anim"), ("+KFF4", "+Oframes/anim.png"), id="images in a folder"
        ),
        pytest.param(
            feedback(first=3), ("+KFI1", "+KFF7", "+SF3", "+EF6"), id="a subset of the loop"
        ),
        pytest.param(COUNTED, ("+KFF5",), id="a file that depends on pixels"),
        pytest.param(
            '#if (file_exists("own2.png")) ' + feedback(first=3) + "#end\n",
            ("+KFF4",),
            id="asked for first",
        ),
    ],
)
def test_frames_that_read_earlier_images_have_the_pixels_of_povrays_own_loop(
    home: Path, storage: FolderStorage, source: str, words: tuple[str, ...]
):
    write(home, source)
    scene = loaded(home, *SIZE, *words)
    assert scene.links.keys() == set(scene.frames)
    ours = by_povstorm(scene, storage)
    theirs = by_povray(home, *SIZE, *words)
    assert len({path.read_bytes() for path in ours.values()}) == len(ours)
    assert differences(ours, theirs) == []


@pytest.mark.parametrize(("option", "kind"), [("+FE", "exr"), ("+FH", "hdr")])
def test_light_without_bounds_goes_on_from_frame_to_frame(
    home: Path, storage: FolderStorage, option: str, kind: str
):
    # It asks for the image's size, which what stands in for it while the scene is traced has too.
    write(
        home,
        '#include "functions.inc"\n#if (frame_number > 1)\n'
        f'#declare Before = concat("own", str(frame_number - 1, -1, 0), ".{kind}");\n'
        f"#declare P = pigment {{ image_map {{ {kind} Before }} }};\n"
        '#declare Size = max_extent(P);\n#if (Size.x != 32) #error "another size" #end\n'
        "#declare Level = eval_pigment(P, <0.5, 0.5, 0>).red;\n#end\n"
        "plane { z, 1 pigment { rgb 2 + Level } finish { ambient 1 diffuse 0 } }\n",
    )
    scene = loaded(home, *SIZE, "+KFF4", option)
    assert scene.links.keys() == {1, 2, 3, 4}
    ours = by_povstorm(scene, storage)
    subprocess.run(
        ["povray", "own.pov", *SIZE, "+KFF4", option, "+WT1", "-D"],
        cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        check=True,
        capture_output=True,
    )
    lights = [light_of((home / f"own{frame}.{kind}").read_bytes()) for frame in range(1, 5)]
    assert len(set(lights)) == 4
    assert [light_of(path.read_bytes()) for path in ours.values()] == lights


def test_why_frames_are_rendered_in_order_is_said_in_a_line(home: Path):
    write(home, feedback())
    (line,) = loaded(home, *SIZE, "+KFF4").warnings
    assert line.startswith(f"frame 2 reads {home / 'own1.png'}, which an earlier frame renders")


def test_an_image_is_kept_until_the_last_frame_that_reads_it(home: Path):
    write(home, feedback(back=2))
    links = loaded(home, *SIZE, "+KFF5").links
    assert {frame: link.keeps for frame, link in links.items()} == {
        1: ("scene/own1.png",),
        2: ("scene/own1.png", "scene/own2.png"),
        3: ("scene/own2.png", "scene/own3.png"),
        4: ("scene/own3.png",),
        5: (),
    }


def test_frames_by_themselves_have_no_links_where_no_image_of_theirs_is_there(home: Path):
    write(home, '#if (file_exists("own9.png")) #declare Level = 5; #end\n')
    assert loaded(home, *SIZE, "+KFF3").links == {}


@pytest.mark.parametrize("chosen", ["3", "1-5x2"])
def test_frames_that_others_go_on_from_have_to_be_rendered_too(home: Path, chosen: str):
    write(home, feedback())
    with pytest.raises(
        InputError, match=r"own1\.png, which an earlier frame renders.*render frame"
    ):
        loaded(home, *SIZE, "+KFF5", frames=chosen)


def test_the_first_frames_alone_can_be_chosen(home: Path, storage: FolderStorage):
    write(home, feedback())
    ours = by_povstorm(loaded(home, *SIZE, "+KFF5", frames="1-3"), storage)
    theirs = by_povray(home, *SIZE, "+KFF5")
    assert differences(ours, {name: theirs[name] for name in ours}) == []
