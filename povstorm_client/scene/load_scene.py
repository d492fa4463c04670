"""Read a scene as the user has it, ``FILE.ini`` or ``FILE.pov``, into what a Job needs.

The CLI and flows call load_scene; nothing of the scene is changed, and POV-Ray is not run.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from povstorm_client.errors import InputError, ToolError
from povstorm_client.frames.render_settings import RenderSettings
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.scene.accesses import Access, Place
from povstorm_client.scene.carried import Carried, carried_files, is_image
from povstorm_client.scene.carried_state import shoots_photons
from povstorm_client.scene.discover import SceneFiles, discover
from povstorm_client.scene.frame_choice import parse_frames, subset
from povstorm_client.scene.ini import (
    PovraySettings,
    names_file,
    read_ini,
    read_switches,
    split_words,
)
from povstorm_client.scene.ini_text import split_sections, unquoted
from povstorm_client.scene.names import has_text_gap, shown
from povstorm_client.scene.search import (
    SearchPath,
    find_scene,
    installed_folders,
    normal,
    read_default_ini,
)
from povstorm_client.scene.trace import Trace, Tracer, TraceRequest
from povstorm_client.scene.traced_files import with_traced
from povstorm_client.scene.tree import (
    SceneTree,
    folders_missing,
    lay_out,
    refuse_crooked,
    writes_outside,
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
    files: path below ``./shared`` → local file. unresolved: names that only running the scene
    can tell, answered by the includes given. warnings: for the user. state: frame → the files that
    earlier frames leave it, by their paths in the workspace. trace: what running the scene showed,
    None where reading it was enough.
    """

    name: str
    settings: RenderSettings
    frames: tuple[int, ...]
    files: dict[str, Path]
    unresolved: tuple[Place, ...]
    warnings: tuple[str, ...]
    state: Mapping[int, Mapping[str, bytes]] = field(default_factory=dict)
    trace: Trace | None = None

    def work_units(self) -> list[WorkUnit]:
        """One for each frame, with what earlier frames leave it."""
        units = [WorkUnit(self.settings, frame=frame) for frame in self.frames]
        for unit in units:
            for path, data in self.state.get(unit.frame, {}).items():
                unit.add_inline_resource(path, data)
        return units


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
    tracer: Tracer | None = None,
    always_trace: bool = False,
) -> Scene:
    """Read ``FILE.pov``, ``FILE.ini`` or ``FILE.ini[section]`` and find the files that it needs.

    sections: of the ini, besides those in path. switches: POV-Ray options and further files.
    path and switches are read in their order, as POV-Ray reads its words, so that path may be an
    option too and a file stand among the switches: later words win.
    frames: as parse_frames reads them; over Subset_Start/End_Frame. size: width and height in
    pixels. preview: a quarter of the size, no antialiasing, quality 8. includes: files and folders
    to ship besides those found; giving any says that names which the scene computes are taken care
    of. cwd: where the user stands. tracer: runs the scene where reading it leaves open which files
    its frames read, or leave to each other; always_trace: whether it does so in any case.

    The scene is looked for in cwd, as POV-Ray does, and then in the ini's folder, so that
    ``povstorm render folder/anim.ini`` works from anywhere.

    Raises InputError for whatever is missing, misspelt, or can only be told by running the scene.
    """
    here = normal((cwd or Path.cwd()).absolute())
    before, given, after = _around_file([str(path), *switches], here)
    settings = PovraySettings()
    read_default_ini(settings, here)
    default_paths = tuple(settings.library_paths)
    read_switches(settings, before, folder=here)
    file = _read_file(settings, given, tuple(sections), here)
    read_switches(settings, after, folder=here)
    scene_file, base = find_scene(settings, file, here)
    extra = _extra_files(includes, here)
    search = _search_path(default_paths, settings, base, here)
    needed = discover(scene_file, search, settings.values.get("include_header"))
    if (needed.missing or needed.computed) and scene_file.parent not in search.roots:
        # POV-Ray itself would fail from here, so the scene's own folder takes nothing's place.
        search = replace(search, roots=(*search.roots, scene_file.parent))
        needed = discover(scene_file, search, settings.values.get("include_header"))
    _refuse_missing(needed, search)
    tree = lay_out(scene_file, needed, search, extra)
    render_settings = _render_settings(settings, tree, size, preview)
    numbers = _frames(render_settings, settings, frames)
    is_one = len(numbers) == 1
    images = _images(settings, scene_file, base)
    certain: list[Carried] = []
    carried: list[Carried] = []
    if render_settings.is_animation and not (is_one and frames is None):
        certain, carried = carried_files(needed.accesses, search, images)
    trace = None
    state: dict[int, dict[str, bytes]] = {}
    is_open = bool(certain or carried or ((needed.computed or needed.guesses) and not extra))
    if tracer is not None and (is_open or always_trace):
        loop = _loop_frames(numbers, render_settings, settings, frames)
        beside = frozenset(needed.found | needed.folders | needed.anchors)
        request = TraceRequest(render_settings, scene_file, search.own, loop, beside)
        open_places: list[Place | Carried] = [*certain, *([] if extra else needed.computed)]
        trace = _traced(tracer, request, open_places, must=always_trace or bool(open_places))
    if trace is None:
        _refuse_computed(needed, bool(extra))
        _refuse_carried([] if is_one else certain)
        carried = [] if is_one else carried
    else:
        _refuse_images(trace, images)
        needed = with_traced(needed, trace, search)
        tree = lay_out(scene_file, needed, search, extra)
        render_settings = _render_settings(settings, tree, size, preview)
        state = {
            frame: {tree.place_of(file): data for file, data in trace.state[frame].items()}
            for frame in numbers
            if frame in trace.state
        }
        carried = []
    warnings = [
        *settings.warnings,
        *_warnings(needed, has_extra=bool(extra)),
        *_warnings_of_writes(needed, base, carried, is_one=is_one or trace is not None),
    ]
    if not is_one and shoots_photons(tree.files.values()):
        warnings.append(_PHOTONS)
    return Scene(
        name=scene_file.stem,
        settings=render_settings,
        frames=numbers,
        files=tree.files,
        unresolved=tuple(needed.computed),
        warnings=tuple(warnings),
        state=state,
        trace=trace,
    )


