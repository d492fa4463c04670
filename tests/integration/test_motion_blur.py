"""A motion-blurred frame is the average of POV-Ray's own images at its moments, in linear light."""

from __future__ import annotations

import asyncio
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from povstorm_client import InputError, RenderError, RenderSettings, WorkUnit
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.programs.tools import require_povray
from povstorm_client.scene_job import read_scene
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from render_image.render_unit import render_unit
from tests.fidelity.compare import pixels

# Light and shadow that move, below black and above white, and what the loop tells the scene.
SCENE = """#version 3.7; global_settings { assumed_gamma 1 }
camera { location <0, 1, -5> look_at 0 angle 50 }
light_source { <-5, 9, -6> 1.4 }
plane { y, -1 pigment { checker rgb 0.02, rgb 0.8 } }
sphere { <4 * clock - 2, 0, 0>, 0.8 pigment { rgb <1, clock_delta, frame_number / 5> } }
"""
LOOP = ("+W48", "+H32", "+KFF4", "+KI0", "+KF3")


def unit_of(source: str = SCENE, **settings: object) -> WorkUnit:
    made = RenderSettings(
        "own.pov",
        width=48,
        height=32,
        final_frame=4,
        final_clock=3.0,
        **({"motion_blur": 4} | settings),
    )
    unit = WorkUnit(made, frame=2)
    unit.add_inline_resource("own.pov", source)
    return unit


def assigned(unit: WorkUnit) -> WorkUnit:
    return unit.assigned(job_id="j", shared_prefix="", offload_prefix=layout.output("j"))


def render(unit: WorkUnit, storage: FolderStorage) -> Path:
    result = asyncio.run(render_unit(assigned(unit), storage, require_povray(), sandbox="auto"))
    return storage.path(f"{layout.output('j')}/{result.image}")


def linear(folder: Path, *words: str) -> np.ndarray:
    """POV-Ray's own frame 2 with linear values of 16 bits, as height x width x 3."""
    folder.mkdir()
    (folder / "own.pov").write_text(SCENE, "utf-8")
    subprocess.run(
        ["povray", "own.pov", *LOOP, "+SF2", "+EF2", "+WT1", "-D", "+FP16", "File_Gamma=1", *words],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        check=True,
        capture_output=True,
    )
    return np.frombuffer((folder / "own2.ppm").read_bytes()[-48 * 32 * 6 :], ">u2").astype(int)


