"""Find the files that a scene needs, without running it; load_scene calls this.

As POV-Ray 3.7.0.10 does (tried): a name is looked for in the current folder, then in the library
paths in their order, never beside the file that includes it; and once more with the usual file
endings appended.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from povstorm_client.errors import InputError
from povstorm_client.scene.sdl import Token, tokens

_IMAGE_USERS = {"image_map", "bump_map", "material_map", "image_pattern", "height_field"}
_IMAGE_TYPES = {
    "gif": ".gif", "tga": ".tga", "iff": ".iff", "pot": ".pot", "png": ".png", "pgm": ".pgm",
    "ppm": ".ppm", "jpeg": ".jpg", "tiff": ".tif", "exr": ".exr", "hdr": ".hdr", "sys": ".bmp",
}  # fmt: skip
_CONDITIONAL = {"#if", "#ifdef", "#ifndef", "#switch", "#macro"}
_LOOPS = {"#while", "#for"}


@dataclass(frozen=True)
class Place:
    """Where a scene names a file: the scene file, the line, and the name or expression."""

    file: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


@dataclass
class SceneFiles:
    """What was found.

    found: local files to ship; used_roots: the search roots that they were found in. missing:
    names of files that are nowhere; maybe_missing: the same inside of conditions, which may never
    hold; computed: names that only running the scene can tell; absolute: names that cannot exist
    elsewhere.
    """

    found: set[Path] = field(default_factory=set)
    used_roots: set[Path] = field(default_factory=set)
    missing: list[Place] = field(default_factory=list)
    maybe_missing: list[Place] = field(default_factory=list)
    computed: list[Place] = field(default_factory=list)
    absolute: list[Place] = field(default_factory=list)


@dataclass(frozen=True)
class SearchPath:
    """Folders to look in, in order; files of the system ones are POV-Ray's and are not shipped."""

    roots: tuple[Path, ...]
    system: tuple[Path, ...]

    def find(self, name: str, endings: Sequence[str] = ()) -> tuple[Path, Path] | None:
        """The file (not resolved, but normalised) and the root that it was found in."""
        for root in (*self.roots, *self.system):
            for ending in ("", *endings, *(ending.upper() for ending in endings)):
                path = Path(os.path.normpath(root / f"{name}{ending}"))
                if path.is_file():
                    return path, root
        return None

    def is_system(self, path: Path) -> bool:
        """Whether the file lies in POV-Ray's own installation."""
        return any(path.is_relative_to(root) for root in self.system)


def discover(scene: Path, search: SearchPath) -> SceneFiles:
    """All files that a scene needs, itself included; raises InputError if one cannot be read."""
    reader = _Reader(search)
    reader.files.found.add(scene)
    reader.read(scene)
    return reader.files


class _Reader:
    """Reads a scene and what it includes, remembering the string constants declared so far."""

    def __init__(self, search: SearchPath) -> None:
        self.files = SceneFiles()
        self._search = search
        self._constants: dict[str, set[str] | None] = {}
        self._read: set[Path] = set()

    def read(self, path: Path) -> None:
        if path in self._read:
            return
        self._read.add(path)
        try:
            # POV-Ray reads bytes; Latin-1 keeps every one of them.
            source = path.read_text(encoding="latin-1")
        except OSError as error:
            raise InputError(f"scene file {path} cannot be read: {error.strerror}") from error
        _FileReader(self, path, list(tokens(source))).read()

    def declare(self, name: str, values: set[str] | None) -> None:
        known = self._constants.get(name, set())
        self._constants[name] = None if known is None or values is None else known | values

    def constant(self, name: str) -> set[str] | None:
        return self._constants.get(name)

    def knows(self, name: str) -> bool:
        return name in self._constants

    def need(
        self, names: set[str], endings: Sequence[str], place: Place, *, conditional: bool
    ) -> None:
        """Note a file by its possible names; several (of several declarations) need not all be."""
        conditional = conditional or len(names) > 1
        for name in sorted(names):
            self._need_one(name, endings, Place(place.file, place.line, name), conditional)

    def _need_one(self, name: str, endings: Sequence[str], place: Place, conditional: bool) -> None:
        hit = self._search.find(name, endings)
        if hit is None:
            (self.files.maybe_missing if conditional else self.files.missing).append(place)
            return
        path, root = hit
        if self._search.is_system(path):
            return
        if Path(name).is_absolute():
            self.files.absolute.append(place)
            return
        self.files.found.add(path)
        self.files.used_roots.add(root)
        if ".inc" in endings:
            self.read(path)


