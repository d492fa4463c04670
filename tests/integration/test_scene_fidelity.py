"""A frame has the pixels that POV-Ray's own animation loop gives it, with zero scene changes."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from povstorm_client import WorkUnit, layout, shared_resources
from povstorm_client.scene.scene import Scene, load_scene
from povstorm_client.storage import FolderStorage
from povstorm_client.tools import require_povray
from render_image.render_unit import render_unit

ANIMATIONS = Path("/usr/share/doc/povray/examples/animations")
SIZE = ("+W80", "+H60")


def pixels(path: Path) -> tuple[str, tuple[int, int], bytes]:
    with Image.open(path) as image:
        return image.mode, image.size, image.tobytes()


def by_povray(folder: Path, *words: str) -> None:
    """Run POV-Ray itself, as a user would, in the scene's folder."""
    (folder / "out").mkdir()
    subprocess.run(
        ["povray", *words, "+WT1", "-D", "+Oout/frame_.png"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        check=True,
        capture_output=True,
    )


def by_povstorm(scene: Scene, storage: FolderStorage) -> dict[str, Path]:
    """Render all frames; returns image name → image."""
    staged = shared_resources.stage(storage, shared_resources.upload_missing(storage, scene.files))
    units = [
        WorkUnit(scene.settings, frame=frame).assigned(
            job_id="j", shared_prefix=staged, offload_prefix=layout.output("j")
        )
        for frame in scene.frames
    ]

    async def render_all() -> None:
        povray = require_povray()
        await asyncio.gather(*(render_unit(unit, storage, povray) for unit in units))

    asyncio.run(render_all())
    return {
        unit.image_name: storage.path(f"{layout.output('j')}/{unit.image_name}") for unit in units
    }


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