def averaged(images: list[np.ndarray], most: int) -> np.ndarray:
    mean = (np.sum(images, axis=0) + len(images) // 2) // len(images) / 65535
    return np.round(
        np.where(mean <= 0.0031308, 12.92 * mean, 1.055 * mean ** (1 / 2.4) - 0.055) * most
    )


def samples(png: Path, kind: str) -> np.ndarray:
    rows = np.frombuffer(pixels(png)[1], np.uint8).reshape(32, -1)
    assert not rows[:, 0].any()
    return np.frombuffer(rows[:, 1:].tobytes(), kind)


@pytest.mark.parametrize(("bits", "kind", "most"), [(8, "u1", 255), (16, ">u2", 65535)])
@pytest.mark.parametrize("shutter", [180.0, 360.0])
def test_a_frame_is_the_average_of_povrays_own_images(
    tmp_path: Path, storage: FolderStorage, bits: int, kind: str, most: int, shutter: float
):
    png = render(unit_of(shutter=shutter, options=(f"+FN{bits}",)), storage)

    # Between two frames the clock goes on by 1.
    moments = [index / 4 * shutter / 360 for index in range(4)]
    theirs = [
        linear(tmp_path / str(moment), f"+KI{moment}", f"+KF{3 + moment}") for moment in moments
    ]
    assert (samples(png, kind) == averaged(theirs, most)).all()
    assert (theirs[0] != theirs[-1]).any()


def test_where_nothing_moves_it_is_povrays_own_image(tmp_path: Path, storage: FolderStorage):
    still = SCENE.replace("4 * clock - 2", "0.5")
    blurred = render(unit_of(still), storage)
    plain = replace(unit_of(still), settings=replace(unit_of(still).settings, motion_blur=0))
    own = render(plain, FolderStorage(tmp_path / "other"))
    from PIL import Image, ImageChops

    with Image.open(blurred) as one, Image.open(own) as other:
        most = max(high for _, high in ImageChops.difference(one, other).getextrema())
        assert one.info["gamma"] == other.info["gamma"]
    # POV-Ray rounds once, and here each sub-frame has 16 bits a colour.
    assert most <= 1


def test_the_same_frame_twice_is_the_same_file(tmp_path: Path, storage: FolderStorage):
    first = render(unit_of(), storage).read_bytes()
    assert render(unit_of(), FolderStorage(tmp_path / "other")).read_bytes() == first


def test_it_is_one_work_unit_with_what_all_its_sub_frames_took(storage: FolderStorage):
    unit = assigned(unit_of(motion_blur=3))
    result = asyncio.run(render_unit(unit, storage, require_povray(), sandbox="auto"))
    assert result.statistics is not None
    assert result.statistics.pixels == 48 * 32
    log = FrameResults(storage, "j").log(unit)
    assert log is not None
    assert log.count(b"Render Statistics") == 3


def test_a_sub_frame_that_fails_is_the_frames_failure(storage: FolderStorage):
    broken = unit_of(SCENE + "#if (clock > 1.3) sphere { #end\n")
    with pytest.raises(RenderError, match=r"frame 2: sub-frame 3 of 4: .*Parse Error"):
        render(broken, storage)
    stored = FrameResults(storage, "j").read(assigned(broken))
    assert stored is not None
    assert stored.state == "failed"
    assert stored.error.startswith("sub-frame 3 of 4: ")


def test_a_sub_frame_may_have_files_of_its_own(tmp_path: Path, storage: FolderStorage):
    source = '#include "own.inc"\nbackground { rgb Level }\n'
    head = "#version 3.7; global_settings { assumed_gamma 1 }\n"
    unit = unit_of(head + source, motion_blur=2)
    unit.add_inline_resource("own.inc", "#declare Level = 0;")
    unit.add_inline_resource("own.inc", "#declare Level = 1;", sub_frame=1)
    png = render(unit, storage)
    # Half of the light, in sRGB.
    assert set(samples(png, "u1").tolist()) == {188}
    again = WorkUnit.from_json(assigned(unit).to_json())
    assert again.content_digest() == assigned(unit).content_digest()
    other = unit_of(head + source, motion_blur=2)
    other.add_inline_resource("own.inc", "#declare Level = 0;")
    assert assigned(other).content_digest() != again.content_digest()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"motion_blur": 1}, "give 2 to 256"),
        ({"motion_blur": 257}, "give 2 to 256"),
        ({"shutter": 0.0}, "shutter is 0"),
        ({"shutter": 361.0}, "shutter is 361"),
        ({"final_frame": 1}, "a still has none"),
        ({"options": ("+UA",)}, r"\+UA cannot be together with motion blur"),
        ({"options": ("File_Gamma=1.0",)}, "File_Gamma=1.0 cannot be together"),
        ({"options": ("Grayscale_Output=on",)}, "Grayscale_Output=on cannot"),
    ],
)
def test_what_has_no_motion_blur_is_refused(settings: dict[str, object], reason: str):
    with pytest.raises(InputError, match=reason):
        RenderSettings("own.pov", **({"final_frame": 4, "motion_blur": 4} | settings))


def test_a_file_of_a_sub_frame_that_there_is_not_is_refused():
    with pytest.raises(InputError, match="sub_frame is 4: frame 2 has 4, from 0"):
        unit_of().add_inline_resource("a.inc", "", sub_frame=4)


def test_a_scene_is_blurred_by_two_options(tmp_path: Path):
    (tmp_path / "own.pov").write_text(SCENE, "utf-8")
    given = {"frames": None, "size": None, "preview": False, "include": None, "threads": None}
    scene = read_scene(
        "own.pov", switches=[*LOOP], warn=pytest.fail, cwd=tmp_path, motion_blur=8, **given
    )
    assert {unit.settings.motion_blur for unit in scene.work_units()} == {8}