class _FileReader:
    """Walks through the tokens of one file."""

    def __init__(self, reader: _Reader, path: Path, found: list[Token]) -> None:
        self._reader = reader
        self._path = path
        self._tokens = found
        self._blocks: list[bool] = []

    def read(self) -> None:
        for place, token in enumerate(self._tokens):
            if token.kind == "directive":
                self._directive(place, token)
            elif token.kind == "word":
                self._word(place, token)

    def _directive(self, place: int, token: Token) -> None:
        if token.text in _CONDITIONAL:
            self._blocks.append(True)
        elif token.text in _LOOPS:
            self._blocks.append(False)
        elif token.text == "#end":
            if self._blocks:
                self._blocks.pop()
        elif token.text == "#include":
            self._need(place + 1, (".inc", ".pov"))
        elif token.text in ("#declare", "#local"):
            self._declare(place)
        elif token.text == "#fopen":
            end = self._expression(place + 2)[1]
            if self._is(end, "word", "read"):
                self._need(place + 2, ())

    def _word(self, place: int, token: Token) -> None:
        if token.text in _IMAGE_USERS and self._is(place + 1, "sign", "{"):
            kind = self._tokens[place + 2] if place + 2 < len(self._tokens) else None
            if kind is not None and kind.kind == "word" and kind.text in _IMAGE_TYPES:
                self._need(place + 3, (_IMAGE_TYPES[kind.text],))
            elif kind is not None and (kind.kind == "string" or self._reader.knows(kind.text)):
                self._need(place + 2, ())
        elif token.text == "df3":
            self._need(place + 1, (".df3",))
        elif token.text == "ttf":
            self._need(place + 1, (".ttf",))

    def _declare(self, place: int) -> None:
        if not self._is(place + 2, "sign", "="):
            return
        name = self._tokens[place + 1].text
        first = self._tokens[place + 3] if place + 3 < len(self._tokens) else None
        is_text = first is not None and (
            first.kind == "string"
            or (first.kind == "word" and (first.text in _STRINGS or self._reader.knows(first.text)))
        )
        if is_text:
            self._reader.declare(name, self._expression(place + 3)[0])

    def _need(self, place: int, endings: Sequence[str]) -> None:
        names, end = self._expression(place)
        written = " ".join(
            f'"{token.text}"' if token.kind == "string" else token.text
            for token in self._tokens[place:end]
        )
        line = self._tokens[place - 1].line
        where = Place(self._path, line, written)
        if names is None:
            self._reader.files.computed.append(where)
        else:
            self._reader.need(names, endings, where, conditional=any(self._blocks))

    def _expression(self, place: int) -> tuple[set[str] | None, int]:
        """The values that a string expression can have, None if only running it tells; its end."""
        token = self._tokens[place] if place < len(self._tokens) else None
        values: set[str] | None = None
        end = place + 1
        if token is None:
            end = place
        elif token.kind == "string":
            values = {token.text}
        elif token.kind == "sign" and token.text == "(":
            values, inner_end = self._expression(place + 1)
            end = inner_end + 1
        elif token.kind == "word" and self._is(place + 1, "sign", "("):
            end = self._closing(place + 1)
            values = self._concatenation(place + 2, end) if token.text == "concat" else None
        elif token.kind == "word":
            values = self._reader.constant(token.text)
        return values, end

    def _concatenation(self, place: int, end: int) -> set[str] | None:
        """The values of the arguments from ``place`` to the closing bracket, joined."""
        joined = {""}
        while place < end - 1:
            values, after = self._expression(place)
            if values is None or not (after == end - 1 or self._is(after, "sign", ",")):
                return None
            joined = {start + rest for start in joined for rest in values}
            place = after + 1
        return joined

    def _closing(self, place: int) -> int:
        depth = 0
        for index in range(place, len(self._tokens)):
            token = self._tokens[index]
            if token.kind == "sign":
                depth += {"(": 1, ")": -1}.get(token.text, 0)
            if depth == 0:
                return index + 1
        return len(self._tokens)

    def _is(self, place: int, kind: str, text: str) -> bool:
        return place < len(self._tokens) and (
            self._tokens[place].kind == kind and self._tokens[place].text == text
        )


_STRINGS = {"concat", "str", "vstr", "chr", "substr", "strupr", "strlwr", "datetime"}
