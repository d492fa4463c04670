"""Files that one frame of an animation leaves to the next, which frames by themselves cannot have.

load_scene asks before anything is rendered: each frame has a workspace of its own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from povstorm_client.scene.accesses import Access, Place
from povstorm_client.scene.names import NUMBER, can_be_same, has_text_gap, is_any, is_known
from povstorm_client.scene.search import SearchPath, candidates, normal


@dataclass(frozen=True)
class Carried:
    """A read that can meet what an earlier frame has written; written is None for its image."""

    read: Access
    written: Access | None

    def __str__(self) -> str:
        if self.written is None:
            return f"{self.read.place}, which is named as POV-Ray's own images of the loop"
        return f"{self.read.place}, written at {self.written.place}"


def carried_files(
    scene: Path, accesses: list[Access], search: SearchPath, images: Path | None, ending: str
) -> tuple[list[Carried], list[Carried]]:
    """What is carried from frame to frame; and what might be, as nothing of a name is known.

    scene: its file, which every frame reads. accesses: in the order of a frame. images: POV-Ray's
    images of the loop, without their numbers and this ending; None if it writes none that a scene
    could read.
    """
    base = search.roots[0]
    itself = Access("read", "pov", frozenset({str(scene)}), Place(scene, 1, scene.name))
    accesses = [itself, *accesses]
    targets = [
        (access, _written_paths(access, base))
        for access in accesses
        if access.mode in ("write", "append")
    ]
    certain: list[Carried] = []
    possible: list[Carried] = []
    if not targets and images is None:
        return certain, possible
    for index, read in enumerate(accesses):
        if read.mode == "write":
            continue
        reached = [_paths(name, read.kind, search) for name in read.names]
        for name, paths in zip(read.names, reached, strict=True):
            for written, others in targets:
                if written is read or (read is itself and any(map(is_any, written.names))):
                    continue
                if _meet(paths, others) and not _is_new(name, read, accesses[:index]):
                    vague = is_any(name) or any(map(is_any, written.names))
                    (possible if vague else certain).append(Carried(read, written))
                    break
            if (
                images
                and not has_text_gap(name)
                and any(is_image(path, images, ending) for path in paths)
            ):
                certain.append(Carried(read, None))
    return certain, possible


def _paths(name: str, kind: str, search: SearchPath) -> set[str]:
    named = {root / candidate for candidate in candidates(name, kind) for root in search.own}
    return _by_any_way(named)


def _written_paths(written: Access, base: Path) -> set[str]:
    return _by_any_way({base / name for name in written.names})


def _by_any_way(paths: set[Path]) -> set[str]:
    """The paths as they are named, and where links lead to."""
    named = {str(normal(path)) for path in paths}
    return named | {os.path.realpath(path) for path in named if "\0" not in path}


def _meet(paths: set[str], others: set[str]) -> bool:
    return any(can_be_same(path, other) for path in paths for other in others)


def _is_new(name: str, read: Access, before: list[Access]) -> bool:
    """Whether each frame certainly writes the file anew before it reads it."""
    for written in before:
        if written.mode != "write" or read.blocks[: len(written.blocks)] != written.blocks:
            continue
        if len(written.names) != 1:
            continue
        if is_known(name):
            if written.names == {name}:
                return True
        elif (
            read.is_constant
            and written.is_constant
            and written.names == {name}
            and written.place.text == read.place.text
        ):
            return True
    return False


def is_image(path: str | Path, images: Path, ending: str) -> bool:
    """Whether a path is one of POV-Ray's images, which are named so without number and ending."""
    return can_be_same(str(path), f"{images}{NUMBER}{ending}")
