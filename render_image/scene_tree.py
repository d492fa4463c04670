"""A scene's own tree in a frame's workspace, as it is at its user's home.

workspace.py lays it out where the frame's settings name a folder of the scene. Files are links to
the shared resources, since there may be thousands and large ones, and each frame has a tree of its
own; those that the scene may write to are copies.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from povstorm_client.errors import RecordError, StorageError
from povstorm_client.frames.render_settings import RenderSettings
from povstorm_client.paths import SCENE_FOLDER


@dataclass(frozen=True)
class LaidOut:
    """How much of a workspace was there before POV-Ray: files, links and folders; bytes."""

    files: int = 0
    size: int = 0


def lay_out_scene_tree(settings: RenderSettings, shared: Path | None, workspace: Path) -> LaidOut:
    """Make the tree below ``workspace``, whose ``./shared`` will lead to ``shared``.

    shared: None if no file of the scene's is among the shared resources.

    A writable folder ``output`` in POV-Ray's current one that the scene has no files in is the
    job's own, so that what the scene writes there is kept. Raises StorageError if the shared
    resources cannot be read, RecordError if a writable folder is a file.
    """
    try:
        return _lay_out(settings, shared, workspace)
    except (FileExistsError, NotADirectoryError) as error:
        raise RecordError(
            f"{error.filename} is a file of the scene's and a folder that it writes to: submit the "
            "scene again"
        ) from error


def _lay_out(settings: RenderSettings, shared: Path | None, workspace: Path) -> LaidOut:
    writable = set(settings.writable)
    files = size = 0
    if shared is not None:
        # Thousands of files, in each frame: paths are texts here, which is three times as fast.
        for folder, _, names in os.walk(shared / SCENE_FOLDER, onerror=_raise):
            below = os.path.relpath(folder, shared)
            (workspace / below).mkdir(parents=True)
            up = "../" * (below.count("/") + 1)
            files += 1 + len(names)
            for name in names:
                path = f"{below}/{name}"
                target = f"{workspace}/{path}"
                if path in writable:
                    # A link stays one: what it leads to may not be the job's.
                    shutil.copyfile(f"{shared}/{path}", target, follow_symlinks=False)
                    size += os.lstat(target).st_size
                else:
                    os.symlink(f"{up}shared/{path}", target)  # noqa: PTH211
    current = workspace / settings.folder
    current.mkdir(parents=True, exist_ok=True)
    for made in sorted(workspace / each for each in writable):
        if made == current / "output" and not made.exists():
            up = "../" * len(Path(settings.folder).parts)
            made.symlink_to(f"{up}output", target_is_directory=True)
        elif not made.exists():
            made.mkdir(parents=True)
            files += len(made.relative_to(workspace).parts)
    return LaidOut(files, size)


def _raise(error: OSError) -> None:
    raise StorageError(f"the shared resources cannot be read: {error.strerror}") from error
