"""Where a scene's own files lie in a frame's workspace: in the same places to each other as here.

load_scene lays out with this. The scene's tree is ``scene`` in the shared resources, and again in
the workspace, where POV-Ray's current folder is one of its folders.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from povstorm_client.errors import InputError
from povstorm_client.paths import SCENE_FOLDER
from povstorm_client.plain_files import check_plain
from povstorm_client.scene.accesses import Access, Place
from povstorm_client.scene.ascii_names import ascii_path
from povstorm_client.scene.discover import SceneFiles
from povstorm_client.scene.names import can_be_same, is_known, known_folder, shown
from povstorm_client.scene.own_files import TooMuchError, folders_below
from povstorm_client.scene.search import SearchPath, normal

_OUTPUT = "output"
# Settings, passwords, processes, devices.
_OF_THE_MACHINE = tuple(map(Path, ("/etc", "/proc", "/sys", "/dev")))
# In a home: where POV-Ray looks for its user's settings.
_POVRAYS_OWN = {".povray"}


@dataclass(frozen=True)
class SceneTree:
    """A scene's files and folders, by their paths in the workspace.

    files: path below ``./shared`` → local file. folder: POV-Ray's current one. writable: files
    and folders that the scene may write to, or asks for. scene: the scene file. places: each file
    and folder here → its path in the workspace.
    """

    files: dict[str, Path]
    scene: str
    folder: str
    library_paths: tuple[str, ...]
    writable: tuple[str, ...]
    places: Mapping[Path, str] = field(default_factory=dict)

    def place_of(self, file: Path) -> str:
        """Where a file lies in the workspace, that is in one of the tree's folders or will be."""
        if file in self.places:
            return self.places[file]
        return f"{self.places[file.parent]}/{ascii_path(file.name)}"


def lay_out(
    scene: Path, needed: SceneFiles, search: SearchPath, extra: Mapping[Path, Path]
) -> SceneTree:
    """The tree; raises InputError for a folder that is written to and is not there.

    Also for a pipe in a file's place, and for what a scene may hardly want: its user's hidden
    files, and the machine's own.

    extra: files added by hand → the folder that they are found from. The library paths are those
    search roots that hold something, in POV-Ray's order. A folder added from elsewhere becomes
    one, as names that the scene computes are looked for there.
    """
    base = search.roots[0]
    files = needed.found | extra.keys()
    for file in sorted(files):
        check_plain(file)
    _refuse_private(needed.found - extra.keys(), scene)
    folders = needed.folders | _folders_written_to(needed.writes, base)
    used = [*files, *folders, *needed.anchors]
    roots = [
        root
        for root in search.own[1:]
        if root in needed.used_roots or any(path.is_relative_to(root) for path in used)
    ]
    for file, folder in extra.items():
        if folder not in roots and not any(file.is_relative_to(root) for root in search.own):
            roots.append(folder)
    # A current folder that has nothing to do with the scene is not told to anybody, nor does it
    # make the same scene's resources others than from elsewhere.
    is_aside = (
        base not in needed.used_roots
        and not needed.anchors
        and not any(path.is_relative_to(base) for path in used if path != base)
    )
    anchors = {*(file.parent for file in files), *folders, *needed.anchors, *roots} - {base}
    top = Path(os.path.commonpath([*anchors, *(() if is_aside else (base,))]))
    places = {path: _place(path, top) for path in sorted({*files, *folders, *roots} - {base})}
    places[base] = _aside(top, places) if is_aside else _place(base, top)
    shipped = {places[file]: file for file in files}
    for name, local in needed.hiding.items():
        shipped[os.path.normpath(f"{places[base]}/{name}")] = local
    return SceneTree(
        files=shipped,
        scene=places[scene],
        folder=places[base],
        library_paths=tuple(places[root] for root in roots),
        writable=tuple(
            sorted(
                {places[folder] for folder in folders}
                | {name for name in shipped if _is_written(shipped[name], needed.writes, base)}
            )
        ),
        places=places,
    )


def _refuse_private(files: Iterable[Path], scene: Path) -> None:
    """A link, ``..`` or a library path in a scene of others' leads to any file of the machine."""
    own = _private_place(scene)
    private = [file for file in sorted(files) if _private_place(file) not in (None, own)]
    if private:
        raise InputError(
            "the scene asks for private files of yours, or of this machine; add those that it may "
            "have with --include:\n" + "\n".join(f"  {file}" for file in private)
        )


def _private_place(file: Path) -> Path | None:
    """The hidden folder or file in the user's home, or the system's folder, that has the file."""
    real = Path(os.path.realpath(file))
    for top in _OF_THE_MACHINE:
        if real.is_relative_to(top):
            return top
    home = Path(os.path.realpath(Path.home()))
    if not real.is_relative_to(home):
        return None
    first = real.relative_to(home).parts[0]
    return home / first if first.startswith(".") and first not in _POVRAYS_OWN else None


def _place(path: Path, top: Path) -> str:
    below = path.relative_to(top).as_posix()
    return SCENE_FOLDER if below == "." else f"{SCENE_FOLDER}/{ascii_path(below)}"


def _aside(top: Path, places: Mapping[Path, str]) -> str:
    """A path of its own for a current folder in which there is nothing."""
    taken = {path.relative_to(top).parts[0] for path in places if path != top}
    name = "here"
    while name in taken:
        name += "_"
    return f"{SCENE_FOLDER}/{name}"


def _folders_written_to(writes: Iterable[Access], base: Path) -> set[Path]:
    """The folders that files are written into; of names with gaps, all that there are."""
    found: set[Path] = set()
    for access in writes:
        for name in access.names:
            folder = normal(base / known_folder(name))
            if not is_known(name):
                try:
                    found |= {normal(folder / below) for below in folders_below(folder)}
                except TooMuchError:
                    found.add(folder)
            elif folder.is_dir() or known_folder(name) == _OUTPUT:
                found.add(folder)
                parts = name.split("/")
                found |= {
                    normal(base / "/".join(parts[:index]))
                    for index, part in enumerate(parts)
                    if part == ".."
                }
    return {folder for folder in found if folder.is_dir() or folder == base / _OUTPUT}


def folders_missing(accesses: Iterable[Access], base: Path) -> list[Place]:
    """Where a frame certainly writes into a folder that is not there, which POV-Ray cannot."""
    return [
        Place(access.place.file, access.place.line, shown(name))
        for access in accesses
        if access.mode in ("write", "append")
        and len(access.names) == 1
        and not any(block.is_condition for block in access.blocks)
        for name in access.names
        if known_folder(name) != _OUTPUT and not os.path.isdir(base / known_folder(name))  # noqa: PTH112
    ]


def writes_outside(writes: Iterable[Access], base: Path) -> list[Access]:
    """The statements that write files which nobody keeps: those not in ``output``."""
    return [
        access
        for access in writes
        if any(
            name and not normal(base / name).is_relative_to(base / _OUTPUT) for name in access.names
        )
    ]


def _is_written(file: Path, writes: Iterable[Access], base: Path) -> bool:
    return any(
        can_be_same(str(file), str(normal(base / name)))
        for access in writes
        for name in access.names
    )


def refuse_crooked(places: list[Place]) -> None:
    """Raise InputError for names whose ``..`` follows a link to a folder."""
    if places:
        raise InputError(
            "the scene names files by paths that go up out of a linked folder, which cannot be "
            "kept elsewhere; name them without '..':\n" + "\n".join(f"  {each}" for each in places)
        )
