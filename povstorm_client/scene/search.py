"""Where POV-Ray looks for a file that a scene names; discover and load_scene ask here.

As POV-Ray 3.7.0.10 does (tried): a name is looked for in the current folder and then in the library
paths in their order, never beside the file that names it. Names without their type's usual ending
are tried with it first, everywhere, and only then as they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from povstorm_client.errors import InputError
from povstorm_client.programs.tools import POVRAY_VARIABLE, povray_is_newer
from povstorm_client.scene.ini import PovraySettings, read_ini
from povstorm_client.scene.names import TEXT, expression, known_folder
from povstorm_client.scene.own_files import files_below

# What POV-Ray appends to the names of each type of file.
ENDINGS: dict[str, tuple[str, ...]] = {
    "inc": (".inc", ".INC"),
    "pov": (".pov", ".POV"),
    "df3": (".df3", ".DF3"),
    "ttf": (".ttf", ".TTF"),
    "user": (),
    "exr": (".exr", ".EXR"),
    "gif": (".gif", ".GIF"),
    "hdr": (".hdr", ".HDR"),
    "iff": (".iff", ".IFF", ".lbm", ".LBM"),
    "jpeg": (".jpg", ".JPG", ".jpeg", ".JPEG"),
    "pgm": (".pgm", ".PGM"),
    "png": (".png", ".PNG"),
    "ppm": (".ppm", ".PPM"),
    "sys": (),
    "tga": (".tga", ".TGA"),
    "tiff": (".tif", ".TIF", ".tiff", ".TIFF"),
}
# Images, fonts and the like, which can be huge.
_NO_SOURCES = {ending for kind in ENDINGS.keys() - {"inc", "pov"} for ending in ENDINGS[kind]}
# POV-Ray's own settings, as Debian and as its own build install them, of its version's series.
_SYSTEM_INIS = ("/etc/povray/{series}/povray.ini", "/usr/local/etc/povray/{series}/povray.ini")


@dataclass(frozen=True)
class Hit:
    """A file that was found: its path (normalised, links kept), the root, and the name there.

    It can be a folder: to POV-Ray, which only tries whether it can be opened, that is a file too.
    """

    path: Path
    root: Path
    name: str

    @property
    def is_folder(self) -> bool:
        """Whether it is no file that can be read."""
        return self.path.is_dir()


@dataclass(frozen=True)
class SearchPath:
    """Folders to look in, in POV-Ray's order; those of its installation are on every machine."""

    roots: tuple[Path, ...]
    installed: frozenset[Path] = frozenset()
    _below: dict[tuple[Path, bool], list[str]] = field(default_factory=dict, compare=False)

    @property
    def own(self) -> tuple[Path, ...]:
        """The folders that are not the installation's."""
        return tuple(root for root in self.roots if root not in self.installed)

    def find(self, name: str, kind: str) -> Hit | None:
        """The file that POV-Ray would open for a name of a kind in ENDINGS."""
        # POV-Ray 3.7.0.10 takes blanks for what is not ASCII, whatever the scene's charset (tried);
        # the scene itself has another name in the workspace.
        if kind != "pov" and not name.isascii():
            return None
        for candidate in candidates(name, kind):
            for root in self.roots:
                # As the kernel reads it, for which folder/../file needs the folder.
                path = os.path.join(root, candidate)  # noqa: PTH118
                if _exists(path):
                    return Hit(normal(Path(path)), root, candidate)
        return None

    def find_as_windows(self, name: str, kind: str) -> list[Hit]:
        """The own files that a name can mean where upper and lower case are the same.

        POV-Ray finds one there and on macOS, and scenes come from there; here it does not. Of
        several, which only such a folder as here can have, nothing tells which is meant.
        """
        if not name.isascii() or name.startswith("/"):
            return []
        for candidate in candidates(name, kind):
            for root in self.own:
                if paths := _case_blind(root, candidate):
                    return [Hit(path, root, candidate) for path in paths]
        return []

    def matching(self, name: str, kind: str) -> Iterator[Hit]:
        """All own files that a name with gaps can mean; raises InputError if that is too many."""
        for candidate in candidates(name, kind):
            pattern = expression(candidate)
            folder = known_folder(candidate)
            prefix = f"{folder}/" if folder or candidate.startswith("/") else ""
            rest = candidate[len(prefix) :]
            is_deep = TEXT in rest or "/" in rest
            for root in self.own:
                if not _exists(os.path.join(root, folder)):  # noqa: PTH118
                    continue
                inside = normal(root / folder)
                below = self._below.get((inside, is_deep))
                if below is None:
                    below = files_below(inside, is_deep=is_deep)
                    self._below[inside, is_deep] = below
                for found in below:
                    if pattern.fullmatch(prefix + found):
                        yield Hit(inside / found, root, prefix + found)

    def hides_installed(self, hit: Hit) -> bool:
        """Whether the installation has a file of that name too, after the library path it is in.

        In a frame's workspace the installation comes first of all library paths.
        """
        place = self.roots.index(hit.root)
        if place == 0 or hit.root in self.installed:
            return False
        later = self.installed - set(self.roots[:place])
        return any(_exists(os.path.join(root, hit.name)) for root in later)  # noqa: PTH118

    def is_installed(self, path: Path) -> bool:
        """Whether a path, absolute in the scene, is POV-Ray's own."""
        return any(path.is_relative_to(root) for root in self.installed)


