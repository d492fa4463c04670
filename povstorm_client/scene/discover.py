"""Find the files that a scene needs, without running it; load_scene calls this.

String constants are followed through declarations, arrays and macro arguments as far as that is
simple (expressions.py); a name that only running the scene can tell is reported as computed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from povstorm_client.errors import InputError
from povstorm_client.scene.expressions import Constants, Expression, Source, evaluate
from povstorm_client.scene.sdl import tokens
from povstorm_client.scene.search import ENDINGS, Hit, SearchPath

_IMAGE_USERS = {"image_map", "bump_map", "material_map", "image_pattern", "height_field"}
_KIND_OF_ENDING = {ending: kind for kind, endings in ENDINGS.items() for ending in endings}
_CONDITIONAL = {"#if", "#ifdef", "#ifndef", "#switch", "#macro"}
_LOOPS = {"#while", "#for"}
# Any text that looks like a file name and is one is shipped too: names reach POV-Ray on ways
# (parse_string, file_exists, macros of standard includes) that are not followed here.
_FILE_NAME = re.compile(r"[^\x00-\x1f]{1,200}\.\w{1,8}")
# Meshes are huge and name no files: without any of these a source has nothing to find.
_MAY_NAME_FILES = re.compile(
    r"\"|#\s*include|_map|image_pattern|height_field|df3|ttf|fopen|#\s*macro"
)
# Constants found late (a macro's arguments) are known in the next pass; a chain is seldom longer.
_MOST_PASSES = 5


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

    found: local files to ship; used_roots: the search roots that they were found in. shadowing:
    name → those of them that POV-Ray's installation has too. missing: names of files that are
    nowhere; maybe_missing: the same inside of conditions and macros, which may never come true.
    computed: names that only running the scene can tell; absolute: names that cannot exist
    elsewhere.
    """

    found: set[Path] = field(default_factory=set)
    used_roots: set[Path] = field(default_factory=set)
    shadowing: dict[str, Path] = field(default_factory=dict)
    missing: list[Place] = field(default_factory=list)
    maybe_missing: list[Place] = field(default_factory=list)
    computed: list[Place] = field(default_factory=list)
    absolute: list[Place] = field(default_factory=list)

    def add(self, hit: Hit, search: SearchPath) -> None:
        """Note a file to ship."""
        self.found.add(hit.path)
        self.used_roots.add(hit.root)
        if search.shadows_installed(hit):
            self.shadowing[hit.name] = hit.path


def discover(scene: Path, search: SearchPath, header: str | None = None) -> SceneFiles:
    """All files that a scene needs, itself included; raises InputError if one cannot be read.

    header: POV-Ray's Include_Header, which it reads before the scene.
    """
    constants = Constants()
    sources: dict[Path, Source] = {}
    for _ in range(_MOST_PASSES):
        before = constants.snapshot()
        reader = _Reader(search, constants, sources)
        reader.files.found.add(scene)
        if header:
            place = Place(scene, 0, f"Include_Header={header}")
            reader.need(Expression(frozenset({header})), "inc", place, conditional=False)
        reader.read(scene)
        if constants.snapshot() == before:
            break
    return reader.files


