"""Parse an animation's frames in POV-Ray's own loop, and note what they do with files.

povstorm_client/launch/trace_process.py runs it as a child process: ``python -P -m
render_image.trace_scene FOLDER``, with the request in FOLDER/request.json, and reads
FOLDER/trace.json and the files that it names. The scene sees its own folders, read-only;
povray_files.c notes what it opens, and lets it seem to write.

One pixel of each frame is rendered, the one in column and row 2: to POV-Ray a 1 is the share of the
image, so that ``+SC1 +EC1`` renders all of it (tried).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from povstorm_client.errors import InputError, PovstormError, RenderError, ToolError
from povstorm_client.frames.render_settings import RenderSettings, quoted
from povstorm_client.programs.sandbox_mode import sandbox_mode_here
from povstorm_client.programs.tools import require_povray
from povstorm_client.scene.ascii_names import ascii_path
from povstorm_client.terminal import print_only_text
from render_image.frame_limits import Limits
from render_image.povray_environment import prepare_environment
from render_image.povray_failure import raise_for_exit
from render_image.process import run_process
from render_image.sandbox import Sandbox, open_sandbox
from render_image.scene_tree import LaidOut
from render_image.stand_in import stand_in
from render_image.untrusted_files import UntrustedFileError, open_folder, take_files
from render_image.workspace import Workspace

LIBRARY = Path(__file__).with_name("libpovrayfiles.so")
_FAILED = 1
# What POV-Ray prints of a frame that it hardly renders takes 3.5 KB (measured).
_LOG_BYTES_PER_FRAME = 16_384
# In the sandbox: where the library is, and what the scene's own folders lie below.
_LIBRARY_INSIDE = "/lib/libpovrayfiles.so"
_SCENE_INSIDE = "/scene"
_ONE_PIXEL = ("+SC2", "+EC2", "+SR2", "+ER2", "-A", "-F")
# The smallest image that has a column and a row 2.
_LEAST_SIDE = 2
_MOST_FAILURES = 20


def main(folder: Path) -> int:
    """Trace what the folder's request asks for; returns 0, or 1 after the reason was printed."""
    print_only_text()
    try:
        request = json.loads((folder / "request.json").read_text("utf-8"))
        asyncio.run(_trace(request, folder))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except PovstormError as error:
        print(error, file=sys.stderr)
        return _FAILED
    return 0