def candidates(name: str, kind: str) -> list[str]:
    """The names that POV-Ray tries for a name, in its order."""
    endings = ENDINGS[kind]
    appended = [f"{name}{ending}" for ending in endings]
    return [name, *appended] if endings and name.endswith(endings) else [*appended, name]


def can_be_source(file: Path) -> bool:
    """Whether a file may be text of POV-Ray's language, by its ending in whatever case."""
    return file.suffix.casefold() not in _NO_SOURCES


def _exists(path: str) -> bool:
    try:
        return os.path.exists(path)  # noqa: PTH110 - overlong names are no error
    except ValueError:  # a null byte
        return False


def _case_blind(root: Path, name: str) -> list[Path]:
    """The files of that name below a folder, with any of its letters in the other case."""
    paths = [str(root)]
    for part in name.split("/"):
        paths = [f"{path}/{like}" for path in paths for like in _like(path, part)]
    return [normal(Path(path)) for path in paths if os.path.isfile(path)]  # noqa: PTH113


def _like(folder: str, name: str) -> list[str]:
    if _exists(f"{folder}/{name}"):
        return [name]
    try:
        there = sorted(os.listdir(folder))  # noqa: PTH208 - overlong names are no error
    except (OSError, ValueError):
        there = []
    return [each for each in there if each.casefold() == name.casefold()]


def normal(path: Path) -> Path:
    """Without ``..`` and the like; links stay, as a scene's names go through them."""
    return Path(os.path.normpath(path))


def read_default_ini(settings: PovraySettings, here: Path) -> None:
    """Add the first povray.ini of those that POV-Ray reads before anything else (order tried)."""
    candidates = [here / "povray.ini", *_system_inis()]
    if home := os.environ.get("HOME"):
        candidates.insert(1, Path(home) / f".povray/{_series()}/povray.ini")
    if chosen := os.environ.get("POVINI"):
        candidates.insert(0, here / chosen)
    for candidate in candidates:
        if candidate.is_file():
            read_ini(settings, candidate, folder=here)
            return


def system_ini() -> Path | None:
    """The povray.ini of POV-Ray's installation; None if it has none."""
    return next((candidate for candidate in _system_inis() if candidate.is_file()), None)


def _system_inis() -> list[Path]:
    return [Path(path.format(series=_series())) for path in _SYSTEM_INIS]


def _series() -> str:
    """The folder's name that POV-Ray has for its version, which it is asked for if need be."""
    newer = (Path(path.format(series="3.8")) for path in _SYSTEM_INIS)
    may_be_newer = POVRAY_VARIABLE in os.environ or any(map(Path.is_file, newer))
    return "3.8" if may_be_newer and povray_is_newer() else "3.7"


def installed_folders() -> frozenset[Path]:
    """The library paths of POV-Ray's installation: includes and fonts that are not shipped."""
    ini = system_ini()
    if ini is None:
        return frozenset()
    settings = PovraySettings()
    read_ini(settings, ini)
    return frozenset(normal(Path(path)) for path in settings.library_paths)


def find_scene(settings: PovraySettings, file: Path, here: Path) -> tuple[Path, Path]:
    """The scene file, and the folder that stands for POV-Ray's current one.

    That is where the user stands if the scene is found from there, else the folder of ``file``
    (the ini), so that an animation can be rendered from anywhere. Raises InputError.
    """
    name = settings.values.get("input_file_name")
    if not name:
        raise InputError(f"{file} has no Input_File_Name: add one, or give +ISCENE.pov")
    for base in dict.fromkeys((here, file.parent)):
        roots = (base, *(base / library for library in settings.library_paths))
        if hit := SearchPath(roots).find(name, "pov"):
            return hit.path, base
    others = ", ".join(sorted(path.name for path in file.parent.glob("*.pov"))) or "no .pov file"
    looked = f"not in {here}" if here == file.parent else f"neither in {here} nor in {file.parent}"
    raise InputError(
        f"the scene {name} is {looked}, which has {others}: "
        "correct Input_File_Name, or give +ISCENE.pov"
    )
