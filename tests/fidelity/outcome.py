"""What became of a case: rendered alike, told before rendering that it cannot be, or different."""

from __future__ import annotations

import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from povstorm_client.errors import InputError, RenderError
from povstorm_client.scene.load_scene import Scene, load_scene
from povstorm_client.storage.folder import FolderStorage
from tests.fidelity.cases import Case
from tests.fidelity.compare import by_povray, by_povstorm, differences

# POV-Ray takes some values for a reason to render for ever.
_PATIENCE = 120.0
_MOST_FRAMES = 16

Kind = Literal["equal", "told", "povray fails", "too long", "different"]


@dataclass(frozen=True)
class Outcome:
    """kind, and details: the message that told it, or what differs, a line each."""

    case: Case
    kind: Kind
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        files = "".join(f"--- {name}\n{text}" for name, text in self.case.files)
        return "\n".join([f"{self.kind}: {self.case.words}", *self.details, files])


def outcome(case: Case, folder: Path) -> Outcome:
    """Render a case in an empty folder, both ways."""
    scene_folder = folder / "scene"
    scene_folder.mkdir()
    for name, text in case.files:
        (scene_folder / name).write_text(text)
    first, *others = case.words
    try:
        scene = load_scene(first, switches=others, cwd=scene_folder)
    except InputError as error:
        return Outcome(case, "told", (str(error),))
    if len(scene.frames) > _MOST_FRAMES:
        return Outcome(case, "too long")
    try:
        theirs = by_povray(scene_folder, *case.words, timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        return Outcome(case, "too long")
    except subprocess.CalledProcessError as error:
        return Outcome(
            case, "povray fails", tuple(error.stderr.decode(errors="replace").split("\n"))
        )
    return _compared(case, scene, theirs, FolderStorage(folder / "storage"))


def _compared(case: Case, scene: Scene, theirs: dict[str, Path], storage: FolderStorage) -> Outcome:
    try:
        found = differences(by_povstorm(scene, storage), theirs)
    except RenderError as error:
        found = [f"only povstorm fails: {error}", error.log_tail]
    if found and scene.warnings:
        return Outcome(case, "told", scene.warnings)
    return Outcome(case, "different" if found else "equal", tuple(found))


def outcomes(
    cases: Iterable[Case], *, at_once: int, tell: Callable[[Outcome], None] = lambda _: None
) -> Counter[str]:
    """How many cases there were of each kind; tell is told of each, in the order of the cases."""

    def run(case: Case) -> Outcome:
        with tempfile.TemporaryDirectory(prefix="povstorm-fidelity-") as folder:
            return outcome(case, Path(folder))

    counts: Counter[str] = Counter()
    with ThreadPoolExecutor(at_once) as pool:
        for result in pool.map(run, cases):
            counts[result.kind] += 1
            tell(result)
    return counts
