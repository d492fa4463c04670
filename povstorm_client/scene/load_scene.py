"""Read a scene as the user has it, ``FILE.ini`` or ``FILE.pov``, into what a Job needs.

The CLI and flows call load_scene; nothing of the scene is changed, and POV-Ray is run by the tracer
that they give, if by anybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from povstorm_client.errors import InputError, ToolError
from povstorm_client.frames.chain_link import ChainLink
from povstorm_client.frames.ranges import frame_ranges
from povstorm_client.frames.render_settings import RenderSettings
from povstorm_client.frames.shared_use import SharedUse
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.plain_files import read_plain
from povstorm_client.scene.accesses import Place
from povstorm_client.scene.carried import Carried, carried_files
from povstorm_client.scene.chain import chain_links, chain_warning
from povstorm_client.scene.discover import SceneFiles
from povstorm_client.scene.numbered_scenes import NumberedScenes
from povstorm_client.scene.numbered_trace import of_each_scene
from povstorm_client.scene.refusals import (
    listed,
    refuse_carried,
    refuse_computed,
    refuse_missing,
    refuse_newer,
)
from povstorm_client.scene.scene_settings import (
    chosen_frames,
    loop_frames,
    newer_option,
    render_settings_of,
)
from povstorm_client.scene.scene_sources import SceneSources, read_sources
from povstorm_client.scene.scene_warnings import scene_warnings
from povstorm_client.scene.search import normal
from povstorm_client.scene.trace import Trace, Tracer, TraceRequest
from povstorm_client.scene.traced_files import shared_uses, with_traced
from povstorm_client.scene.tree import SceneTree

# What numbered scene files may have together to be in their frames' work units.
_MOST_OWN_BYTES = 64 << 20


@dataclass(frozen=True)
class Scene:
    """A scene, ready to become a Job.

    name: the scene file's stem. settings: for all frames; frames: ascending numbers.
    files: path below ``./shared`` → local file. unresolved: names that only running the scene
    can tell, answered by the includes given. warnings: for the user. state: frame → the files that
    earlier frames leave it, by their paths in the workspace. scenes: frame → its own scene file
    there, of numbered ones. uses: frame → what it uses of files, where that is known. links: frame
    → where it stands among frames that have to be rendered in order, empty where they have not.
    own_settings: frame → what it has in place of settings, of a variant's.
    trace: what running the scene showed, None where reading it was enough. sources: what it was
    read from besides files: ini files, and numbered scenes. newer: what of it POV-Ray 3.7 has not;
    "" for nothing.
    """

    name: str
    settings: RenderSettings
    frames: tuple[int, ...]
    files: dict[str, Path]
    unresolved: tuple[Place, ...]
    warnings: tuple[str, ...]
    state: Mapping[int, Mapping[str, bytes]] = field(default_factory=dict)
    scenes: Mapping[int, str] = field(default_factory=dict)
    uses: Mapping[int, SharedUse] = field(default_factory=dict)
    links: Mapping[int, ChainLink] = field(default_factory=dict)
    own_settings: Mapping[int, RenderSettings] = field(default_factory=dict)
    trace: Trace | None = None
    sources: tuple[Path, ...] = ()
    newer: str = ""

    def work_units(self) -> list[WorkUnit]:
        """One for each frame, with what earlier frames leave it."""
        units = [
            WorkUnit(
                self._settings_of(frame),
                frame=frame,
                link=self.links.get(frame),
            )
            for frame in self.frames
        ]
        for unit in units:
            for path, data in self.state.get(unit.frame, {}).items():
                unit.add_inline_resource(path, data)
        return units

    @property
    def left(self) -> Mapping[int, Mapping[str, bytes]]:
        """Of state, what earlier frames leave; numbered scenes have but their own files there."""
        return {} if self.scenes else self.state

    def _settings_of(self, frame: int) -> RenderSettings:
        settings = self.own_settings.get(frame, self.settings)
        scene = self.scenes.get(frame)
        return settings if scene is None else replace(settings, scene=scene)


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
    refuse_unparsable: bool = False,
) -> Scene:
    """Read ``FILE.pov``, ``FILE.ini`` or ``FILE.ini[section]`` and find the files that it needs.

    A pattern, ``step_*.pov``, is an animation whose frames are the files that it names.

    sections: of the ini, besides those in path. switches: POV-Ray options and further files.
    path and switches are read in their order, as POV-Ray reads its words, so that path may be an
    option too and a file stand among the switches: later words win.
    frames: as parse_frames reads them; over Subset_Start/End_Frame. size: width and height in
    pixels. preview: a quarter of the size, no antialiasing, quality 8. includes: files and folders
    to ship besides those found; giving any says that names which the scene computes are taken care
    of. cwd: where the user stands. tracer: runs the scene where reading it leaves open which files
    its frames read, or leave to each other; always_trace: whether it does so in any case.
    refuse_unparsable: whether a frame that the tracer cannot parse is an error; it is a warning
    where the other frames can be rendered without it.

    The scene is looked for in cwd, as POV-Ray does, and then in the ini's folder, so that
    ``povstorm render folder/anim.ini`` works from anywhere.

    Raises InputError for whatever is missing, misspelt, or can only be told by running the scene.
    """
    here = normal((cwd or Path.cwd()).absolute())
    sources = read_sources([str(path), *switches], tuple(sections), includes, here)
    refuse_newer(sources.needed)
    refuse_missing(sources.needed, sources.search)
    laid_out = _lay_out(sources, sources.needed, size, preview)
    numbers = _frame_numbers(sources, laid_out.settings, frames)
    between = _files_between_frames(sources, laid_out.settings, numbers, frames)
    loop = loop_frames(numbers, laid_out.settings, sources.settings, frames)
    trace, unparsable, shown = None, list[str](), _Shown()
    if sources.numbered is not None:
        # Stills leave each other nothing.
        refuse_carried(between.carried)
        tracer = tracer and of_each_scene(
            tracer, {frame: sources.numbered.files[frame] for frame in numbers}
        )
    if tracer is not None and (between.is_open or always_trace):
        request = sources.trace_request(laid_out.settings, loop)
        trace = _traced(
            tracer, request, between.certain, must=always_trace or bool(between.certain)
        )
        unparsable = _unparsable(trace, numbers, between.certain, refuse=refuse_unparsable)
    if trace is not None and not trace.is_whole:
        trace = None
    if trace is None:
        refuse_computed(sources.needed, bool(sources.extra))
        refuse_carried(between.carried if len(numbers) > 1 else [])
    else:
        needed = with_traced(sources.needed, trace, sources.search)
        laid_out = _lay_out(sources, needed, size, preview)
        shown = _shown(trace, sources, laid_out.tree, numbers, loop)
    own = _own_scenes(sources, laid_out.tree, numbers)
    warnings = scene_warnings(
        sources,
        laid_out.needed,
        laid_out.tree,
        between.possible if trace is None and len(numbers) > 1 else [],
        trace,
        is_one=len(numbers) == 1,
    )
    if trace is not None and shown.links:
        unparsable.append(chain_warning(trace))
    return Scene(
        name=sources.numbered.name if sources.numbered else sources.scene.stem,
        settings=laid_out.settings,
        frames=numbers,
        files=own.shared,
        unresolved=tuple(laid_out.needed.computed),
        warnings=(*warnings, *unparsable),
        state={**shown.state, **own.state},
        scenes=own.scenes,
        uses=shown.uses,
        links=shown.links,
        trace=trace,
        sources=sources.files,
        newer=next(map(str, sources.needed.newer), "") or newer_option(laid_out.settings),
    )


@dataclass(frozen=True)
class _LaidOut:
    """The files that a scene needs, where they lie in the workspace, and settings that say so."""

    needed: SceneFiles
    tree: SceneTree
    settings: RenderSettings


def _lay_out(
    sources: SceneSources, needed: SceneFiles, size: tuple[int, int] | None, preview: bool
) -> _LaidOut:
    tree = sources.lay_out(needed)
    return _LaidOut(needed, tree, render_settings_of(sources.settings, tree, size, preview))


def _frame_numbers(
    sources: SceneSources, settings: RenderSettings, chosen: str | None
) -> tuple[int, ...]:
    """The frames to render: chosen ones, or all; of numbered scenes, those that have a file."""
    numbers = chosen_frames(settings, sources.settings, chosen)
    if sources.numbered is None:
        return numbers
    return _numbered_frames(numbers, sources.numbered, is_chosen=chosen is not None)


@dataclass(frozen=True)
class _FilesBetweenFrames:
    """What reading a scene leaves open of what its frames do with files.

    carried: what frames certainly leave to each other, and possible: what they might; computed:
    names that only running it tells, and has_guesses: whether others can mean any file.
    """

    carried: list[Carried]
    possible: list[Carried]
    computed: list[Place]
    has_guesses: bool

    @property
    def certain(self) -> list[Carried | Place]:
        """What it cannot be rendered without."""
        return [*self.carried, *self.computed]

    @property
    def is_open(self) -> bool:
        """Whether there is any of it."""
        return bool(self.carried or self.possible or self.computed or self.has_guesses)


def _files_between_frames(
    sources: SceneSources,
    render_settings: RenderSettings,
    numbers: tuple[int, ...],
    chosen: str | None,
) -> _FilesBetweenFrames:
    needed = sources.needed
    carried: list[Carried] = []
    possible: list[Carried] = []
    # A frame that POV-Ray's own loop would begin with is left nothing.
    if render_settings.is_animation and (len(numbers) > 1 or chosen is not None):
        carried, possible = carried_files(
            sources.scene,
            needed.accesses,
            sources.search,
            sources.images,
            render_settings.image_ending,
        )
    if sources.extra:
        return _FilesBetweenFrames(carried, possible, [], has_guesses=False)
    return _FilesBetweenFrames(carried, possible, needed.computed, bool(needed.guesses))


@dataclass(frozen=True)
class _Shown:
    """What running a scene shows of its frames; as the fields of Scene."""

    state: Mapping[int, Mapping[str, bytes]] = field(default_factory=dict)
    uses: Mapping[int, SharedUse] = field(default_factory=dict)
    links: Mapping[int, ChainLink] = field(default_factory=dict)


def _shown(
    trace: Trace, sources: SceneSources, tree: SceneTree, numbers: tuple[int, ...], loop: range
) -> _Shown:
    links = chain_links(trace, sources.images, tree, numbers, loop)
    if links:
        # What a chain's frames leave each other is known when they are rendered.
        return _Shown(links=links)
    state = {
        frame: {tree.place_of(file): data for file, data in trace.state[frame].items()}
        for frame in numbers
        if frame in trace.state
    }
    return _Shown(state, shared_uses(trace, tree, sources.search.own))


def _traced(
    tracer: Tracer, request: TraceRequest, places: Sequence[Carried | Place], *, must: bool
) -> Trace | None:
    """What running the scene shows; None where it cannot be run and need not be.

    places: what reading it leaves open. Raises InputError where it cannot be run and has to be.
    """
    try:
        return tracer(request)
    except ToolError as error:
        if not must:
            return None
        raise InputError(
            "what the scene does with files can only be told by running it, and that is not "
            f"possible here ({error})" + (f":\n{listed(places)}" if places else "")
        ) from error


def _unparsable(
    trace: Trace | None, numbers: Sequence[int], places: Sequence[Carried | Place], *, refuse: bool
) -> list[str]:
    """A line for each frame that cannot be parsed and will fail; the others can be rendered.

    places: what only running the scene tells. Raises InputError if refuse, if all frames fail, and
    if the others cannot be rendered, as they would go on from one that fails.
    """
    if trace is None or not trace.failures:
        return []
    if not trace.is_whole and places:
        raise InputError(_going_on_from(min(trace.failures), trace, numbers, places[0]))
    by_reason: dict[str, list[int]] = {}
    for frame, why in trace.failures.items():
        by_reason.setdefault(why, []).append(frame)
    if refuse or not set(numbers) - trace.failures.keys():
        raise InputError("\n".join(_failing(frames, why) for why, frames in by_reason.items()))
    wanted = set(numbers)
    return [
        f"{_failing(among, why)}; {'it' if len(among) == 1 else 'they'} will fail, and the others "
        "are rendered"
        for why, frames in by_reason.items()
        if (among := [frame for frame in frames if frame in wanted])
    ]


def _failing(frames: Sequence[int], why: str) -> str:
    return f"frame{'s' if len(frames) > 1 else ''} {frame_ranges(frames)} cannot be parsed: {why}"


def _going_on_from(first: int, trace: Trace, numbers: Sequence[int], place: Carried | Place) -> str:
    """Why a frame that cannot be parsed leaves those after it unknown, and what can be done."""
    correct = "correct it"
    if before := [number for number in numbers if number < first]:
        correct += f", or render those before it with --frames {before[0]}-{before[-1]}"
    return (
        f"{_failing([first], trace.failures[first])}; frames after it may go on from what it "
        f"leaves ({place}): {correct}"
    )


def _numbered_frames(
    numbers: tuple[int, ...], numbered: NumberedScenes, *, is_chosen: bool
) -> tuple[int, ...]:
    """Those that have a file; InputError for one of --frames that has none."""
    there = tuple(number for number in numbers if number in numbered.files)
    if is_chosen and len(there) < len(numbers):
        missing = frame_ranges(sorted(set(numbers) - set(there)))
        raise InputError(f"there is no file for frame {missing}: choose others with --frames")
    return there


@dataclass(frozen=True)
class _OwnScenes:
    """shared: files, by their path below ``./shared``; state, scenes: as the fields of Scene."""

    shared: dict[str, Path]
    state: Mapping[int, Mapping[str, bytes]] = field(default_factory=dict)
    scenes: Mapping[int, str] = field(default_factory=dict)


def _own_scenes(sources: SceneSources, tree: SceneTree, numbers: tuple[int, ...]) -> _OwnScenes:
    """Each frame's scene, of numbered ones, as its own, so that changing it renders one frame.

    Large ones stay shared: what is a frame's own is in its work unit, which the flow holds. So do
    those that other frames include.
    """
    files = tree.files
    if sources.numbered is None:
        return _OwnScenes(files)
    scenes = {frame: tree.places[sources.numbered.files[frame]] for frame in numbers}
    own = {place for place in scenes.values() if files[place] not in sources.common}
    if sum(files[place].stat().st_size for place in own) > _MOST_OWN_BYTES:
        return _OwnScenes(files, scenes=scenes)
    shared = {place: file for place, file in files.items() if place not in own}
    state = {
        frame: {place: read_plain(files[place])} for frame, place in scenes.items() if place in own
    }
    return _OwnScenes(shared, state, scenes)
