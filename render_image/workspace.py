"""A frame's workspace: a temporary folder with ``./shared``, ``./output`` and inline resources.

Made by render_unit for each attempt; POV-Ray runs with it as its current directory.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from povstorm_client.storage import Storage
from povstorm_client.work_unit import WorkUnit


@dataclass(frozen=True)
class Workspace:
    """The folders and files of one attempt; log and home lie outside of what the scene sees."""

    folder: Path
    output: Path
    log: Path
    home: Path


@contextmanager
def make_workspace(unit: WorkUnit, storage: Storage) -> Iterator[Workspace]:
    """A workspace that is gone, with all that is in it, when the block ends."""
    root = Path(tempfile.mkdtemp(prefix=f"povstorm-{unit.name}-"))
    try:
        folder = root / "workspace"
        workspace = Workspace(folder, folder / "output", root / "povray.txt", root / "home")
        workspace.home.mkdir()
        workspace.output.mkdir(parents=True)
        if unit.shared_resource_gcs_prefix:
            storage.mount(unit.shared_resource_gcs_prefix, folder / "shared", keep=True)
        for path, content in unit.inline_files().items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        yield workspace
    finally:
        shutil.rmtree(root)
