"""Render a scene with POV-Ray's own animation loop and with povstorm, and compare the pixels.

Tests of fidelity call it. povstorm renders as a flow does, through render_unit, without Prefect.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from povstorm_client import WorkUnit, layout, shared_resources
from povstorm_client.sandbox_mode import SandboxMode
from povstorm_client.scene.scene import Scene
from povstorm_client.storage import FolderStorage
from povstorm_client.tools import require_povray
from render_image.render_unit import render_unit

_JOB = "j"
_OUT = "out"
SANDBOX: SandboxMode = "auto"


def pixels(path: Path) -> tuple[str, tuple[int, int], bytes]:
    """An image's mode, size and decoded pixels: what has to be equal."""
    with Image.open(path) as image:
        return image.mode, image.size, image.tobytes()


def by_povray(folder: Path, *words: str, timeout: float | None = None) -> dict[str, Path]:
    """Run POV-Ray itself, as a user would, in the scene's folder; image name → image.

    A still's image has the name that povstorm gives it. Raises CalledProcessError if POV-Ray
    fails, and TimeoutExpired after so many seconds.
    """
    out = folder / _OUT
    out.mkdir()
    subprocess.run(
        ["povray", *words, "+WT1", "-D", f"+O{_OUT}/frame_.png"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        check=True,
        capture_output=True,
        timeout=timeout,
    )
    images = {path.name: path for path in out.iterdir()}
    if "frame_.png" in images:
        images["frame_1.png"] = images.pop("frame_.png")
    return images


def by_povstorm(scene: Scene, storage: FolderStorage) -> dict[str, Path]:
    """Render all frames of a scene; image name → image."""
    staged = shared_resources.stage(storage, shared_resources.upload_missing(storage, scene.files))
    units = [
        WorkUnit(scene.settings, frame=frame).assigned(
            job_id=_JOB, shared_prefix=staged, offload_prefix=layout.output(_JOB)
        )
        for frame in scene.frames
    ]

    async def render_all() -> None:
        povray = require_povray()
        await asyncio.gather(
            *(render_unit(unit, storage, povray, sandbox=SANDBOX) for unit in units)
        )

    asyncio.run(render_all())
    return {
        unit.image_name: storage.path(f"{layout.output(_JOB)}/{unit.image_name}") for unit in units
    }


def differences(ours: dict[str, Path], theirs: dict[str, Path]) -> list[str]:
    """What is not equal: names that only one has, and images whose pixels differ."""
    told = [f"only POV-Ray has {name}" for name in sorted(theirs.keys() - ours.keys())]
    told += [f"only povstorm has {name}" for name in sorted(ours.keys() - theirs.keys())]
    for name in sorted(ours.keys() & theirs.keys()):
        if pixels(ours[name]) != pixels(theirs[name]):
            told.append(f"{name} has other pixels")
    return told


def compare(folder: Path, scene: Scene, words: Sequence[str], storage: FolderStorage) -> list[str]:
    """Render a scene both ways, POV-Ray with the words given; what differs, nothing if equal."""
    return differences(by_povstorm(scene, storage), by_povray(folder, *words))
