"""The animation that chaos runs render, and the pixels that POV-Ray itself gives it."""

from __future__ import annotations

import functools
import hashlib
import io
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from povstorm_client import Cluster, Job, RenderSettings, WorkUnit

# Each frame computes for about a third of a second, so that faults meet frames in every phase.
SCENE = """#version 3.7;
global_settings { assumed_gamma 1 }
#for (I, 1, 250000) #declare X = sqrt(I); #end
#include "shared/colour.inc"
camera { location -4*z look_at 0 }
light_source { <5, 8, -9> rgb 1 }
sphere { <sin(clock * 2 * pi), 0, 0>, 1 pigment { Colour } finish { phong 1 } }
"""
COLOUR = "#declare Colour = color rgb <clock, 0.4, 1 - clock>;\n"
SIZE = (64, 48)


def make_job(
    cluster: Cluster,
    name: str,
    frames: int,
    folder: Path,
    size: tuple[int, int] = SIZE,
    **options: object,
) -> Job:
    """The job; its scene file is called after it, by which its POV-Ray processes are known."""
    shared = folder / "shared"
    shared.mkdir(exist_ok=True)
    (shared / "colour.inc").write_text(COLOUR)
    job = Job(cluster, name, **options)
    job.add_shared_resources(shared)
    width, height = size
    settings = RenderSettings(scene=f"{name}.pov", width=width, height=height, final_frame=frames)
    for frame in range(1, frames + 1):
        unit = WorkUnit(settings, frame=frame)
        unit.add_inline_resource(f"{name}.pov", SCENE)
        job.add_work_unit(unit)
    return job


@functools.cache
def reference(frames: int, size: tuple[int, int] = SIZE) -> dict[int, str]:
    """Digests of the pixels of POV-Ray's own animation loop, by frame."""
    with tempfile.TemporaryDirectory(prefix="povstorm-reference-") as folder:
        images = render_reference(frames, Path(folder), size)
        return {frame: digest(image.read_bytes()) for frame, image in enumerate(images, 1)}


def render_reference(frames: int, folder: Path, size: tuple[int, int] = SIZE) -> list[Path]:
    """The images of POV-Ray's own animation loop, in an empty folder."""
    width, height = size
    (folder / "shared").mkdir()
    (folder / "shared" / "colour.inc").write_text(COLOUR)
    (folder / "scene.pov").write_text(SCENE)
    subprocess.run(
        [
            *("povray", "+Iscene.pov", "+Oframe.png", f"+W{width}", f"+H{height}", "-D", "+WT1"),
            *("+KFI1", f"+KFF{frames}", "+KI0", "+KF1"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return sorted(folder.glob("frame*.png"))


def digest(image: bytes) -> str:
    """Of the decoded pixels; OSError or SyntaxError for what is no whole image."""
    with Image.open(io.BytesIO(image)) as opened:
        opened.load()
        return hashlib.sha256(f"{opened.mode}{opened.size}".encode() + opened.tobytes()).hexdigest()
