"""Which names that somebody declares a scene never uses; read_scene warns of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

from povstorm_client.plain_files import read_source
from povstorm_client.scene.sdl import tokens
from povstorm_client.scene.search import can_be_source


def unused_names(names: Sequence[str], files: Iterable[Path]) -> list[str]:
    """A line for each of the names that none of a scene's own files has as a word.

    POV-Ray takes a Declare of any name, so a misspelt one changes nothing. Raises OSError if a
    file cannot be read.
    """
    words: set[str] = set()
    for file in files if names else ():
        if not can_be_source(file):
            continue
        text = read_source(file)
        if "#" in text or any(name in text for name in names):
            words |= {token.text for token in tokens(text) if token.kind == "word"}
        if words.issuperset(names):
            return []
    return [_line(name, words) for name in names if name not in words]


def _line(name: str, words: set[str]) -> str:
    near = difflib.get_close_matches(name, sorted(words), 1)
    folded = [word for word in words if word.casefold() == name.casefold()]
    meant = [*folded, *near][:1]
    guess = f"; did you mean {meant[0]}?" if meant else ""
    return f"no file of the scene uses {name}, so that its values change nothing{guess}"