def _traced(
    tracer: Tracer, request: TraceRequest, places: Sequence[Place | Carried], *, must: bool
) -> Trace | None:
    """What running the scene shows; None where it cannot be run and need not be.

    places: what reading it leaves open. Raises InputError where it cannot be run and has to be, and
    for frames that cannot be parsed.
    """
    try:
        trace = tracer(request)
    except ToolError as error:
        if not must:
            return None
        raise InputError(
            "what the scene does with files can only be told by running it, and that is not "
            f"possible here ({error})" + (f":\n{_listed(places)}" if places else "")
        ) from error
    if trace.failures:
        lines = [f"frame {frame} cannot be parsed: {why}" for frame, why in trace.failures.items()]
        raise InputError("\n".join(lines))
    return trace


def _loop_frames(
    numbers: tuple[int, ...],
    render_settings: RenderSettings,
    settings: PovraySettings,
    chosen: str | None,
) -> range:
    """The frames that POV-Ray's own loop goes through up to the last one that is wanted.

    A choice of --frames is one of the whole animation's, while Subset_Start_Frame and Frame_Step
    are POV-Ray's own: its loop begins with that frame, and leaves the others out.
    """
    if chosen is not None:
        return range(render_settings.initial_frame, numbers[-1] + 1)
    step = max(1, settings.integer("frame_step") or 1)
    return range(numbers[0], numbers[-1] + 1, step)


def _around_file(given: list[str], here: Path) -> tuple[list[str], str | None, list[str]]:
    """The words before the first file, that file, and those after it; None if they name none."""
    is_file = os.path.isfile(here / given[0])  # noqa: PTH113
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
        found = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        if not found:
            raise InputError(f"--include {given} is a folder without files: check the path")
        extra |= dict.fromkeys(found, path.parent if path.is_file() else path)
    return extra


