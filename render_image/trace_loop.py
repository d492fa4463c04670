"""POV-Ray's loop over an animation's frames, or part of them, with what it opens; for trace_scene.

The scene sees its own folders, read-only; povray_files.c, preloaded, notes what it opens, and lets
it seem to write.

One pixel of each frame is rendered, the one in column and row 2: to POV-Ray a 1 is the share of the
image, so that ``+SC1 +EC1`` renders all of it (tried).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from povstorm_client.errors import InputError, RenderError, ToolError
from povstorm_client.frames.render_settings import RenderSettings, quoted
from povstorm_client.programs.tools import PovRay
from povstorm_client.scene.ascii_names import ascii_path
from render_image.frame_limits import Limits
from render_image.povray_environment import prepare_environment
from render_image.povray_failure import raise_for_exit
from render_image.process import run_process
from render_image.sandbox import Sandbox
from render_image.scene_tree import LaidOut
from render_image.stand_in import stand_in
from render_image.trace_accesses import Notes, take_notes
from render_image.workspace import Workspace

LIBRARY = Path(__file__).with_name("libpovrayfiles.so")
# With more of a loop's frames that cannot be parsed it ends.
MOST_FAILURES = 20
# POV-Ray's exit code for what it cannot parse.
_REFUSED = 1
# What POV-Ray prints of a frame that it hardly renders takes 3.5 KB (measured).
_LOG_BYTES_PER_FRAME = 16_384
# In the sandbox: where the library is, and what the scene's own folders lie below.
_LIBRARY_INSIDE = "/lib/libpovrayfiles.so"
_SCENE_INSIDE = "/scene"
_ONE_PIXEL = ("+SC2", "+EC2", "+SR2", "+ER2", "-A", "-F")
# The smallest image that has a column and a row 2.
_LEAST_SIDE = 2


@dataclass(frozen=True)
class Animation:
    """What is traced, and with what.

    settings, scene, roots, frames, beside, aliases: as in TraceRequest; images: as there, "" for
    none. bwrap: None outside of a sandbox.
    """

    settings: RenderSettings
    scene: Path
    roots: tuple[Path, ...]
    frames: range
    beside: tuple[Path, ...]
    images: str
    aliases: Mapping[str, str]
    povray: PovRay
    bwrap: Sandbox | None

    def places(self) -> dict[Path, str]:
        """Where the scene's folders are to POV-Ray."""
        return _places(list(self.roots), list(self.beside), inside=self.bwrap is not None)


@dataclass(frozen=True)
class Run:
    """What one process noted.

    frames: those that it was started for. broken: the one that it could not parse, None if there
    is none; why: POV-Ray's words for that.
    """

    frames: range
    notes: Notes
    broken: int | None = None
    why: str = ""


@dataclass(frozen=True)
class Loop:
    """A loop's processes, one more after each frame that could not be parsed.

    named: the roots by what POV-Ray was given for them.
    """

    runs: tuple[Run, ...]
    named: Mapping[Path, str]


class NotAPartError(Exception):
    """Part of a loop has shown that it may be another one after the frames before it."""


