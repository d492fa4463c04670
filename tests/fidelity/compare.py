"""Render a scene with POV-Ray's own animation loop and with povstorm, and compare the pixels.

Tests of fidelity call it. povstorm renders as a flow does, through render_unit, without Prefect.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs import shared_resources
from povstorm_client.programs.sandbox_mode import SandboxMode
from povstorm_client.programs.tools import require_povray
from povstorm_client.scene.load_scene import Scene
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from render_image.render_unit import render_unit

_JOB = "j"
_OUT = "out"
SANDBOX: SandboxMode = "auto"


def pixels(path: Path) -> tuple[bytes, bytes]:
    """A PNG's header (size, bits, colours) and decompressed samples: what has to be equal.

    As POV-Ray writes them; Pillow would cut 16 bits a colour down to 8.
    """
    header, samples = b"", b""
    for kind, content in _chunks(path.read_bytes()):
        if kind == b"IHDR":
            header = content
        elif kind == b"IDAT":
            samples += content
    return header, zlib.decompress(samples)


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = len(b"\x89PNG\r\n\x1a\n")
    while place < len(png):
        length = int.from_bytes(png[place : place + 4], "big")
        yield png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        place += length + 12


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
    units: list[WorkUnit] = []
    for unit in scene.work_units():
        after = units[-1].work_unit_id if units and unit.link is not None else ""
        units.append(
            unit.assigned(
                job_id=_JOB,
                shared_prefix=staged,
                offload_prefix=layout.output(_JOB),
                after=after,
            )
        )

    async def render_all() -> None:
        povray = require_povray()
        if units[0].link is not None:
            for unit in units:
                await render_unit(unit, storage, povray, sandbox=SANDBOX)
            return
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
