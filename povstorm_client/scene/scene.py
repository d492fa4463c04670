"""Read a scene as the user has it, ``FILE.ini`` or ``FILE.pov``, into what a Job needs.

The CLI and flows call load_scene; nothing of the scene is changed, and POV-Ray is not run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from povstorm_client.errors import InputError
from povstorm_client.render_settings import RenderSettings
from povstorm_client.scene.discover import Place, SceneFiles, SearchPath, discover
from povstorm_client.scene.frames import parse_frames, subset
from povstorm_client.scene.ini import PovraySettings, read_ini, read_switches

# POV-Ray's size where neither the scene nor any povray.ini gives one (tried with 3.7.0.10).
_DEFAULT_SIZE = (160, 120)
_PREVIEW_SHRINK = 4
_PREVIEW_SMALLEST = 160
# Without area lights, media and the like: POV-Ray's +Q levels.
_PREVIEW_QUALITY = 8
_SYSTEM_INI = Path("/etc/povray/3.7/povray.ini")


@dataclass(frozen=True)
class Scene:
    """A scene, ready to become a Job.

    name: the scene file's stem. settings: for all frames; frames: ascending numbers.
    files: path below ``./shared`` → local file. warnings: for the user.
    """

    name: str
    settings: RenderSettings
    frames: tuple[int, ...]
    files: dict[str, Path]
    warnings: tuple[str, ...]


def load_scene(
    path: str | Path,
    *,
    switches: Iterable[str] = (),
    frames: str | None = None,
    size: tuple[int, int] | None = None,
    preview: bool = False,
    includes: Iterable[Path] = (),
    cwd: Path | None = None,
) -> Scene:
    """Read ``FILE.pov``, ``FILE.ini`` or ``FILE.ini[section]`` and find the files that it needs.

    switches: POV-Ray options, over those of the ini. frames: as parse_frames reads them; over
    Subset_Start/End_Frame. size: width and height in pixels. preview: a quarter of the size, no
    antialiasing, quality 8. includes: files and folders to ship besides those found; giving any
    says that names which the scene computes are taken care of. cwd: where the user stands.

    The scene is looked for in cwd, as POV-Ray does, and then in the ini's folder, so that
    ``povstorm render folder/anim.ini`` works from anywhere.

    Raises InputError for whatever is missing, misspelt, or can only be told by running the scene.
    """
    here = Path(os.path.normpath((cwd or Path.cwd()).absolute()))
    given, sections = _split_sections(str(path))
    file = Path(os.path.normpath(here / given))
    if not os.path.isfile(file):  # noqa: PTH113 - unlike Path.is_file it takes no offence
        raise InputError(f"scene {given} does not exist: give an .ini or a .pov file")
    settings = PovraySettings()
    _read_default_ini(settings, here)
    system_paths = list(settings.library_paths)
    settings.library_paths.clear()
    if file.suffix.casefold() == ".ini":
        read_ini(settings, file, sections)
    elif sections:
        raise InputError(f"{given} is no ini file and has no sections: leave out [{sections[0]}]")
    else:
        settings.values["input_file_name"] = str(file)
    read_switches(settings, switches)
    _refuse_header(settings)
    scene_file, base = _find_scene(settings, file, here)
    search = _search_path(settings, base, scene_file, system_paths)
    needed = discover(scene_file, search)
    extra = _extra_files(includes, here)
    _refuse_unresolved(needed, search, bool(extra))
    needed.found.update(extra)
    layout = _layout(needed, search, extra)
    render_settings = _render_settings(settings, layout[scene_file], size, preview, layout)
    return Scene(
        name=scene_file.stem,
        settings=render_settings,
        frames=_frames(render_settings, settings, frames),
        files={name: local for local, name in layout.items() if local.is_file()},
        warnings=(*settings.warnings, *_warnings(needed)),
    )


def _split_sections(path: str) -> tuple[str, tuple[str, ...]]:
    match = re.fullmatch(r"(.*?\.ini)((?:\[[^\[\]]*\])+)", path, re.IGNORECASE | re.DOTALL)
    if match is None:
        return path, ()
    return match[1], tuple(re.findall(r"\[([^\[\]]*)\]", match[2]))


def _read_default_ini(settings: PovraySettings, here: Path) -> None:
    """The first povray.ini that POV-Ray on Unix reads before anything else (its manual, 1.4)."""
    chosen = os.environ.get("POVINI")
    candidates = [Path(chosen)] if chosen else []
    candidates += [here / "povray.ini", Path.home() / ".povray/3.7/povray.ini", _SYSTEM_INI]
    for candidate in candidates:
        if candidate.is_file():
            read_ini(settings, candidate)
            return


def _find_scene(settings: PovraySettings, file: Path, here: Path) -> tuple[Path, Path]:
    """The scene file, and the folder that stands for POV-Ray's current one."""
    name = settings.values.get("input_file_name")
    if not name:
        raise InputError(f"{file} has no Input_File_Name: add one, or give +ISCENE.pov")
    for base in dict.fromkeys((here, file.parent)):
        roots = (base, *(base / library for library in settings.library_paths))
        hit = SearchPath(roots, ()).find(name, (".pov",))
        if hit is not None:
            return hit[0], base
    others = ", ".join(sorted(path.name for path in file.parent.glob("*.pov"))) or "no .pov file"
    raise InputError(
        f"the scene {name} is neither in {here} nor in {file.parent}, which has {others}: "
        "correct Input_File_Name, or give +ISCENE.pov"
    )


