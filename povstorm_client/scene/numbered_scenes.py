"""Numbered .pov files, one a frame, as simulations export them: ``'step_*.pov'``; load_scene asks.

Each file is a still of its own, so that its clock is 0 and its pixels are those of ``povray FILE``.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path

from povstorm_client.errors import InputError
from povstorm_client.frames.ranges import check_frame_count, frame_ranges
from povstorm_client.scene.discover import SceneFiles

# What would make a loop of them, which they are not.
_LOOP = (
    *("initial_frame", "final_frame", "initial_clock", "final_clock", "clock", "frame_step"),
    *("subset_start_frame", "subset_end_frame"),
)
_NUMBER = re.compile(r"(\d+)\D*$")


@dataclass(frozen=True)
class NumberedScenes:
    """name: what their names have in common. files: frame number → scene file, ascending."""

    name: str
    files: dict[int, Path]

    @property
    def gaps(self) -> list[int]:
        """The numbers between the first and the last that have no file."""
        numbers = list(self.files)
        return sorted(set(range(numbers[0], numbers[-1])) - set(numbers))

    def warnings(self) -> list[str]:
        """What its user should know."""
        if not self.gaps:
            return []
        return [
            f"there is no file with {frame_ranges(self.gaps)}: the video goes on without a pause"
        ]


def is_pattern(word: str) -> bool:
    """Whether a word is a pattern for scene files, such as a shell would fill in."""
    return word.casefold().endswith(".pov") and ("*" in word or "?" in word)


def names_scenes(word: str, here: Path) -> bool:
    """Whether a whole word, blanks in it included, is a pattern that names any file."""
    return is_pattern(word) and any((here / word).parent.glob(Path(word).name))


def find_numbered(pattern: str, here: Path) -> NumberedScenes:
    """The files that a pattern names, by the last number in each name.

    Raises InputError for none, for a name without a number, and for two with the same.
    """
    folder = (here / pattern).parent
    name = Path(pattern).name
    if "*" in str(Path(pattern).parent) or "?" in str(Path(pattern).parent):
        raise InputError(f"{pattern} has a pattern for folders: give one for file names")
    found: dict[int, Path] = {}
    for path in sorted(folder.glob(name)):
        match = _NUMBER.search(path.stem)
        if match is None:
            raise InputError(
                f"{path} has no number in its name, which would tell its frame: give a pattern "
                "that leaves it out"
            )
        number = int(match[1])
        if number in found:
            raise InputError(
                f"{found[number].name} and {path.name} are both frame {number}: rename one, or "
                "give a pattern that leaves it out"
            )
        found[number] = path
    if not found:
        raise InputError(f"no file is named like {pattern}: check the pattern and the folder")
    check_frame_count(len(found))
    ordered = dict(sorted(found.items()))
    first = next(iter(ordered.values()))
    common = _NUMBER.sub("", first.stem).rstrip("_-. ")
    return NumberedScenes(common or folder.resolve().name or "frames", ordered)


def refuse_loop(values: set[str]) -> None:
    """Raise InputError for settings of an animation loop, by their keys."""
    if wrong := sorted(values.intersection(_LOOP)):
        raise InputError(
            f"{wrong[0].title()} makes a loop of one scene, and numbered files are a scene each: "
            "leave it out; --frames chooses among them"
        )


def in_several(each: list[SceneFiles]) -> set[Path]:
    """The files that more than one of several scenes need."""
    counted = Counter(file for files in each for file in files.found)
    return {file for file, scenes in counted.items() if scenes > 1}


def merged(each: list[SceneFiles]) -> SceneFiles:
    """What several scenes need together."""
    if len(each) == 1:
        return each[0]
    whole = SceneFiles()
    for field in fields(SceneFiles):
        into = getattr(whole, field.name)
        if isinstance(into, list):
            into.extend(
                dict.fromkeys(item for files in each for item in getattr(files, field.name))
            )
        else:
            for files in each:
                into.update(getattr(files, field.name))
    return whole
