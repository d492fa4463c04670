"""What povray_files.c has noted of an animation's frames; for trace_scene and trace_loop."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from povstorm_client.errors import InputError
from povstorm_client.plain_files import check_plain
from render_image.untrusted_files import UntrustedFileError, open_folder, take_files


@dataclass(frozen=True)
class Notes:
    """What one process left: its notes, three texts each, and what it kept, by its names there."""

    texts: tuple[bytes, ...] = ()
    kept: Mapping[str, Path] = field(default_factory=dict)

    @property
    def begun(self) -> int:
        """How many frames have begun."""
        return self.texts[::3].count(b"F")

    @property
    def wrote(self) -> bool:
        """Whether a frame has written anything, anywhere."""
        return not {b"W", b"P"}.isdisjoint(self.texts[::3])


def take_notes(trace: Path, into: Path) -> Notes:
    """The notes of a process that has ended; what it kept is moved into an own folder.

    Raises InputError for what is not what povray_files.c writes.
    """
    into.mkdir()
    try:
        with open_folder(trace) as descriptor:
            taken = take_files(descriptor, into)
    except (OSError, UntrustedFileError) as error:
        raise InputError(f"the scene cannot be traced: {error}") from error
    notes = taken.get("accesses")
    if notes is None:
        return Notes()  # POV-Ray did not come to the scene
    texts = notes.read_bytes().split(b"\0")
    # What follows the last whole note is cut off, or nothing.
    return Notes(tuple(texts[: len(texts) // 3 * 3]), taken)


class Accesses:
    """What povray_files.c has noted so far, by POV-Ray's frames.

    read, sought, images and state are as in Trace, with files here instead of bytes. frame: the
    one that was parsed last, None before the first. scene: the scene file, which every frame reads,
    whatever it is called in the sandbox.
    """

    def __init__(self, roots: Mapping[str, Path], scene: Path) -> None:
        # The innermost first: a path may be below several.
        self._roots = sorted(roots.items(), key=lambda item: len(item[0]), reverse=True)
        self._coming: Iterator[int] = iter(())
        self._has_begun = False  # a frame of the process whose notes are added
        self._here: dict[str, Path | None] = {}
        self.frame: int | None = None
        self.frames_seen = 0
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

    def add(self, notes: Notes, frames: range) -> None:
        """Add what a process noted that was started for these frames, the next in their order.

        Raises InputError for what was not kept, and for a pipe in a file's place.
        """
        self._coming, self._has_begun = iter(frames), False
        texts = notes.texts
        for what, path, kept in zip(texts[::3], texts[1::3], texts[2::3], strict=True):
            self._note(what, os.fsdecode(path), os.fsdecode(kept), notes.kept)

    def _note(self, what: bytes, inside: str, name: str, taken: Mapping[str, Path]) -> None:
        if what == b"F":
            self._has_begun = True
            self.frame = next(self._coming, self.frame)
            self.frames_seen += 1
            if self.frame is not None:
                self._uses[self.frame] = ({0}, set())
            return
        path = self._at_home(inside)
        if path is None:
            return
        if what == b"N":
            check_plain(path)
            raise InputError(f"{path} was a pipe when the scene was run, and is not any more")
        if what == b"I":
            if self.frame is not None:
                self.images.setdefault(self.frame, set()).add(path)
            return
        self.sought.add(path)
        if what in (b"W", b"P"):
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
        # What a process reads as it starts is no frame's. POV-Ray looks for the scene itself before
        # a frame begins, which is the one before here.
        if self._has_begun and self.frame is not None and not str(path).startswith(self._scene):
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