def _search_path(
    settings: PovraySettings, base: Path, scene_file: Path, system_paths: list[str]
) -> SearchPath:
    own = [Path(os.path.normpath(base / path)) for path in settings.library_paths]
    system = tuple(Path(os.path.normpath(base / path)) for path in system_paths)
    roots = dict.fromkeys((base, *own, scene_file.parent))
    return SearchPath(tuple(root for root in roots if root not in system), system)


def _refuse_header(settings: PovraySettings) -> None:
    if header := settings.values.get("include_header"):
        raise InputError(
            f'Include_Header={header} is not supported: write #include "{header}" into the scene'
        )


def _extra_files(includes: Iterable[Path], here: Path) -> set[Path]:
    extra: set[Path] = set()
    for given in includes:
        path = Path(os.path.normpath(here / given))
        if not path.exists():
            raise InputError(f"--include {given} does not exist: check the path")
        found = {path} if path.is_file() else {file for file in path.rglob("*") if file.is_file()}
        if not found:
            raise InputError(f"--include {given} is a folder without files: check the path")
        extra |= found
    return extra


def _refuse_unresolved(needed: SceneFiles, search: SearchPath, has_extra: bool) -> None:
    if needed.absolute:
        raise InputError(
            "the scene names files by absolute paths, which exist on this machine only; make them "
            "relative to the scene:\n" + _listed(needed.absolute)
        )
    if needed.missing:
        folders = ", ".join(str(root) for root in search.roots)
        raise InputError(
            f"the scene needs files that are not there; looked in {folders} and POV-Ray's own "
            "include folders. Add them, or name their folder with +LFOLDER:\n"
            + _listed(needed.missing)
        )
    if needed.computed and not has_extra:
        raise InputError(
            "the scene computes names of files, which cannot be told without running it; add the "
            "files with --include PATH (a file or a folder):\n" + _listed(needed.computed)
        )


def _listed(places: list[Place]) -> str:
    return "\n".join(f"  {place}" for place in places)


def _layout(needed: SceneFiles, search: SearchPath, extra: set[Path]) -> dict[Path, str]:
    """Local file or search root → path below ``./shared``, all in their places to each other."""
    folders = {file.parent for file in needed.found} | needed.used_roots
    top = Path(os.path.commonpath(folders))
    roots = [root for root in search.roots if root.is_relative_to(top)]
    # A computed name is looked for in the search roots; a folder added from elsewhere becomes one.
    roots += sorted(
        {
            file.parent
            for file in extra
            if not any(file.is_relative_to(root) for root in search.roots)
        }
    )
    return {path: path.relative_to(top).as_posix() for path in (*needed.found, *roots)}


def _render_settings(
    settings: PovraySettings,
    scene: str,
    size: tuple[int, int] | None,
    preview: bool,
    layout: Mapping[Path, str],
) -> RenderSettings:
    width, height = size or (
        int(settings.numbers.get("width", _DEFAULT_SIZE[0])),
        int(settings.numbers.get("height", _DEFAULT_SIZE[1])),
    )
    antialias = settings.numbers.get("antialias_threshold", 0.3)
    quality = settings.integer("quality")
    is_antialiased = settings.switched.get("antialias", False)
    if preview:
        width, height = _preview_size(width, height)
        is_antialiased = False
        quality = min(_PREVIEW_QUALITY, 9 if quality is None else quality)
    jitter = settings.numbers.get("jitter_amount")
    if settings.switched.get("jitter") is False:
        jitter = 0.0
    initial = settings.integer("initial_frame")
    final = settings.integer("final_frame")
    return RenderSettings(
        scene=f"shared/{scene}",
        width=width,
        height=height,
        antialias=antialias if is_antialiased else None,
        antialias_method=settings.integer("sampling_method"),
        antialias_depth=settings.integer("antialias_depth"),
        antialias_gamma=settings.numbers.get("antialias_gamma"),
        jitter=jitter,
        quality=9 if quality is None else quality,
        initial_frame=1 if initial is None else initial,
        final_frame=1 if final is None else final,
        initial_clock=settings.numbers.get("initial_clock", 0.0),
        final_clock=settings.numbers.get("final_clock", 1.0),
        cyclic=settings.switched.get("cyclic_animation", False),
        clock=settings.numbers.get("clock"),
        library_paths=tuple(
            "shared" if name == "." else f"shared/{name}"
            for path, name in layout.items()
            if path.is_dir()
        ),
        options=tuple(settings.options.values()),
    )


def _preview_size(width: int, height: int) -> tuple[int, int]:
    """A quarter, but not below 160 pixels, and even, as videos like it."""
    shrink = max(1.0, min(_PREVIEW_SHRINK, width / _PREVIEW_SMALLEST))
    return max(2, round(width / shrink / 2) * 2), max(2, round(height / shrink / 2) * 2)


def _frames(
    render_settings: RenderSettings, settings: PovraySettings, chosen: str | None
) -> tuple[int, ...]:
    first, last = render_settings.initial_frame, render_settings.final_frame
    if chosen is not None:
        return parse_frames(chosen, first, last)
    return subset(
        first,
        last,
        settings.numbers.get("subset_start_frame"),
        settings.numbers.get("subset_end_frame"),
    )


def _warnings(needed: SceneFiles) -> list[str]:
    return [
        f"{place} is not there; it stands inside of a condition, so the scene may do without"
        for place in needed.maybe_missing
    ]
