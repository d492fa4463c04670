"""Read a scene as the user has it, ``FILE.ini`` or ``FILE.pov``, into what a Job needs.

The CLI and flows call load_scene; nothing of the scene is changed, and POV-Ray is not run.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from povstorm_client.errors import InputError
from povstorm_client.render_settings import RenderSettings
from povstorm_client.scene.ascii_names import ascii_path
from povstorm_client.scene.carried_state import shoots_photons
from povstorm_client.scene.discover import Place, SceneFiles, discover
from povstorm_client.scene.frames import parse_frames, subset
from povstorm_client.scene.ini import PovraySettings, names_file, read_ini, read_switches
from povstorm_client.scene.ini_text import split_sections, unquoted
from povstorm_client.scene.search import (
    SearchPath,
    find_scene,
    installed_folders,
    normal,
    read_default_ini,
)

# POV-Ray's size where neither the scene nor any povray.ini gives one (tried with 3.7.0.10).
_DEFAULT_SIZE = (160, 120)
_PREVIEW_SHRINK = 4
_PREVIEW_SMALLEST = 160
# Without area lights, media and the like: POV-Ray's +Q levels.
_PREVIEW_QUALITY = 8
# POV-Ray takes the nearest of what it knows for other numbers.
_MOST_METHOD, _MOST_DEPTH, _MOST_QUALITY = 2, 9, 11
_PHOTONS = (
    "the scene shoots photons: POV-Ray's own loop goes on with their random numbers from frame to "
    "frame, here each frame begins them anew, as its +SFn +EFn does; caustics can differ by some "
    "levels from the second frame on (docs/fidelity.md)"
)


@dataclass(frozen=True)
class Scene:
    """A scene, ready to become a Job.

    name: the scene file's stem. settings: for all frames; frames: ascending numbers.
    files: path below ``./shared`` → local file. inline: path in the workspace → local file, for
    the few that have to lie in the workspace itself: POV-Ray looks in its installation before the
    library paths, so only there a file of the user's named ``colors.inc`` wins over the standard
    one, as it does in the user's current folder. unresolved: names that only running the scene
    can tell, answered by the includes given. warnings: for the user.
    """

    name: str
    settings: RenderSettings
    frames: tuple[int, ...]
    files: dict[str, Path]
    inline: dict[str, Path]
    unresolved: tuple[Place, ...]
    warnings: tuple[str, ...]


def load_scene(
    path: str | Path,
    *,
    sections: Iterable[str] = (),
    switches: Iterable[str] = (),
    frames: str | None = None,
    size: tuple[int, int] | None = None,
    preview: bool = False,
    includes: Iterable[Path] = (),
    cwd: Path | None = None,
) -> Scene:
    """Read ``FILE.pov``, ``FILE.ini`` or ``FILE.ini[section]`` and find the files that it needs.

    sections: of the ini, besides those in path. switches: POV-Ray options and further files.
    path and switches are read in their order, as POV-Ray reads its words, so that path may be an
    option too and a file stand among the switches: later words win.
    frames: as parse_frames reads them; over Subset_Start/End_Frame. size: width and height in
    pixels. preview: a quarter of the size, no antialiasing, quality 8. includes: files and folders
    to ship besides those found; giving any says that names which the scene computes are taken care
    of. cwd: where the user stands.

    The scene is looked for in cwd, as POV-Ray does, and then in the ini's folder, so that
    ``povstorm render folder/anim.ini`` works from anywhere.

    Raises InputError for whatever is missing, misspelt, or can only be told by running the scene.
    """
    here = normal((cwd or Path.cwd()).absolute())
    before, given, after = _split_words([str(path), *switches], here)
    settings = PovraySettings()
    read_default_ini(settings, here)
    default_paths = tuple(settings.library_paths)
    read_switches(settings, before, folder=here)
    file = _read_file(settings, given, tuple(sections), here)
    read_switches(settings, after, folder=here)
    scene_file, base = find_scene(settings, file, here)
    search = _search_path(default_paths, settings, base, here, scene_file)
    needed = discover(scene_file, search, settings.values.get("include_header"))
    extra = _extra_files(includes, here)
    _refuse_unresolved(needed, search, bool(extra))
    layout, library_paths = _layout(needed, search, extra)
    render_settings = _render_settings(
        settings, f"shared/{layout[scene_file]}", size, preview, library_paths
    )
    numbers = _frames(render_settings, settings, frames)
    warnings = [*settings.warnings, *_warnings(needed)]
    if len(numbers) > 1 and shoots_photons(layout):
        warnings.append(_PHOTONS)
    return Scene(
        name=scene_file.stem,
        settings=render_settings,
        frames=numbers,
        files={name: local for local, name in layout.items()},
        inline={os.path.normpath(name): local for name, local in needed.shadowing.items()},
        unresolved=tuple(needed.computed),
        warnings=tuple(warnings),
    )


def _split_words(words: list[str], here: Path) -> tuple[list[str], str | None, list[str]]:
    """The words before the first file, that file, and those after it; None if they name none."""
    for place, word in enumerate(words):
        is_first_file = place == 0 and os.path.isfile(here / word)  # noqa: PTH113
        if is_first_file or names_file(word):
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
    if not os.path.isfile(file):  # noqa: PTH113 - unlike Path.is_file it takes no offence
        raise InputError(f"scene {name} does not exist: give an .ini or a .pov file")
    if file.suffix.casefold() == ".ini":
        read_ini(settings, file, chosen, folder=here)
    elif chosen:
        raise InputError(f"{name} is no ini file and has no sections: leave out [{chosen[0]}]")
    else:
        settings.values["input_file_name"] = str(file)
    return file


def _search_path(
    default: tuple[str, ...], settings: PovraySettings, base: Path, here: Path, scene_file: Path
) -> SearchPath:
    """POV-Ray's order, and the scene's own folder last, so that it works from anywhere."""
    roots = [
        base,
        *(normal(here / path) for path in default),
        *(normal(base / path) for path in settings.library_paths[len(default) :]),
        scene_file.parent,
    ]
    return SearchPath(tuple(dict.fromkeys(roots)), installed_folders())


def _extra_files(includes: Iterable[Path], here: Path) -> dict[Path, Path]:
    """The files added by hand → the folder that was given, or that the given file is in."""
    extra: dict[Path, Path] = {}
    for given in includes:
        path = normal(here / given)
        if not path.exists():
            raise InputError(f"--include {given} does not exist: check the path")
        found = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        if not found:
            raise InputError(f"--include {given} is a folder without files: check the path")
        extra |= dict.fromkeys(found, path.parent if path.is_file() else path)
    return extra


def _refuse_unresolved(needed: SceneFiles, search: SearchPath, has_extra: bool) -> None:
    if needed.absolute:
        raise InputError(
            "the scene names files by absolute paths, which exist on this machine only; make them "
            "relative to the scene:\n" + _listed(needed.absolute)
        )
    if needed.missing:
        folders = ", ".join(str(root) for root in search.roots if root not in search.installed)
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


def _layout(
    needed: SceneFiles, search: SearchPath, extra: Mapping[Path, Path]
) -> tuple[dict[Path, str], tuple[str, ...]]:
    """Local file → path below ``./shared``, all in their places to each other; library paths.

    The library paths are the search roots that hold something, in POV-Ray's order. A folder added
    from elsewhere becomes one, as names that the scene computes are looked for there.
    """
    files = needed.found | extra.keys()
    roots = [
        root
        for root in search.roots
        if root not in search.installed
        and (root in needed.used_roots or any(file.is_relative_to(root) for file in files))
    ]
    for file, folder in extra.items():
        if folder not in roots and not any(file.is_relative_to(root) for root in search.roots):
            roots.append(folder)
    top = Path(os.path.commonpath([*(file.parent for file in files), *roots]))
    places = {file: ascii_path(file.relative_to(top).as_posix()) for file in sorted(files)}
    folders = (Path("shared") / root.relative_to(top) for root in roots)
    return places, tuple(ascii_path(folder.as_posix()) for folder in folders)


def _render_settings(
    settings: PovraySettings,
    scene: str,
    size: tuple[int, int] | None,
    preview: bool,
    library_paths: tuple[str, ...],
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
    method = settings.integer("sampling_method")
    if method is not None and method <= 0:
        is_antialiased, method = False, None
    depth = settings.integer("antialias_depth")
    jitter = settings.numbers.get("jitter_amount")
    if settings.switched.get("jitter") is False:
        jitter = 0.0
    header = [f"Include_Header={name}"] if (name := settings.values.get("include_header")) else []
    first, last, one_frame_loop = _loop(settings)
    return RenderSettings(
        scene=scene,
        width=width,
        height=height,
        antialias=antialias if is_antialiased else None,
        antialias_method=None if method is None else min(method, _MOST_METHOD),
        antialias_depth=None if depth is None else _antialias_depth(depth),
        antialias_gamma=settings.numbers.get("antialias_gamma"),
        jitter=jitter,
        quality=9 if quality is None else min(max(quality, 0), _MOST_QUALITY),
        initial_frame=first,
        final_frame=last,
        initial_clock=settings.numbers.get("initial_clock", 0.0),
        final_clock=settings.numbers.get("final_clock", 1.0),
        cyclic=settings.switched.get("cyclic_animation", False),
        one_frame_loop=one_frame_loop,
        clock=settings.numbers.get("clock"),
        library_paths=library_paths,
        options=(*settings.options.values(), *header),
    )


def _loop(settings: PovraySettings) -> tuple[int, int, bool]:
    """First and last frame, and whether POV-Ray loops over a single frame 1 or 0.

    As POV-Ray does (tried): frames below 0 are frame 0, the last is no less than the first where
    it is not told, and a still is only what is told to be frame 1 of 1, 0 of 0, or nothing.
    """
    initial, final = settings.integer("initial_frame"), settings.integer("final_frame")
    first = 1 if initial is None else max(initial, 0)
    last = max(1, first) if final is None else final
    is_still = (initial or 0, final or 0) in ((0, 0), (1, 1))
    if is_still and final is None:
        return 1, 1, False
    return first, last, not is_still and (first, last) in ((1, 1), (0, 0))


def _antialias_depth(depth: int) -> int:
    """POV-Ray takes 0 for 1, and all else that is not 1 to 9 for 9."""
    return max(1, depth) if 0 <= depth <= _MOST_DEPTH else _MOST_DEPTH


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
        cyclic=render_settings.cyclic,
        step=settings.integer("frame_step") or 1,
    )


def _warnings(needed: SceneFiles) -> list[str]:
    return [
        f"{place} is not there; under a condition, or one of several names, it may not be needed"
        for place in needed.maybe_missing
    ]
