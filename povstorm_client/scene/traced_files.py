"""What running a scene has shown of its files, added to what reading it has; for load_scene."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from povstorm_client.frames.shared_use import SharedUse
from povstorm_client.scene.discover import SceneFiles
from povstorm_client.scene.search import Hit, SearchPath
from povstorm_client.scene.trace import FrameUse, Trace
from povstorm_client.scene.tree import SceneTree


def with_traced(needed: SceneFiles, trace: Trace, search: SearchPath) -> SceneFiles:
    """The files, with those that frames were seen to read, and the folders of what they leave."""
    left = {file for files in trace.state.values() for file in files}
    left |= {image for images in trace.images.values() for image in images}
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


def shared_uses(trace: Trace, tree: SceneTree, roots: tuple[Path, ...]) -> dict[int, SharedUse]:
    """Frame → what it uses of the tree's files; roots: where POV-Ray looks for a scene's own."""
    places = {path: place for path in roots if (place := tree.places.get(path)) is not None}
    # Frames that use the same share it.
    known: dict[FrameUse, SharedUse] = {}
    for use in set(trace.uses.values()):
        missing = (_missing(path, places, roots[0]) for path in use.missing)
        known[use] = SharedUse(
            frozenset(tree.places[file] for file in use.read), frozenset(filter(None, missing))
        )
    return {frame: known[use] for frame, use in trace.uses.items()}


def _missing(path: Path, roots: Mapping[Path, str], base: Path) -> str:
    """What is not there, by its place in the workspace; "" where nothing can ever be there."""
    for root, place in roots.items():
        if path.is_relative_to(root):
            return f"{place}/{path.relative_to(root).as_posix()}"
    beside = os.path.relpath(path, base)
    return beside if beside.startswith("..") else ""