class _Reader:
    """One pass through a scene and what it includes."""

    def __init__(
        self, search: SearchPath, constants: Constants, sources: dict[Path, Source]
    ) -> None:
        self.files = SceneFiles()
        self._search = search
        self._constants = constants
        self._sources = sources
        self._read: set[Path] = set()
        self._written: set[str] = set()
        self._macros: list[str | None] = []  # open blocks; the macro's name where it is one
        self._conditions: list[bool] = []

    def read(self, path: Path) -> None:
        if path in self._read:
            return
        self._read.add(path)
        if path not in self._sources:
            self._sources[path] = _load(path)
        source = self._sources[path]
        # An include's blocks are its own; that it is included under a condition counts for it.
        outer = self._macros, self._conditions
        self._macros, self._conditions = [], [any(self._conditions)]
        for place, token in enumerate(source.tokens):
            if token.kind == "directive":
                self._directive(source, place)
            elif token.kind == "word":
                self._word(source, place)
            elif token.kind == "string" and token.text not in self._written:
                self._literal(token.text)
        self._macros, self._conditions = outer

    def need(self, names: Expression, kind: str, place: Place, *, conditional: bool) -> None:
        """Note a file by its possible names; of several, not all have to be there."""
        if not names.is_known and not self._is_unused_macro():
            self.files.computed.append(place)
        conditional = conditional or len(names.values) > 1 or not names.is_known
        for name in sorted(names.values):
            self._need_one(name, kind, Place(place.file, place.line, name), conditional)

    def _need_one(self, name: str, kind: str, place: Place, conditional: bool) -> None:
        hit = self._search.find(name, kind)
        if Path(name).is_absolute() and (hit or not conditional):
            if hit is None or not self._search.is_installed(hit.path):
                self.files.absolute.append(place)
        elif hit is None:
            if name not in self._written:
                (self.files.maybe_missing if conditional else self.files.missing).append(place)
        elif hit.root not in self._search.installed:
            self.files.add(hit, self._search)
            if kind == "inc":
                self.read(hit.path)

    def _literal(self, text: str) -> None:
        if _FILE_NAME.fullmatch(text) and not Path(text).is_absolute():
            hit = self._search.find(text, "user")
            if hit and hit.root not in self._search.installed:
                self.files.add(hit, self._search)

    def _directive(self, source: Source, place: int) -> None:
        directive = source.tokens[place].text
        if directive in _CONDITIONAL or directive in _LOOPS:
            is_macro = directive == "#macro" and source.is_kind(place + 1, "word")
            self._macros.append(source.tokens[place + 1].text if is_macro else None)
            self._conditions.append(directive in _CONDITIONAL)
            if is_macro:
                self._constants.define_macro(source, place + 1)
        elif directive == "#end":
            if self._macros:
                self._macros.pop()
                self._conditions.pop()
        elif directive == "#include":
            self._need(source, place + 1, "inc")
        elif directive in ("#declare", "#local"):
            self._constants.declare_at(source, place + 1)
        elif directive == "#fopen":
            name = evaluate(source, place + 2, self._constants)
            if source.is_text(name.end, "read"):
                self._need(source, place + 2, "user")
            else:
                self._written |= name.values

    def _word(self, source: Source, place: int) -> None:
        word = source.tokens[place].text
        if word in _IMAGE_USERS and source.is_text(place + 1, "{"):
            kind = source.tokens[place + 2].text if source.is_kind(place + 2, "word") else ""
            if kind in ENDINGS:
                self._need(source, place + 3, kind)
            elif source.is_kind(place + 2, "string") or self._constants.may_be_text(kind):
                self._need(source, place + 2, "")
        elif word in ("df3", "ttf"):
            self._need(source, place + 1, word)
        elif word == "load_file":  # photons
            self._need(source, place + 1, "user")
        elif source.is_text(place + 1, "(") and not source.is_text(place - 1, "#macro"):
            self._constants.call_macro(source, place)

    def _need(self, source: Source, place: int, kind: str) -> None:
        names = evaluate(source, place, self._constants)
        where = Place(source.path, source.line(place - 1), source.written(place, names.end))
        conditional = any(self._conditions)
        if kind:
            self.need(names, kind, where, conditional=conditional)
            return
        # POV-Ray 3.7 tells an image's type by the ending of its name; without one it is a PNG.
        for ending_kind in {_KIND_OF_ENDING.get(Path(name).suffix, "png") for name in names.values}:
            of_kind = {
                name
                for name in names.values
                if _KIND_OF_ENDING.get(Path(name).suffix, "png") == ending_kind
            }
            only = Expression(frozenset(of_kind), names.end, is_known=True)
            several = len(names.values) > 1
            self.need(only, ending_kind, where, conditional=conditional or several)
        if not names.is_known:
            self.need(Expression(end=names.end, is_known=False), "png", where, conditional=True)

    def _is_unused_macro(self) -> bool:
        return any(name and not self._constants.is_called(name) for name in self._macros)


def _load(path: Path) -> Source:
    try:
        # POV-Ray reads bytes; Latin-1 keeps every one of them.
        text = path.read_text(encoding="latin-1")
    except OSError as error:
        raise InputError(f"scene file {path} cannot be read: {error.strerror}") from error
    return Source(path, text, tuple(tokens(text)) if _MAY_NAME_FILES.search(text) else ())