async def run_loop(animation: Animation, frames: range, folder: Path, *, is_part: bool) -> Loop:
    """Parse these frames of the animation, in their order; folder: a new one.

    is_part: whether frames before them are parsed elsewhere. It raises NotAPartError then where a
    frame writes anything, and where a process ends otherwise than it would alone. Raises ToolError
    and InputError as trace_scene of the client's does.
    """
    settings, povray, bwrap = animation.settings, animation.povray, animation.bwrap
    roots, places = list(animation.roots), animation.places()
    workspace = _workspace(folder)
    named = _links(roots, places, workspace, bwrap)
    scene = _scene_inside(animation.scene, places, workspace, bwrap)
    limits = Limits().for_image(settings.width, settings.height)
    limits = replace(limits, log_bytes=limits.log_bytes + len(frames) * _LOG_BYTES_PER_FRAME)
    environment = _environment(
        workspace, scene, prepare_environment(workspace, povray, bwrap), bwrap
    )
    images = _inside_of(animation.images, places)
    if settings.is_animation and images:
        standin = _stand_in(workspace, settings)
        environment["POVSTORM_TRACE_STANDIN"] = f"{_inside(workspace, bwrap)}/{standin}"
    if animation.aliases:
        environment["POVSTORM_TRACE_ALIASES"] = _aliases(
            animation.aliases, places, workspace, bwrap
        )
    loop, runs = animation.frames, list[Run]()
    while frames and len(runs) < MOST_FAILURES:
        digits = len(settings.image_name(loop[0])) - len(f"frame_{settings.image_ending}")
        begun = {"POVSTORM_TRACE_IMAGES": f"{loop[0]} {loop.step} {frames[0]} {digits} {images}"}
        exited = await run_process(
            _command(str(povray.path), settings, scene, list(named.values()), frames),
            cwd=workspace.current if bwrap else roots[0],
            environment=environment | (begun if images else {}),
            log=workspace.log,
            timeout=None,
            limits=limits,
            folders=(workspace.folder, workspace.temporary),
            sandbox=partial(
                bwrap.arguments,
                workspace,
                environment | (begun if images else {}),
                beside={**places, LIBRARY: _LIBRARY_INSIDE},
                current=places[roots[0]],
            )
            if bwrap
            else None,
            system_calls=bwrap.system_calls if bwrap else b"",
        )
        notes = take_notes(workspace.folder / "trace", folder / f"taken-{len(runs)}")
        if is_part and notes.wrote:
            raise NotAPartError
        log = workspace.log.read_text("utf-8", errors="replace")
        try:
            raise_for_exit(exited, log, None, limits, workspace.current)
        except RenderError as error:
            # Several at once can be short of what one has.
            if is_part and (error.retryable or exited.returncode != _REFUSED or not notes.begun):
                raise NotAPartError from error
            broken = frames[max(0, min(notes.begun, len(frames)) - 1)]
            why = _at_home(str(error), scene, animation.scene, places)
            runs.append(Run(frames, notes, broken, why))
            # A frame that wrote half of what it leaves to the next leaves that anything.
            has_written = any(run.notes.wrote for run in runs)
            frames = range(0) if has_written else frames[frames.index(broken) + 1 :]
        else:
            if is_part and notes.begun != len(frames):
                raise NotAPartError
            runs.append(Run(frames, notes))
            frames = range(0)
    return Loop(tuple(runs), named)


def _workspace(folder: Path) -> Workspace:
    inside = folder / "workspace"
    for made in (
        *(inside / "output", inside / "trace" / "written", inside / "trace" / "kept"),
        *(folder / "home", folder / "tmp"),
    ):
        made.mkdir(parents=True)
    return Workspace(
        inside,
        inside / "output",
        None,
        home=folder / "home",
        temporary=folder / "tmp",
        log=folder / "povray.txt",
        current=inside,
        laid_out=LaidOut(),
    )


def _places(roots: list[Path], beside: list[Path], *, inside: bool) -> dict[Path, str]:
    """Where the scene's folders are to POV-Ray, as they are to each other.

    Of what lies beside them only what is not below another is named.
    """
    known = dict.fromkeys(roots)
    for path in sorted(beside, key=lambda path: len(path.parts)):
        if path.exists() and not any(path.is_relative_to(other) for other in known):
            known[path] = None
    if not inside:
        return {path: str(path) for path in known}
    top = Path(os.path.commonpath([path if path.is_dir() else path.parent for path in known]))
    # The outer ones first: the inner ones are laid over them.
    return {
        path: f"{_SCENE_INSIDE}/{path.relative_to(top).as_posix()}".removesuffix("/.")
        for path in sorted(known, key=lambda path: len(path.parts))
    }


def _at_home(words: str, scene: str, file: Path, places: Mapping[Path, str]) -> str:
    """POV-Ray's words with the paths that its user knows."""
    words = words.replace(scene, str(file))
    for path, inside in sorted(places.items(), key=lambda item: -len(item[1])):
        words = words.replace(f"{inside}/", f"{path}/")
    return words


