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
from povstorm_client.paths import SCENE_FOLDER
from povstorm_client.render_settings import RenderSettings


@dataclass(frozen=True)
class LaidOut:
    """How much of a workspace was there before POV-Ray: files, links and folders; bytes."""

    files: int = 0
    size: int = 0


def lay_out_scene_tree(settings: RenderSettings, shared: Path | None, workspace: Path) -> LaidOut:
    """Make the tree below ``workspace``, whose ``./shared`` will lead to ``shared``.

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
    writable = {workspace / path for path in settings.writable}
    files = size = 0
    tree = workspace / SCENE_FOLDER
    source = None if shared is None else shared / SCENE_FOLDER
    if source is not None:
        for folder, _, names in os.walk(source, onerror=_raise):
            target = tree / Path(folder).relative_to(source)
            target.mkdir(parents=True, exist_ok=True)
            files += 1
            up = "../" * len(target.relative_to(workspace).parts)
            for name in names:
                files += 1
                if target / name in writable:
                    # A link stays one: what it leads to may not be the job's.
                    shutil.copyfile(Path(folder, name), target / name, follow_symlinks=False)
                    size += (target / name).lstat().st_size
                else:
                    below = Path(folder, name).relative_to(source)
                    (target / name).symlink_to(f"{up}shared/{SCENE_FOLDER}/{below}")
    current = workspace / settings.folder
    current.mkdir(parents=True, exist_ok=True)
    for path in sorted(writable):
        if path == current / "output" and not path.exists():
            up = "../" * len(Path(settings.folder).parts)
            path.symlink_to(f"{up}output", target_is_directory=True)
        elif not path.exists():
            path.mkdir(parents=True)
            files += len(path.relative_to(workspace).parts)
    return LaidOut(files, size)


def _raise(error: OSError) -> None:
    raise StorageError(f"the shared resources cannot be read: {error.strerror}") from error
