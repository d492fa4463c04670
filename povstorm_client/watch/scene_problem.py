"""SceneProblem: why a scene cannot be drawn, where in its files, for the page's overlay."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from povstorm_client.errors import InputError
from povstorm_client.plain_files import open_plain
from povstorm_client.scene.load_scene import Scene

# POV-Ray's own, as povray_output.failure_line has it; the path is relative to its current folder.
_POVRAYS = re.compile(r"File '(?P<file>[^\n]+?)' line (?P<line>\d+): (?P<words>.*)", re.DOTALL)
# povstorm's, of ini files and scenes.
_OURS = re.compile(r"(?P<file>[^\n:]+):(?P<line>\d+): (?P<words>.*)", re.DOTALL)
_AROUND = 3
_MOST_BYTES = 8 << 20
_MOST_CHARACTERS = 240
_MOST_WORDS = 4000


@dataclass(frozen=True)
class SceneProblem:
    """An error. where: file and line, for people; lines: number, text, whether it is the one.

    note: what else there is to say.
    """

    where: str
    words: str
    lines: Sequence[tuple[int, str, bool]] = ()
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """As the page takes it."""
        return {
            "where": self.where,
            "words": self.words[:_MOST_WORDS],
            "lines": [list(line) for line in self.lines],
            "note": self.note,
        }

    @property
    def line(self) -> str:
        """In one line."""
        return " ".join(f"{self.where}: {self.words}".split())


def problem_of_frame(error: str, frame: int, scene: Scene, here: Path) -> SceneProblem:
    """What POV-Ray said of a frame; here: names are told from there."""
    note = f"In frame {frame}."
    found = _POVRAYS.search(error)
    if found is None:
        return SceneProblem(f"Frame {frame}", error, note="")
    number = int(found["line"])
    file = _local(found["file"], scene)
    if file is None:
        return SceneProblem(f"{found['file']}, line {number}", found["words"], note=note)
    return SceneProblem(_where(file, number, here), found["words"], _excerpt(file, number), note)


def problem_of_scene(error: str, name: str, here: Path) -> SceneProblem:
    """What is wrong with a scene before POV-Ray sees it; name: what was asked for."""
    found = _OURS.match(error)
    if found is None:
        return SceneProblem(name, error)
    file, number = Path(found["file"]), int(found["line"])
    return SceneProblem(_where(file, number, here), found["words"], _excerpt(file, number))


def _local(name: str, scene: Scene) -> Path | None:
    """The file here that POV-Ray names; None if that can't be told.

    It names files as seen from its current folder, those below a library path as they were found,
    and numbered scenes are not among what frames share.
    """
    path = posixpath.normpath(posixpath.join(scene.settings.folder, name))
    if path in scene.files:
        return scene.files[path]
    ending = "/" + posixpath.normpath(name).lstrip("./")
    found = {
        file
        for place, file in scene.files.items()
        if f"/{place}".endswith(ending) or ending.endswith(f"/{place}")
    }
    found |= {file for file in scene.sources if str(file).endswith(ending)}
    return found.pop() if len(found) == 1 else None


def _where(file: Path, number: int, here: Path) -> str:
    shown = file.relative_to(here) if file.is_relative_to(here) else file
    return f"{shown}, line {number}"


def _excerpt(file: Path, number: int) -> list[tuple[int, str, bool]]:
    """The line with its neighbours; nothing where the file cannot be read any more."""
    try:
        with open_plain(file) as opened:
            text = opened.read(_MOST_BYTES).decode("utf-8", errors="replace")
    except (InputError, OSError):
        return []
    lines = text.splitlines()
    first = max(1, number - _AROUND)
    return [
        (at, lines[at - 1][:_MOST_CHARACTERS], at == number)
        for at in range(first, min(len(lines), number + _AROUND) + 1)
    ]
