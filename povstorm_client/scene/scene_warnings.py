"""What a user should know of a scene that is rendered all the same; for load_scene."""

from __future__ import annotations

from pathlib import Path

from povstorm_client.scene.accesses import Access
from povstorm_client.scene.carried import Carried
from povstorm_client.scene.carried_state import shoots_photons
from povstorm_client.scene.discover import SceneFiles
from povstorm_client.scene.names import can_be_same, has_text_gap, is_any, shown
from povstorm_client.scene.scene_settings import method_warnings
from povstorm_client.scene.scene_sources import SceneSources
from povstorm_client.scene.search import candidates, normal
from povstorm_client.scene.trace import Trace
from povstorm_client.scene.tree import (
    SceneTree,
    writes_outside,
)

_PHOTONS = (
    "the scene shoots photons: POV-Ray's own loop goes on with their random numbers from frame to "
    "frame, here each frame begins them anew, as its +SFn +EFn does; caustics can differ by some "
    "levels from the second frame on (docs/fidelity.md)"
)


def scene_warnings(
    sources: SceneSources,
    needed: SceneFiles,
    tree: SceneTree,
    carried: list[Carried],
    trace: Trace | None,
    *,
    is_one: bool,
) -> list[str]:
    """A line for each; carried: what frames might leave to each other and will not be left.

    trace: what running the scene showed, if it was run.
    """
    left = {file for files in trace.state.values() for file in files} if trace else set()
    told = [
        *sources.settings.warnings,
        *method_warnings(sources.settings),
        *(sources.numbered.warnings() if sources.numbered else ()),
        *_warnings(needed, has_extra=bool(sources.extra)),
        *_warnings_of_losses(needed, sources.base, left),
        *_warnings_of_writes(needed, sources.base, carried, is_one=is_one or trace is not None),
    ]
    if not is_one and shoots_photons(tree.files.values()):
        told.append(_PHOTONS)
    return told


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


def _warnings_of_losses(needed: SceneFiles, base: Path, left: set[Path]) -> list[str]:
    """What nobody sees again; left: files that frames were seen to go on from."""
    read = {
        candidate
        for access in needed.accesses
        if access.mode == "read"
        for name in access.names
        if not is_any(name)
        for candidate in candidates(name, access.kind)
    }

    def is_lost(name: str) -> bool:
        path = str(normal(base / name))
        return not (
            any(can_be_same(path, str(file)) for file in left)
            or any(can_be_same(path, str(normal(base / other))) for other in read)
        )

    writes = writes_outside(_writes(needed), base)
    lost = [access for access in writes if any(map(is_lost, access.names))]
    if not lost:
        return []
    return [f"{_first(lost)} is written, but not kept: only what a scene writes into ./output is"]


def _writes(needed: SceneFiles) -> list[Access]:
    reached = {access.place for access in needed.accesses}
    return [access for access in needed.writes if access.place in reached]


def _warnings_of_writes(
    needed: SceneFiles, base: Path, carried: list[Carried], *, is_one: bool
) -> list[str]:
    told = []
    writes = _writes(needed)
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