async def _trace(request: Mapping[str, object], folder: Path) -> None:
    povray = await asyncio.to_thread(require_povray)
    if not LIBRARY.is_file():
        raise ToolError(
            "POV-Ray cannot be watched without a C compiler: apt install tcc, then make setup"
        )
    bwrap = await asyncio.to_thread(open_sandbox, povray, sandbox_mode_here())
    settings = RenderSettings.from_json(dict(request["settings"]))  # type: ignore[call-overload]
    roots = [Path(str(root)) for root in request["roots"]]  # type: ignore[attr-defined]
    first, last, step = (int(number) for number in request["frames"])  # type: ignore[attr-defined]
    workspace = _workspace(folder)
    beside = [Path(str(path)) for path in request["beside"]]  # type: ignore[attr-defined]
    places = _places(roots, beside, inside=bwrap is not None)
    named = _links(roots, places, workspace, bwrap)
    scene = _scene_inside(Path(str(request["scene"])), places, workspace, bwrap)
    limits = Limits().for_image(settings.width, settings.height)
    frames = range(first, last + 1, step)
    limits = replace(limits, log_bytes=limits.log_bytes + len(frames) * _LOG_BYTES_PER_FRAME)
    environment = _environment(
        workspace, scene, prepare_environment(workspace, povray, bwrap), bwrap
    )
    images = _inside_of(str(request["images"]), places)
    if settings.is_animation and images:
        standin = _stand_in(workspace, settings)
        environment["POVSTORM_TRACE_STANDIN"] = f"{_inside(workspace, bwrap)}/{standin}"
    aliases = dict(request["aliases"])  # type: ignore[call-overload]
    if aliases:
        environment["POVSTORM_TRACE_ALIASES"] = _aliases(aliases, places, workspace, bwrap)
    started = time.monotonic()
    failures: dict[int, str] = {}
    at_home = {inside: path for known in (places, named) for path, inside in known.items()}
    accesses = Accesses(at_home, frames, Path(str(request["scene"])))
    while frames and len(failures) < _MOST_FAILURES:
        digits = len(settings.image_name(first)) - len(f"frame_{settings.image_ending}")
        begun = {"POVSTORM_TRACE_IMAGES": f"{first} {step} {frames[0]} {digits} {images}"}
        command = _command(str(povray.path), settings, scene, list(named.values()), frames)
        exited = await run_process(
            command,
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
        accesses.take(workspace.folder / "trace", folder / f"taken-{len(failures)}")
        log = workspace.log.read_text("utf-8", errors="replace")
        try:
            raise_for_exit(exited, log, None, limits, workspace.current)
        except RenderError as error:
            broken = accesses.frame if accesses.frame is not None else frames[0]
            failures[broken] = _at_home(str(error), scene, Path(str(request["scene"])), places)
            # A frame that wrote half of what it leaves to the next leaves that anything.
            frames = range(0) if accesses.wrote else range(broken + step, last + 1, step)
            accesses.go_on_from(frames)
        else:
            frames = range(0)
    accesses.refuse_two_names()
    found = {
        "read": sorted(map(str, accesses.read)),
        "sought": sorted(map(str, accesses.sought)),
        "state": {
            str(frame): {str(path): str(kept) for path, kept in files.items()}
            for frame, files in accesses.state.items()
        },
        "paths": accesses.paths(),
        "uses": {str(frame): use for frame, use in accesses.uses().items()},
        "images": {str(frame): sorted(map(str, paths)) for frame, paths in accesses.images.items()},
        "failures": {str(frame): words for frame, words in failures.items()},
        "frames": accesses.frames_seen,
        "is_whole": accesses.frame == range(first, last + 1, step)[-1],
        "seconds": time.monotonic() - started,
    }
    (folder / "trace.json").write_text(json.dumps(found, ensure_ascii=True), "utf-8")


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


class Accesses:
    """What povray_files.c has noted so far, by POV-Ray's frames.

    read, sought, images and state are as in Trace, with files here instead of bytes. frame: the
    one that was parsed last, None before the first; wrote: whether a frame has written anything.
    scene: the scene file, which every frame reads, whatever it is called in the sandbox.
    """

    def __init__(self, roots: Mapping[str, Path], frames: range, scene: Path) -> None:
        # The innermost first: a path may be below several.
        self._roots = sorted(roots.items(), key=lambda item: len(item[0]), reverse=True)
        self._coming: Iterator[int] = iter(frames)
        self._here: dict[str, Path | None] = {}
        self.frame: int | None = None
        self.frames_seen = 0
        self.wrote = False
        self.read: set[Path] = set()
        self.sought: set[Path] = set()
        self.state: dict[int, dict[Path, Path]] = {}
        self.images: dict[int, set[Path]] = {}
        self._scene = str(scene)
        self._written: set[Path] = set()
        # Paths by numbers, as thousands of frames look at the same: frame → read, missed.
        self._numbers: dict[Path, int] = {scene: 0}
        self._uses: dict[int, tuple[set[int], set[int]]] = {}

    def paths(self) -> list[str]:
        """The paths that uses() speaks of, in the order of their numbers."""
        return list(map(str, self._numbers))

    def uses(self) -> dict[int, tuple[list[int], list[int]]]:
        """Frame → the files that it read, and what it looked for that is no file, by number."""
        return {
            frame: (sorted(read), sorted(missed - read))
            for frame, (read, missed) in self._uses.items()
        }

    def go_on_from(self, frames: range) -> None:
        """Take the next frames that begin for these."""
        self._coming = iter(frames)

    def refuse_two_names(self) -> None:
        """InputError if a file is written by one name and used by another, which a link makes.

        povray_files.c tells files by their names, so that the state would not be found again.
        """
        others: dict[str, set[Path]] = {}
        for path in self.sought | self.read:
            others.setdefault(os.path.realpath(path), set()).add(path)
        for path in sorted(self._written):
            for other in sorted(others[os.path.realpath(path)] - {path}):
                raise InputError(
                    f"{path}, which the scene writes, is {other} too, by a link: what frames leave "
                    "each other there cannot be told; have the scene name it in one way, or take "
                    "the link away"
                )

    def take(self, trace: Path, into: Path) -> None:
        """Read the notes of a run that has ended, and take what it kept into an own folder.

        Raises InputError for what was not kept, or is not what povray_files.c writes.
        """
        into.mkdir()
        try:
            with open_folder(trace) as descriptor:
                taken = take_files(descriptor, into)
        except (OSError, UntrustedFileError) as error:
            raise InputError(f"the scene cannot be traced: {error}") from error
        notes = taken.get("accesses")
        if notes is None:
            return  # POV-Ray did not come to the scene
        texts = notes.read_bytes().split(b"\0")
        for what, path, kept in zip(texts[::3], texts[1::3], texts[2::3], strict=False):
            self._note(what, os.fsdecode(path), os.fsdecode(kept), taken)

    def _note(self, what: bytes, inside: str, name: str, taken: Mapping[str, Path]) -> None:
        if what == b"F":
            self.frame = next(self._coming, self.frame)
            self.frames_seen += 1
            if self.frame is not None:
                self._uses[self.frame] = ({0}, set())
            return
        path = self._at_home(inside)
        if path is None:
            return
        if what == b"I":
            if self.frame is not None:
                self.images.setdefault(self.frame, set()).add(path)
            return
        self.sought.add(path)
        if what in (b"W", b"P"):
            self.wrote = True
            self._written.add(path)
        if name and self.frame is not None:
            kept = taken.get(f"kept/{name}")
            if kept is None:
                raise InputError(f"{path}, which frames leave to each other, could not be copied")
            self.state.setdefault(self.frame, {})[path] = kept
        elif what == b"R" and path.is_file():
            self.read.add(path)
            self._note_use(path, is_read=True)
        elif what == b"A" or (what == b"R" and path.is_dir()):
            self._note_use(path, is_read=False)

    def _note_use(self, path: Path, *, is_read: bool) -> None:
        # POV-Ray looks for the scene itself before a frame begins, which is the one before here.
        if self.frame is not None and not str(path).startswith(self._scene):
            number = self._numbers.setdefault(path, len(self._numbers))
            self._uses[self.frame][0 if is_read else 1].add(number)

    def _at_home(self, inside: str) -> Path | None:
        """The file that a path of POV-Ray's is here; None for none of the scene's."""
        if inside not in self._here:
            self._here[inside] = next(
                (
                    root if inside == place else root / inside[len(place) + 1 :]
                    for place, root in self._roots
                    if (inside == place or inside.startswith(f"{place}/"))
                    and ".." not in inside.split("/")
                ),
                None,
            )
        return self._here[inside]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
