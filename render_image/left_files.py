"""What a frame of a chain leaves to the next: files that it wrote, images that are read later.

render_unit stores it before the frame's result; workspace.py lays it out in the next frame's.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from povstorm_client.errors import InputError, RenderError
from povstorm_client.frames.chain_link import ChainLink
from povstorm_client.frames.render_settings import IMAGE_ENDINGS
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.paths import SCENE_FOLDER, check_inline_path
from render_image.untrusted_files import open_folder, walk
from render_image.workspace import Workspace

# It is stored for each frame, and laid into the workspace of the next.
MAX_LEFT_BYTES = 256 << 20


def left_files(
    unit: WorkUnit, link: ChainLink, workspace: Workspace, outputs: Mapping[str, Path], image: Path
) -> dict[str, bytes]:
    """Path in the workspace → content, of what the frame leaves.

    outputs: what it wrote to ./output, by name, beside its image. Links lead to what all frames
    share, and are not left. Raises RenderError for more than can be left.
    """
    found = _files_of_the_scene(workspace)
    own_output = _own_output(unit)
    if own_output in unit.settings.writable:
        found |= {f"{own_output}/{name}": path.read_bytes() for name, path in outputs.items()}
    number = unit.image_name.removeprefix(f"frame_{unit.settings.variant}")
    if (own := f"{link.images}{number}") in link.keeps:
        found[own] = image.read_bytes()
    left = {
        path: data
        for path, data in found.items()
        if path in link.keeps or not _is_image(path, link.images)
    }
    total = sum(map(len, left.values()))
    if total > MAX_LEFT_BYTES:
        raise RenderError(
            f"the frame leaves {total:,} bytes to the next one, more than {MAX_LEFT_BYTES:,}: have "
            "the scene write less, or render it with POV-Ray's own loop",
            retryable=False,
        )
    return left


def without_earlier_images(
    unit: WorkUnit, link: ChainLink, outputs: Mapping[str, Path]
) -> dict[str, Path]:
    """What the frame wrote to ./output itself: earlier images may have been laid into it."""
    return {
        name: path
        for name, path in outputs.items()
        if not _is_image(f"{_own_output(unit)}/{name}", link.images)
    }


def _own_output(unit: WorkUnit) -> str:
    """The scene's own folder output, which is ./output if the scene may write there."""
    return f"{unit.settings.folder}/output"


def _is_image(path: str, images: str) -> bool:
    number, dot, ending = path.removeprefix(images).partition(".")
    is_named_so = path == f"{images}{number}.{ending}" and dot + ending in IMAGE_ENDINGS
    return is_named_so and number.isascii() and number.isdecimal()


def _files_of_the_scene(workspace: Workspace) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    size = 0
    with (
        open_folder(workspace.folder / SCENE_FOLDER) as scene,
        closing(walk(scene)) as entries,
    ):
        for entry in entries:
            if not stat.S_ISREG(entry.found.st_mode):
                continue
            path = f"{SCENE_FOLDER}/{entry.path}"
            try:
                check_inline_path(path)
            except InputError as error:
                raise RenderError(f"the frame left a file: {error}", retryable=False) from error
            size += entry.found.st_size
            if entry.found.st_nlink != 1 or size > MAX_LEFT_BYTES:
                raise RenderError(
                    f"the frame left {path}, which is a file with several names, or too large for "
                    f"the {MAX_LEFT_BYTES:,} bytes that it can leave to the next",
                    retryable=False,
                )
            descriptor = os.open(entry.name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=entry.parent)
            with os.fdopen(descriptor, "rb") as file:
                found[path] = file.read(MAX_LEFT_BYTES)
    return found