def _refuse_missing(needed: SceneFiles, search: SearchPath) -> None:
    if needed.absolute:
        raise InputError(
            "the scene names files by absolute paths, which exist on this machine only; make them "
            "relative to the scene:\n" + _listed(needed.absolute)
        )
    refuse_crooked(needed.linked)
    if missing := folders_missing(needed.accesses, search.roots[0]):
        raise InputError(
            f"the scene writes into folders that are not there, which POV-Ray cannot; make them "
            f"below {search.roots[0]}:\n" + _listed(missing)
        )
    if needed.missing:
        folders = ", ".join(str(root) for root in search.roots if root not in search.installed)
        raise InputError(
            f"the scene needs files that are not there; looked in {folders} and POV-Ray's own "
            "include folders. Add them, or name their folder with +LFOLDER:\n"
            + _listed(needed.missing)
        )


def _refuse_computed(needed: SceneFiles, has_extra: bool) -> None:
    if needed.computed and not has_extra:
        raise InputError(
            "the scene computes names of files, which cannot be told without running it; add the "
            "files with --include PATH (a file or a folder):\n" + _listed(needed.computed)
        )


def _refuse_carried(carried: list[Carried]) -> None:
    if carried:
        raise InputError(
            "the scene reads in one frame what another frame writes, but every frame has a "
            "workspace of its own, where it would not find it; write the file anew in each frame "
            "before it is read, or render with POV-Ray's own loop:\n" + _listed(carried)
        )


def _refuse_images(trace: Trace, images: Path | None) -> None:
    read = sorted(path for path in trace.sought if images and is_image(path, images))
    if read:
        raise InputError(
            f"the scene reads {read[0]}, which is named as POV-Ray's own images of the loop: what "
            "it reads there is rendered by an earlier frame, so that its frames cannot be rendered "
            "in parallel: render it with POV-Ray's own loop"
        )


def _listed(places: Sequence[Place | Carried]) -> str:
    return "\n".join(f"  {place}" for place in places)


def _render_settings(
    settings: PovraySettings, tree: SceneTree, size: tuple[int, int] | None, preview: bool
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
        scene=tree.scene,
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
        library_paths=tree.library_paths,
        folder=tree.folder,
        writable=tree.writable,
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


def _warnings(needed: SceneFiles, *, has_extra: bool) -> list[str]:
    told = [
        f"{place} is not there; under a condition, or one of several names, it may not be needed"
        for place in needed.maybe_missing
    ]
    told += [
        f"{place} is there as {path}: taken for it, as on Windows; POV-Ray itself would not find "
        "it here, so write both alike"
        for place, path in needed.other_case.items()
    ]
    if needed.guesses and not has_extra:
        first = needed.guesses[0].place
        more = f" (and {len(needed.guesses) - 1} more)" if len(needed.guesses) > 1 else ""
        count = max(guess.files for guess in needed.guesses)
        told.append(
            f"{first}{more} can name any file: shipping the {count} below the scene's folders that "
            "it can mean; add others with --include"
        )
    return told


def _warnings_of_writes(
    needed: SceneFiles, base: Path, carried: list[Carried], *, is_one: bool
) -> list[str]:
    told = []
    read = {name for access in needed.accesses if access.mode == "read" for name in access.names}
    reached = {access.place for access in needed.accesses}
    writes = [access for access in needed.writes if access.place in reached]
    lost = [access for access in writes_outside(writes, base) if not access.names <= read]
    if lost:
        told.append(
            f"{_first(lost)} is written, but not kept: only what a scene writes into ./output is"
        )
    unknown = [access for access in writes if any(map(has_text_gap, access.names))]
    if unknown:
        told.append(
            f"{_first(unknown)} can write to any file, but only what is below {base} can be written"
        )
    appended = [access for access in writes if access.mode == "append"]
    if appended and not is_one:
        told.append(f"{_first(appended)} is appended to, but each frame begins with what is here")
    if carried:
        told.append(f"if {carried[0]}, frames differ from POV-Ray's: each has files of its own")
    return told


def _first(accesses: list[Access]) -> str:
    more = f" (and {len(accesses) - 1} more)" if len(accesses) > 1 else ""
    names = ", ".join(shown(name) for name in sorted(accesses[0].names))
    return f"{accesses[0].place.file}:{accesses[0].place.line}: {names}{more}"
