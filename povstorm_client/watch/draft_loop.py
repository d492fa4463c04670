"""DraftLoop: from a save to the frames that it changes; ``povstorm watch`` runs it.

A save stops what is in work, the scene is read again, and the frames whose content is another are
drawn, first the one that its user looks at, then those that lie far apart. When all are there, the
scene is run in the background to see which files each frame uses, so that the next save draws those
alone that it concerns.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from povstorm_client.errors import InputError, PovstormError, ToolError
from povstorm_client.frames.spread import bisected
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.launch.draft_process import DraftedFrame, DraftProcess
from povstorm_client.programs.sandbox_mode import SandboxMode
from povstorm_client.scene.load_scene import Scene
from povstorm_client.watch.draft_feed import DraftFeed
from povstorm_client.watch.draft_folder import MOST_BYTES, DraftFolder
from povstorm_client.watch.file_watch import FileWatch
from povstorm_client.watch.known_frames import Draft, KnownFrames, SharedTree
from povstorm_client.watch.scene_problem import problem_of_frame, problem_of_scene

# Of a scene that cannot be parsed its first, last and middle frame tell it.
_TELLING_FAILURES = 3
# Between looks for a save while the scene is read.
_LOOK_SECONDS = 0.05
# Saved files that a line names.
_NAMED = 3
# A read that finds further files is done again with those followed.
_READS = 5


class _SavedAgainError(Exception):
    """The scene was saved while it was read."""


class ReadScene(Protocol):
    """Reads the scene as its options describe it.

    always_trace: whether to run it even where reading it is enough; stop ends that. warn is told
    what its user should know. Raises InputError for what is wrong with it.
    """

    def __call__(
        self, *, always_trace: bool, stop: threading.Event, warn: Callable[[str], None]
    ) -> Scene:
        """Read it."""
        ...


@dataclass
class _Turn:
    """What a save came to."""

    number: int
    scene: Scene
    tree: SharedTree
    drafts: Sequence[Draft]
    what: str
    waiting: set[int] = field(default_factory=set)
    drawn: int = 0
    failed: int = 0


class DraftLoop:
    """Reads, draws and watches. say: tells a person what became of a save, in a line."""

    def __init__(
        self,
        read: ReadScene,
        name: str,
        here: Path,
        folder: DraftFolder,
        feed: DraftFeed,
        say: Callable[[str], None],
    ) -> None:
        self._read_scene = read
        self._name = name
        self._here = here
        self._folder = folder
        self._feed = feed
        self._say = say
        self._files = FileWatch()
        self._known = KnownFrames()
        # Guards what the drawing process's thread and the trace's touch as well.
        self._lock = threading.RLock()
        self._turn: _Turn | None = None
        self._numbers = 0
        self._process: DraftProcess | None = None
        self._stop = threading.Event()
        self._ended = ""
        self._stop_trace = threading.Event()
        self._traces: list[threading.Thread] = []
        self._can_trace = True

    def open(self) -> None:
        """Read the scene for the first time; raises InputError for what is wrong with it."""
        while True:
            try:
                self._begin("opened", time.time())
            except _SavedAgainError:
                # Nobody waits for it, who would be told.
                self._files.take()
                continue
            return

    def run(self, sandbox: SandboxMode) -> None:
        """Draw and watch until this is interrupted; ToolError if drawing is not possible."""
        self._process = DraftProcess(
            self._folder.storage.uri,
            self._folder.folder,
            sandbox=sandbox,
            on_frame=self._took,
            on_end=self._end,
        )
        try:
            self._draw()
            while (changed := self._files.wait(self._stop)) is not None:
                self._saved(changed)
            raise ToolError(self._ended)
        finally:
            self._stop_tracing()
            self._process.close()

    def _end(self, reason: str) -> None:
        self._ended = reason
        self._stop.set()

    def _saved(self, changed: Sequence[Path]) -> None:
        found = time.time()
        if changed:
            self._give_way()
        what = _words(changed)
        try:
            self._begin(what, _moment(changed, found))
        except _SavedAgainError:
            return  # which wait() tells next
        except (PovstormError, OSError) as error:
            problem = problem_of_scene(str(error), self._name, self._here)
            self._feed.cannot_read(problem)
            self._say(f"{what}: {problem.line}")

    def _give_way(self) -> None:
        """Stop what is in work, at once."""
        with self._lock:
            self._numbers += 1
            turn, self._turn = self._turn, None
            if self._process is not None:
                self._process.draw(self._numbers, [])
            self._stop_trace.set()
        if turn is not None and turn.waiting:
            self._say(f"{turn.what}: {turn.drawn} frames, then it was saved again")

    def _begin(self, what: str, saved: float) -> None:
        """Read the scene, and find what of it is known. Raises InputError, _SavedAgainError."""
        notes: list[str] = []
        scene = self._read(notes)
        tree = self._folder.lay_out(scene.files)
        with self._lock:
            drafts = self._known.drafts(scene, tree)
            versions = [draft.version for draft in drafts]
            before = self._turn
            if before is not None and not self._feed.is_in_trouble:
                # Nothing was saved, but a name has come or gone in one of the folders.
                if versions == [draft.version for draft in before.drafts]:
                    return
                self._give_way()
            self._known.shown(versions)
            results = [self._known.drawn(version) for version in versions]
            self._numbers += 1
            waiting = {at for at, result in enumerate(results) if result is None}
            self._turn = _Turn(self._numbers, scene, tree, drafts, what, waiting)
            self._folder.forget(self._known.forget_beyond(MOST_BYTES, versions))
            self._feed.begin(drafts, results, what=what, saved=saved, notes=notes)
        self._draw()

    def _read(self, notes: list[str]) -> Scene:
        for _ in range(_READS):
            notes.clear()
            with self._given_up_for_a_save() as stop:
                scene = self._read_scene(always_trace=False, stop=stop, warn=notes.append)
            if not self._files.follow(_files_of(scene)):
                break
        if scene.links:
            raise InputError(
                "the frames of this scene go on from each other's images, so that none can be "
                "drawn by itself: `povstorm render --preview` renders them in order"
            )
        return scene

    @contextmanager
    def _given_up_for_a_save(self) -> Iterator[threading.Event]:
        """An event that is set as soon as a file is saved: a scene that has to be run takes long.

        Raises _SavedAgainError then.
        """
        stop, done = threading.Event(), threading.Event()

        def look() -> None:
            while not done.wait(_LOOK_SECONDS):
                if self._files.has_changed():
                    stop.set()
                    return

        looking = threading.Thread(target=look)
        looking.start()
        try:
            yield stop
        except PovstormError as error:
            if stop.is_set():
                raise _SavedAgainError from error
            raise
        finally:
            done.set()
            looking.join()
        if stop.is_set():
            raise _SavedAgainError

    def _draw(self) -> None:
        with self._lock:
            turn = self._turn
            if turn is None or self._process is None:
                return
            units = [turn.drafts[at].unit for at in sorted(turn.waiting)]
            self._process.draw(turn.number, drawing_order(units, self._feed.looked_at))
            if not turn.waiting:
                self._finish(turn)

    def _took(self, frame: DraftedFrame) -> None:
        """A frame was drawn, or cannot be; called from the drawing process's thread."""
        with self._lock:
            turn = self._turn
            if turn is None or frame.turn != turn.number:
                return
            at = next(at for at, draft in enumerate(turn.drafts) if draft.unit.frame == frame.frame)
            turn.waiting.discard(at)
            if frame.result is not None:
                turn.drawn += 1
                self._known.add(turn.drafts[at], frame.result)
                self._feed.drew(at, turn.drafts[at], frame.result)
            else:
                turn.failed += 1
                problem = problem_of_frame(frame.error, frame.frame, turn.scene, self._here)
                if turn.failed == 1:
                    self._say(f"{turn.what}: {problem.line}")
                self._feed.fail(at, problem)
                if turn.failed >= _TELLING_FAILURES and not turn.drawn and turn.waiting:
                    turn.waiting.clear()
                    self._feed.give_up()
                    if self._process is not None:
                        self._process.draw(turn.number, [])
            if not turn.waiting:
                self._finish(turn)

    def _finish(self, turn: _Turn) -> None:
        """All frames of a save are there."""
        if turn.failed:
            return
        took = self._feed.took
        first, last = took or (0.0, 0.0)
        told = f"the first after {first:.2f} s, all after {last:.2f} s" if took else "all known"
        self._say(f"{turn.what}: {turn.drawn} of {len(turn.drafts)} frames drawn, {told}")
        is_exact = all(draft.is_exact for draft in turn.drafts)
        if self._can_trace and len(turn.drafts) > 1 and not (is_exact or turn.scene.scenes):
            # What an earlier one learns is of another turn, and nobody else could stop it any more.
            self._stop_trace.set()
            self._stop_trace = threading.Event()
            tracing = threading.Thread(target=self._learn, args=(turn, self._stop_trace))
            self._traces = [each for each in self._traces if each.is_alive()] + [tracing]
            tracing.start()

    def _learn(self, turn: _Turn, stop: threading.Event) -> None:
        """See which files the frames use, for the next save."""
        try:
            scene = self._read_scene(always_trace=True, stop=stop, warn=lambda _words: None)
            tree = self._folder.digests(scene.files)
        except (PovstormError, OSError):
            return  # all frames are drawn at the next save, and what is wrong is told then
        with self._lock:
            if self._turn is not turn or stop.is_set():
                return
            if scene.trace is None:
                self._can_trace = False
                self._say("each save draws all frames here: `povstorm doctor` says what is missing")
            # What was saved meanwhile may be what was traced.
            elif tree == turn.tree.digests:
                self._known.learn(turn.drafts, scene.uses, turn.tree)
                self._say(f"{len(scene.uses)} frames run, to know which files each of them uses")

    def _stop_tracing(self) -> None:
        with self._lock:
            # From now on no trace begins.
            self._turn = None
            self._stop_trace.set()
        for each in self._traces:
            each.join()


def drawing_order(units: Sequence[WorkUnit], looked_at: int) -> list[WorkUnit]:
    """The frame that somebody looks at first, then those that lie far apart; units: ascending."""
    first = [unit for unit in units if unit.frame == looked_at]
    return first + [unit for unit in bisected(units) if unit.frame != looked_at]


def _files_of(scene: Scene) -> Iterable[Path]:
    return {*scene.files.values(), *scene.sources}


def _words(changed: Sequence[Path]) -> str:
    if not changed:
        return "a file came or went"
    more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
    return ", ".join(path.name for path in changed[:_NAMED]) + more + " saved"


def _moment(changed: Sequence[Path], found: float) -> float:
    """When the files were saved: by their own times, where those are of the last second."""
    times = []
    for path in changed:
        try:
            times.append(path.stat().st_mtime)
        except OSError:
            continue
    newest = max(times, default=found)
    return newest if found - 1.0 < newest <= found else found
