"""A frame's workspace: a folder with ``./shared``, ``./output`` and inline resources.

POV-Ray runs with it, or a folder in it, as its current directory. render_unit makes a temporary
one for each attempt, open_frame one that stays.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.jobs.shared_resources import check_tree
from povstorm_client.paths import SCENE_FOLDER
from povstorm_client.storage.disk_full import make_temporary_folder
from povstorm_client.storage.protocol import Storage
from render_image.scene_tree import LaidOut, lay_out_scene_tree
from render_image.untrusted_files import remove_tree


@dataclass(frozen=True)
class Workspace:
    """The folders and files of one attempt.

    folder: the workspace, with output in it. shared: where the shared resources really are, None
    if the frame has none. home: POV-Ray's HOME; temporary: its TMPDIR; current: its current
    directory, in the workspace.
    log: POV-Ray's output, out of the scene's reach. laid_out: what of the scene's is in it.
    """

    folder: Path
    output: Path
    shared: Path | None
    home: Path
    temporary: Path
    log: Path
    current: Path
    laid_out: LaidOut


@contextmanager
def make_workspace(
    unit: WorkUnit, storage: Storage, *, link_shared: bool = True
) -> Iterator[Workspace]:
    """A workspace that is gone, with all that is in it, when the block ends.

    link_shared: whether ``./shared`` leads to the shared resources; otherwise it is an empty
    folder, for a sandbox to lay them over.
    """
    root = make_temporary_folder(f"povstorm-{unit.name}-")
    prefix = unit.shared_resource_gcs_prefix
    try:
        yield lay_out_workspace(
            unit,
            root,
            partial(_mount_shared, storage, prefix, exposed=link_shared) if prefix else None,
            link_shared=link_shared,
            left=FrameResults(storage, unit.job_id).left_to(unit),
        )
    finally:
        _remove(root)


def _remove(root: Path) -> None:
    try:
        remove_tree(root)
    except OSError as error:
        # The frame has its end already, whatever a scene has made of this folder.
        logging.getLogger(__name__).warning("%s is left, remove it by hand: %s", root, error)


def _mount_shared(storage: Storage, prefix: str, folder: Path, *, exposed: bool) -> None:
    """Make the shared resources readable; what has to be fetched for it is compared, once.

    exposed: no sandbox keeps POV-Ray from writing to them. Copies then lie beside the workspace,
    where they do not count as what the frame wrote.
    """
    digest = prefix.rpartition("/")[2]
    place = folder.parent.parent / "shared" if exposed else folder
    storage.mount(
        prefix,
        place,
        keep=True,
        exposed=exposed,
        check=lambda tree: check_tree(tree, digest),
    )
    if exposed:
        folder.symlink_to("../shared", target_is_directory=True)


def lay_out_workspace(
    unit: WorkUnit,
    root: Path,
    mount_shared: Callable[[Path], None] | None,
    *,
    link_shared: bool = True,
    left: Mapping[str, bytes] = MappingProxyType({}),
) -> Workspace:
    """The folders and files below ``root``, an existing folder.

    mount_shared: makes the shared resources readable below the path that it is given; None if the
    frame has none. link_shared: as in make_workspace. left: what the frame before leaves to this
    one, by paths in the workspace.
    """
    folder = root / "workspace"
    output = folder / "output"
    for made in (output, root / "home", root / "tmp"):
        made.mkdir(parents=True)
    shared = None
    if mount_shared is not None:
        mounted = (folder if link_shared else root) / "shared"
        mount_shared(mounted)
        shared = mounted.resolve()
        if not link_shared:
            (folder / "shared").mkdir()
    laid_out = LaidOut()
    if unit.settings.folder:
        tree = shared
        if unit.settings.scene in unit.inline_resource and shared is not None:
            # Of a scene that is all in one file, which is the frame's own, nothing is shared.
            tree = shared if (shared / SCENE_FOLDER).exists() else None
        laid_out = lay_out_scene_tree(unit.settings, tree, folder)
    for path, content in (*unit.inline_files().items(), *left.items()):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        # Never through a link, which would lead to the shared resources.
        target.unlink(missing_ok=True)
        target.write_bytes(content)
    return Workspace(
        folder,
        output,
        shared,
        home=root / "home",
        temporary=root / "tmp",
        log=root / "povray.txt",
        current=folder / unit.settings.folder,
        laid_out=laid_out,
    )
