"""Tell whether POV-Ray's own loop would carry something from frame to frame that is lost here.

load_scene asks, to warn before anything is rendered. Tried with POV-Ray 3.7.0.10: the random
numbers of photons go on from frame to frame of one process, a step for each frame that shot some.
Radiosity, area lights, media, subsurface light, focal blur and seed() begin anew in each frame.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from povstorm_client.plain_files import read_source
from povstorm_client.scene.sdl import Token, tokens
from povstorm_client.scene.search import can_be_source

# The words of the photons blocks of objects and lights, which shoot none by themselves.
_OF_OBJECTS = {
    *("target", "collect", "refraction", "reflection", "pass_through", "area_light"),
    *("on", "off", "yes", "no", "true", "false"),
}


def shoots_photons(files: Iterable[Path]) -> bool:
    """Whether one of a scene's files has a photons block such as global_settings takes.

    Blocks that cannot be told from it count too. Raises OSError if a file cannot be read.
    """
    return any(_has_photon_settings(file) for file in files)


def _has_photon_settings(file: Path) -> bool:
    if not can_be_source(file):
        return False
    text = read_source(file)
    if "photons" not in text:
        return False
    found = list(tokens(text))
    return any(
        token.kind == "word" and token.text == "photons" and _is_global(found, place + 1)
        for place, token in enumerate(found)
    )


def _is_global(found: list[Token], place: int) -> bool:
    if place >= len(found) or found[place].text != "{":
        return False
    depth = 0
    for token in found[place:]:
        depth += {"{": 1, "}": -1}.get(token.text, 0)
        if depth == 0:
            return False
        if token.kind == "directive" or (token.kind == "word" and token.text not in _OF_OBJECTS):
            return True
    return False
