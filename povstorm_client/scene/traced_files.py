"""What running a scene has shown of its files, added to what reading it has; for load_scene."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from povstorm_client.scene.discover import SceneFiles
from povstorm_client.scene.search import Hit, SearchPath
from povstorm_client.scene.trace import Trace


def with_traced(needed: SceneFiles, trace: Trace, search: SearchPath) -> SceneFiles:
    """The files, with those that frames were seen to read, and the folders of what they leave."""
    left = {file for files in trace.state.values() for file in files}
    hits = [hit for file in trace.read if (hit := _hit(file, search)) is not None]
    return replace(
        needed,
        found=needed.found | trace.read,
        used_roots=needed.used_roots | {hit.root for hit in hits},
        hiding=needed.hiding | {hit.name: hit.path for hit in hits if search.hides_installed(hit)},
        folders=needed.folders | {file.parent for file in left},
        computed=[],
        guesses=[],
        maybe_missing=[],
    )


def _hit(file: Path, search: SearchPath) -> Hit | None:
    """The file as POV-Ray finds it in the first of its folders that it is below; None elsewhere."""
    for root in search.own:
        if file.is_relative_to(root):
            return Hit(file, root, file.relative_to(root).as_posix())
    return None