def _inside_of(home: str, places: Mapping[Path, str]) -> str:
    """A path of the scene's as POV-Ray sees it; "" if it does not."""
    for path, inside in sorted(places.items(), key=lambda item: -len(item[0].parts)):
        if home and Path(home).is_relative_to(path):
            return f"{inside}/{Path(home).relative_to(path).as_posix()}".removesuffix("/.")
    return ""


def _aliases(
    aliases: Mapping[str, str],
    places: Mapping[Path, str],
    workspace: Workspace,
    bwrap: Sandbox | None,
) -> str:
    """Write the aliases for povray_files.c; returns the file's path to POV-Ray."""
    name = "aliases"
    texts = [_inside_of(path, places) for pair in aliases.items() for path in pair]
    (workspace.folder / name).write_bytes(b"".join(os.fsencode(text) + b"\0" for text in texts))
    return f"{_inside(workspace, bwrap)}/{name}"


def _stand_in(workspace: Workspace, settings: RenderSettings) -> str:
    """Make an image of the animation's size, to take the place of those that are not rendered."""
    ending = settings.image_ending
    name = f"standin{ending}"
    image = stand_in(ending, settings.width, settings.height)
    (workspace.folder / name).write_bytes(image)
    return name


def _links(
    roots: list[Path], places: Mapping[Path, str], workspace: Workspace, bwrap: Sandbox | None
) -> dict[Path, str]:
    """The roots by names that POV-Ray takes as options, which may be a link's."""
    named: dict[Path, str] = {}
    for root in roots:
        named[root] = places[root]
        if ascii_path(places[root]) != places[root]:
            link = workspace.folder / f"root{len(named)}"
            link.symlink_to(places[root])
            named[root] = f"{_inside(workspace, bwrap)}/{link.name}"
    return named


def _scene_inside(
    scene: Path, places: Mapping[Path, str], workspace: Workspace, bwrap: Sandbox | None
) -> str:
    """The scene file's path to POV-Ray; a copy of one whose name it cannot take."""
    for root, inside in places.items():
        if scene.is_relative_to(root):
            path = f"{inside}/{scene.relative_to(root).as_posix()}".removesuffix("/.")
            if ascii_path(path) == path:
                return path
    copy = workspace.folder / "scene.pov"
    copy.write_bytes(scene.read_bytes())
    return f"{_inside(workspace, bwrap)}/{copy.name}"


def _inside(workspace: Workspace, bwrap: Sandbox | None) -> str:
    """The workspace to POV-Ray."""
    return bwrap.view.workspace if bwrap else str(workspace.folder)


def _environment(
    workspace: Workspace, scene: str, environment: dict[str, str], bwrap: Sandbox | None
) -> dict[str, str]:
    trace = f"{_inside(workspace, bwrap)}/trace"
    library = _LIBRARY_INSIDE if bwrap else str(LIBRARY)
    if any(character in library for character in " :"):
        raise ToolError(f"POV-Ray cannot load {library}: install povstorm in a path without blanks")
    others = environment.get("LD_PRELOAD", "")
    return {
        **environment,
        "LD_PRELOAD": f"{library}:{others}" if others else library,
        "POVSTORM_TRACE": trace,
        "POVSTORM_TRACE_SCENE": scene,
    }


def _command(
    povray: str,
    settings: RenderSettings,
    scene: str,
    libraries: list[str],
    frames: range,
) -> list[str]:
    """POV-Ray's whole loop over the frames, with one pixel each, from the scene's own folders."""
    if min(settings.width, settings.height) < _LEAST_SIDE:
        raise InputError("an image of one column or row cannot be traced: give it 2 at least")
    _, _, _, *words = settings.command(frames[0])
    loop = ("+SF", "+EF", "+L")
    kept = [word for word in words if not word.startswith(loop)]
    if settings.is_animation:
        kept += [f"+SF{frames[0]}", f"+EF{frames[-1]}"]
        kept += [f"+STP{frames.step}"] if frames.step > 1 else []
    kept += [f"+L{quoted(path)}" for path in libraries]
    return [povray, f"+I{quoted(scene)}", *kept, *_ONE_PIXEL]
