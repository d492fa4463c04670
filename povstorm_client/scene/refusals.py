"""What load_scene refuses of a scene, each with the lines that it is about."""

from __future__ import annotations

from collections.abc import Sequence

from povstorm_client.errors import InputError
from povstorm_client.programs.tools import series_here
from povstorm_client.scene.accesses import Place
from povstorm_client.scene.carried import Carried
from povstorm_client.scene.discover import SceneFiles
from povstorm_client.scene.search import SearchPath
from povstorm_client.scene.tree import (
    folders_missing,
    refuse_crooked,
)


def refuse_missing(needed: SceneFiles, search: SearchPath) -> None:
    """Raise InputError for files that are nowhere, and names that cannot be kept elsewhere."""
    if needed.absolute:
        raise InputError(
            "the scene names files by absolute paths, which exist on this machine only; make them "
            "relative to the scene:\n" + listed(needed.absolute)
        )
    refuse_crooked(needed.linked)
    if missing := folders_missing(needed.accesses, search.roots[0]):
        raise InputError(
            f"the scene writes into folders that are not there, which POV-Ray cannot; make them "
            f"below {search.roots[0]}:\n" + listed(missing)
        )
    if needed.missing:
        folders = ", ".join(str(root) for root in search.roots if root not in search.installed)
        raise InputError(
            f"the scene needs files that are not there; looked in {folders} and POV-Ray's own "
            "include folders. Add them, or name their folder with +LFOLDER:\n"
            + listed(needed.missing)
        )


def refuse_newer(needed: SceneFiles) -> None:
    """Raise InputError where the scene asks for a newer POV-Ray than the one that renders here."""
    first, second = series_here()
    for place, hundredths in needed.newer.items():
        if hundredths > first * 100 + second * 10:
            raise InputError(
                f"{place} asks for a newer POV-Ray than {first}.{second}, which renders here: name "
                f"one with --povray PATH, or write #version {first}.{second} if the scene uses "
                "nothing newer"
            )


def refuse_computed(needed: SceneFiles, has_extra: bool) -> None:
    """Raise InputError for names that only running the scene tells, unless files were added."""
    if needed.computed and not has_extra:
        raise InputError(
            "the scene computes names of files, which cannot be told without running it; add the "
            "files with --include PATH (a file or a folder):\n" + listed(needed.computed)
        )


def refuse_carried(carried: list[Carried]) -> None:
    """Raise InputError if frames leave files to each other."""
    if carried:
        raise InputError(
            "the scene reads in one frame what another frame writes, but every frame has a "
            "workspace of its own, where it would not find it; write the file anew in each frame "
            "before it is read, or render with POV-Ray's own loop:\n" + listed(carried)
        )


def listed(places: Sequence[Place | Carried]) -> str:
    """A line for each place."""
    return "\n".join(f"  {place}" for place in places)
