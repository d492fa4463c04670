"""What was given for a scene, read as POV-Ray reads it, and the files it needs; for load_scene."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from povstorm_client.errors import InputError
from povstorm_client.frames.render_settings import RenderSettings
from povstorm_client.plain_files import check_plain
from povstorm_client.scene.discover import SceneFiles, discover
from povstorm_client.scene.ini import (
    PovraySettings,
    names_file,
    read_ini,
    read_switches,
    split_words,
)
from povstorm_client.scene.ini_text import split_sections, unquoted
from povstorm_client.scene.numbered_scenes import (
    NumberedScenes,
    find_numbered,
    in_several,
    is_pattern,
    merged,
    names_scenes,
    refuse_loop,
)
from povstorm_client.scene.search import (
    SearchPath,
    find_scene,
    installed_folders,
    normal,
    read_default_ini,
)
from povstorm_client.scene.trace import TraceRequest
from povstorm_client.scene.tree import SceneTree, lay_out


@dataclass(frozen=True)
class SceneSources:
    """What was given, as POV-Ray reads it, and the files that it was found to need.

    common: those that several numbered scenes need.
    """

    settings: PovraySettings
    scene: Path
    base: Path
    search: SearchPath
    extra: dict[Path, Path]
    needed: SceneFiles
    numbered: NumberedScenes | None
    common: set[Path]

    @property
    def files(self) -> tuple[Path, ...]:
        """The ini files that were read, and numbered scenes."""
        return (*self.settings.read, *(self.numbered.files.values() if self.numbered else ()))

    @property
    def images(self) -> Path | None:
        """POV-Ray's images of the loop without number and ending; None if it writes none."""
        return _images(self.settings, self.scene, self.base)

    def lay_out(self, needed: SceneFiles) -> SceneTree:
        """Where the files lie in the workspace."""
        return lay_out(self.scene, needed, self.search, self.extra)

    def trace_request(self, settings: RenderSettings, loop: range) -> TraceRequest:
        """What to ask a tracer for."""
        needed = self.needed
        images = self.images
        beside = needed.found | needed.folders | needed.anchors
        beside = beside | ({images.parent} if images is not None else set())
        return TraceRequest(
            settings,
            self.scene,
            self.search.own,
            loop,
            frozenset(beside),
            images,
            {normal(self.base / name): file for name, file in needed.hiding.items()},
            bool(needed.writes),
        )


def read_sources(
    words: list[str], sections: tuple[str, ...], includes: Iterable[Path], here: Path
) -> SceneSources:
    """Read the words in their order; the parameters are load_scene's. Raises InputError."""
    before, given, after = _around_file(words, here)
    settings = PovraySettings()
    read_default_ini(settings, here)
    default_paths = tuple(settings.library_paths)
    read_switches(settings, before, folder=here)
    numbered = None
    if given is not None and is_pattern(name := unquoted(given)) and not (here / name).is_file():
        numbered = find_numbered(name, here)
        given = str(next(iter(numbered.files.values())))
    file = _read_file(settings, given, sections, here)
    read_switches(settings, after, folder=here)
    if numbered is not None:
        _make_loop(settings, numbered)
    if given is None and not settings.values.get("input_file_name"):
        raise InputError("no scene is named: give FILE.ini, FILE.pov, 'step_*.pov' or +ISCENE.pov")
    scene, base = find_scene(settings, file, here)
    search = _search_path(default_paths, settings, base, here)
    scenes = list(numbered.files.values()) if numbered else [scene]
    each = _discover(scenes, search, settings)
    needed = merged(each)
    if (needed.missing or needed.computed) and scene.parent not in search.roots:
        # POV-Ray itself would fail from here, so the scene's own folder takes nothing's place.
        search = replace(search, roots=(*search.roots, scene.parent))
        each = _discover(scenes, search, settings)
        needed = merged(each)
    extra = _extra_files(includes, here)
    return SceneSources(settings, scene, base, search, extra, needed, numbered, in_several(each))


def _discover(
    scenes: Sequence[Path], search: SearchPath, settings: PovraySettings
) -> list[SceneFiles]:
    header = settings.values.get("include_header")
    return [discover(scene, search, header) for scene in scenes]


def _make_loop(settings: PovraySettings, numbered: NumberedScenes) -> None:
    """Frames that are stills: they have their files' numbers, and no clock."""
    refuse_loop({*settings.numbers, *settings.values})
    numbers = list(numbered.files)
    settings.numbers |= {
        "initial_frame": numbers[0],
        "final_frame": numbers[-1],
        "initial_clock": 0,
        "final_clock": 0,
    }


def _around_file(given: list[str], here: Path) -> tuple[list[str], str | None, list[str]]:
    """The words before the first file, that file, and those after it; None if they name none."""
    is_file = os.path.isfile(here / given[0]) or names_scenes(given[0], here)  # noqa: PTH113
    words = [
        *(given[:1] if is_file else split_words(given[:1], here)),
        *split_words(given[1:], here),
    ]
    for place, word in enumerate(words):
        if (place == 0 and is_file) or names_file(word):
            return words[:place], word, words[place + 1 :]
    return words, None, []


def _read_file(
    settings: PovraySettings, given: str | None, sections: tuple[str, ...], here: Path
) -> Path:
    """Read the ini file, or note the scene, that was given; returns its path."""
    if given is None:
        return here / "the command line"
    name, in_name = split_sections(unquoted(given))
    chosen = (*in_name, *sections)
    file = normal(here / name)
    if os.path.isdir(file):  # noqa: PTH112 - as is_file below
        raise InputError(f"scene {name} is a folder: give an .ini or a .pov file of it")
    check_plain(file)
    if not os.path.isfile(file):  # noqa: PTH113 - unlike Path.is_file it takes no offence
        raise InputError(f"scene {name} does not exist: give an .ini or a .pov file")
    ending = file.suffix.casefold()
    if ending not in (".ini", ".pov"):
        raise InputError(
            f"{name} is neither an .ini nor a .pov file: give one of these; a scene that is called "
            f"otherwise is given as +I{name}"
        )
    if ending == ".ini":
        read_ini(settings, file, chosen, folder=here)
    elif chosen:
        raise InputError(f"{name} is no ini file and has no sections: leave out [{chosen[0]}]")
    else:
        settings.values["input_file_name"] = str(file)
    return file


def _search_path(
    default: tuple[str, ...], settings: PovraySettings, base: Path, here: Path
) -> SearchPath:
    """Where POV-Ray looks, in its order."""
    roots = [
        base,
        *(normal(here / path) for path in default),
        *(normal(base / path) for path in settings.library_paths[len(default) :]),
    ]
    return SearchPath(tuple(dict.fromkeys(roots)), installed_folders())


def _images(settings: PovraySettings, scene_file: Path, base: Path) -> Path | None:
    """What POV-Ray's own loop names its images, without number and ending; None for no files."""
    written = settings.output
    if written == "-":
        return None
    path = base / written
    is_folder = not written or written.endswith("/") or path.is_dir()
    return normal(path / scene_file.stem if is_folder else path.with_suffix(""))


def _extra_files(includes: Iterable[Path], here: Path) -> dict[Path, Path]:
    """The files added by hand → the folder that was given, or that the given file is in."""
    extra: dict[Path, Path] = {}
    for given in includes:
        path = normal(here / given)
        if not path.exists():
            raise InputError(f"--include {given} does not exist: check the path")
        check_plain(path)
        found = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        if not found:
            raise InputError(f"--include {given} is a folder without files: check the path")
        extra |= dict.fromkeys(found, path.parent if path.is_file() else path)
    return extra
