"""Where POV-Ray looks for a file that a scene names; discover and load_scene ask here.

As POV-Ray 3.7.0.10 does (tried): a name is looked for in the current folder and then in the library
paths in their order, never beside the file that names it. Names without their type's usual ending
are tried with it first, everywhere, and only then as they are.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from povstorm_client.errors import InputError
from povstorm_client.scene.ini import PovraySettings, read_ini

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
# POV-Ray's own settings, as Debian and as its own build install them.
_SYSTEM_INIS = (Path("/etc/povray/3.7/povray.ini"), Path("/usr/local/etc/povray/3.7/povray.ini"))


@dataclass(frozen=True)
class Hit:
    """A file that was found: its path (normalised, links kept), the root, and the name there."""

    path: Path
    root: Path
    name: str


@dataclass(frozen=True)
class SearchPath:
    """Folders to look in, in POV-Ray's order; those of its installation are on every machine."""

    roots: tuple[Path, ...]
    installed: frozenset[Path] = frozenset()

    def find(self, name: str, kind: str) -> Hit | None:
        """The file that POV-Ray would open for a name of a kind in ENDINGS."""
        endings = ENDINGS[kind]
        appended = [f"{name}{ending}" for ending in endings]
        names = [name, *appended] if name.endswith(endings) and endings else [*appended, name]
        for candidate in names:
            for root in self.roots:
                path = normal(root / candidate)
                if os.path.isfile(path):  # noqa: PTH113 - overlong names are no error
                    return Hit(path, root, candidate)
        return None

    def shadows_installed(self, hit: Hit) -> bool:
        """Whether the installation has a file of that name too."""
        return hit.root not in self.installed and any(
            os.path.isfile(root / hit.name)  # noqa: PTH113
            for root in self.installed
        )

    def is_installed(self, path: Path) -> bool:
        """Whether a path, absolute in the scene, is POV-Ray's own."""
        return any(path.is_relative_to(root) for root in self.installed)


def normal(path: Path) -> Path:
    """Without ``..`` and the like; links stay, as a scene's names go through them."""
    return Path(os.path.normpath(path))


def read_default_ini(settings: PovraySettings, here: Path) -> None:
    """Add the first povray.ini of those that POV-Ray reads before anything else (order tried)."""
    candidates = [here / "povray.ini", *_SYSTEM_INIS]
    if home := os.environ.get("HOME"):
        candidates.insert(1, Path(home) / ".povray/3.7/povray.ini")
    if chosen := os.environ.get("POVINI"):
        candidates.insert(0, here / chosen)
    for candidate in candidates:
        if candidate.is_file():
            read_ini(settings, candidate, folder=here)
            return


def system_ini() -> Path | None:
    """The povray.ini of POV-Ray's installation; None if it has none."""
    return next((candidate for candidate in _SYSTEM_INIS if candidate.is_file()), None)


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
    raise InputError(
        f"the scene {name} is neither in {here} nor in {file.parent}, which has {others}: "
        "correct Input_File_Name, or give +ISCENE.pov"
    )
