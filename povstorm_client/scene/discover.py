"""Find the files that a scene needs, without running it; load_scene calls this.

String constants are followed through declarations, arrays and macro arguments as far as that is
simple (expressions.py). Of a name with gaps that only running the scene fills, all files that it
can mean are taken (names.py).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from povstorm_client.errors import InputError
from povstorm_client.plain_files import read_source
from povstorm_client.scene.accesses import Access, Block, Detour, Mode, Place, Steps
from povstorm_client.scene.expressions import (
    Constants,
    Expression,
    Source,
    evaluate,
    is_frame_constant,
)
from povstorm_client.scene.names import TEXT, can_be_same, has_text_gap, is_any, is_known, shown
from povstorm_client.scene.own_files import TooMuchError
from povstorm_client.scene.sdl import tokens
from povstorm_client.scene.search import ENDINGS, Hit, SearchPath, normal

_IMAGE_USERS = {"image_map", "bump_map", "material_map", "image_pattern", "height_field"}
_KIND_OF_ENDING = {ending: kind for kind, endings in ENDINGS.items() for ending in endings}
_CONDITIONAL = {"#if", "#ifdef", "#ifndef", "#switch", "#macro"}
_LOOPS = {"#while", "#for"}
_BRANCHES = {"#else", "#elseif", "#case", "#range", "#default"}
# Any text that looks like a file name and is one is shipped too: names reach POV-Ray on ways
# (Parse_String, a file that is read) that are not followed here.
_FILE_NAME = re.compile(r"[^\x00-\x1f]{1,200}\.\w{1,8}")
# Meshes are huge and name no files: without any of these a source has nothing to find.
_MAY_NAME_FILES = re.compile(
    r"\"|#\s*include|_map|image_pattern|height_field|df3|ttf|fopen|#\s*macro"
    r"|#\s*version[^;\n]*(?:3\.[89]|[4-9])"
)
# What follows #version, as POV-Ray takes it where it is no more than a number.
_VERSION = re.compile(r"\s*(?:(?:un)?official\s+)?(\d+(?:\.\d*)?|\.\d+)\s*(?:;|\n|#|$)")
# POV-Ray 3.7 compares hundredths, and refuses what is above this (its source/backend/parser).
_OLD_HUNDREDTHS = 370
# A text that is written to a file and included can say anything, but seldom about files.
_CODE_ABOUT_FILES = re.compile(
    r"include|fopen|file_exists|_map|image_pattern|height_field|df3|ttf|\""
)
# Of POV-Ray's own includes, few do more with files than to include each other.
_OPENS_FILES = re.compile(r"fopen|file_exists|\bttf\b")
_INCLUDE = re.compile(r"^\s*#\s*include\s*\"[^\"]+\"", re.MULTILINE)
# What may follow image_map { and is no name.
_NO_NAMES = {"function", "pigment", "gamma"}
# Of the files that a name of which nothing is known can mean, those that are read.
_SOURCES = {".inc", ".pov", ".mac", ".txt", ""}
# Constants found late (a macro's arguments) are known in the next pass; a chain is seldom longer.
_MOST_PASSES = 8


@dataclass(frozen=True)
class Guess:
    """A name of which nothing or little is known, and how many files it can mean."""

    place: Place
    files: int


@dataclass
class SceneFiles:
    """What was found.

    found: local files to ship; used_roots: the search roots that they were found in. hiding:
    name → those of them that a library path has instead of POV-Ray's installation. folders: those
    that the scene asks for, or goes through with ``..``; anchors: further folders that its names
    lead to. missing: names of files that are nowhere; maybe_missing: the same inside of conditions,
    which may never come true. computed: names of which no file is known that they could mean;
    guesses: those that can mean any text. absolute: names that cannot exist elsewhere; linked:
    names that go up out of a link. other_case: names that a file has in other upper and lower case
    only → that file. newer: where it asks, whatever happens, for a POV-Ray above 3.7 → its
    version's hundredths. accesses: what a frame does with files, in order; writes: all statements
    that write.
    """

    found: set[Path] = field(default_factory=set)
    used_roots: set[Path] = field(default_factory=set)
    hiding: dict[str, Path] = field(default_factory=dict)
    folders: set[Path] = field(default_factory=set)
    anchors: set[Path] = field(default_factory=set)
    missing: list[Place] = field(default_factory=list)
    maybe_missing: list[Place] = field(default_factory=list)
    computed: list[Place] = field(default_factory=list)
    guesses: list[Guess] = field(default_factory=list)
    absolute: list[Place] = field(default_factory=list)
    linked: list[Place] = field(default_factory=list)
    other_case: dict[Place, Path] = field(default_factory=dict)
    newer: dict[Place, int] = field(default_factory=dict)
    accesses: list[Access] = field(default_factory=list, compare=False)
    writes: list[Access] = field(default_factory=list, compare=False)


def discover(scene: Path, search: SearchPath, header: str | None = None) -> SceneFiles:
    """All files that a scene needs, itself included; raises InputError if one cannot be read.

    header: POV-Ray's Include_Header, which it reads before the scene.
    """
    constants = Constants()
    sources: dict[Path, Source] = {}
    for attempt in range(1, _MOST_PASSES + 1):
        before = constants.snapshot()
        reader = _Reader(search, constants, sources)
        first = reader.read_header(scene, header) if header else []
        reader.read(scene)
        if constants.snapshot() == before:
            break
        if attempt == _MOST_PASSES - 1:
            constants.doubt_all()
    return _resolve(scene, search, reader, [*first, scene])


class _Reader:
    """One pass through a scene and what it includes: what it does with files."""

    def __init__(
        self, search: SearchPath, constants: Constants, sources: dict[Path, Source]
    ) -> None:
        self.steps = Steps()
        self.read_files: list[Path] = []
        self.code: list[Place] = []  # texts that would do something with files, if they were code
        self.literals: set[str] = set()
        self.newer: dict[Place, int] = {}
        self._search = search
        self._constants = constants
        self._sources = sources
        self._open: list[Block] = []
        self._path = Path()
        self._is_certain = True  # whether a frame comes to this source whatever happens
        self._defined: set[str] = set()

    def read_header(self, scene: Path, name: str) -> list[Path]:
        """Note and read the file that POV-Ray reads before the scene."""
        self._path = normal(scene.parent / "Include_Header")
        place = Place(scene, 0, name)
        self._access("read", "inc", Expression(frozenset({name})), place, is_constant=True)
        return [self._path]

    def read(self, path: Path) -> None:
        """Read a source, once a pass."""
        if path in self.steps.by_target:
            return
        self.steps.by_target[path] = []
        self.read_files.append(path)
        if path not in self._sources:
            self._sources[path] = _load(path, self._search.is_installed(path))
        source = self._sources[path]
        # An include's blocks are its own.
        outer = self._open, self._path
        self._open, self._path = [], path
        for place, token in enumerate(source.tokens):
            if token.kind == "directive":
                self._directive(source, place)
            elif token.kind == "word":
                self._word(source, place)
            elif token.kind == "string" and not self._search.is_installed(path):
                self.literals.add(token.text)
                if _CODE_ABOUT_FILES.search(token.text):
                    self.code.append(Place(path, token.line, f'"{token.text}"'))
        self._open, self._path = outer

    def _note(self, step: Access | Detour) -> None:
        target: Path | str = self._path
        for block in self._open:
            target = block.macro or target
        self.steps.by_target.setdefault(target, []).append(step)

    def _blocks(self) -> tuple[Block, ...]:
        """The open ones, from the innermost macro's body on."""
        macros = [index for index, block in enumerate(self._open) if block.macro]
        blocks = self._open[macros[-1] + 1 :] if macros else self._open
        if macros and (body := self._open[macros[-1]]).is_condition:
            return (body, *blocks)
        return tuple(blocks)

    def _access(
        self, mode: Mode, kind: str, names: Expression, place: Place, *, is_constant: bool
    ) -> None:
        blocks = self._blocks()
        self._note(Access(mode, kind, names.values, place, blocks, is_constant))
        if mode != "read" or kind != "inc":
            return
        hits = [hit for name in sorted(names.values) for hit in _hits(name, kind, self._search)]
        for hit in hits:
            if hit.is_folder or (any(map(is_any, names.values)) and not _may_be_source(hit)):
                continue
            one_of_several = (Block(is_condition=True),) if len(hits) > 1 else ()
            self._note(Detour(hit.path, (*blocks, *one_of_several)))
            was_certain = self._is_certain
            self._is_certain &= not self._open and len(hits) == 1
            self.read(hit.path)
            self._is_certain = was_certain

    def _open_block(self, source: Source, place: int) -> None:
        directive = source.tokens[place].text
        if directive == "#macro" and source.is_kind(place + 1, "word"):
            macro = source.tokens[place + 1].text
            self._constants.define_macro(source, place + 1)
            # Of several bodies the last one counts, whichever that is.
            self._open.append(Block(macro in self._defined, macro))
            self._defined.add(macro)
        else:
            self._open.append(Block(directive in _CONDITIONAL))

    def _directive(self, source: Source, place: int) -> None:
        directive = source.tokens[place].text
        if directive in _CONDITIONAL or directive in _LOOPS:
            self._open_block(source, place)
        elif directive in _BRANCHES:
            if self._open and not self._open[-1].macro:
                self._open[-1] = Block(is_condition=True)
        elif directive == "#end":
            if self._open:
                self._open.pop()
        elif directive == "#include":
            self._need(source, place + 1, "inc")
        elif directive == "#version":
            self._version(source, place)
        elif directive in ("#declare", "#local"):
            self._constants.declare_at(source, place + 1)
        elif directive == "#read":
            self._constants.read_at(source, place + 1)
        elif directive == "#fopen":
            name = evaluate(source, place + 2, self._constants)
            modes: tuple[Mode, ...] = ("write", "append")
            mode: Mode = next((mode for mode in modes if source.is_text(name.end, mode)), "read")
            self._need(source, place + 2, "user", mode)

    def _version(self, source: Source, place: int) -> None:
        given = _VERSION.match(source.text, source.tokens[place].end)
        if given is None or self._open or not self._is_certain:
            return
        hundredths = int(float(given[1]) * 100 + 0.5)
        if hundredths > _OLD_HUNDREDTHS:
            self.newer[Place(source.path, source.line(place), f"#version {given[1]}")] = hundredths

    def _word(self, source: Source, place: int) -> None:
        word = source.tokens[place].text
        if word in _IMAGE_USERS and source.is_text(place + 1, "{"):
            kind = source.tokens[place + 2].text if source.is_kind(place + 2, "word") else ""
            if kind in ENDINGS:
                self._need(source, place + 3, kind)
            elif kind and source.is_kind(place + 3, "string"):  # a type that 3.7 has no more
                self._need(source, place + 3, "user")
            elif kind not in _NO_NAMES:
                self._need(source, place + 2, "")
        elif word in ("df3", "ttf"):
            self._need(source, place + 1, word)
        elif word in ("load_file", "save_file"):  # photons
            self._need(source, place + 1, "user", "read" if word == "load_file" else "write")
        elif word == "file_exists" and source.is_text(place + 1, "("):
            self._need(source, place + 2, "user", "test")
        elif source.is_text(place + 1, "(") and not source.is_text(place - 1, "#macro"):
            self._constants.call_macro(source, place)
            if self._constants.is_macro(word):
                self._note(Detour(word, self._blocks()))

    def _need(self, source: Source, place: int, kind: str, mode: Mode = "read") -> None:
        names = evaluate(source, place, self._constants)
        where = Place(source.path, source.line(place - 1), source.written(place, names.end))
        is_constant = is_frame_constant(source, place, names.end)
        if kind:
            self._access(mode, kind, names, where, is_constant=is_constant)
            return
        # POV-Ray 3.7 tells an image's type by the ending of its name; without one it is a PNG.
        by_kind: dict[str, set[str]] = {}
        for name in names.values:
            by_kind.setdefault(_KIND_OF_ENDING.get(Path(name).suffix, "png"), set()).add(name)
        for ending_kind, of_kind in by_kind.items():
            if len(by_kind) > 1:
                self._open.append(Block(is_condition=True))
            only = Expression(frozenset(of_kind), names.end)
            self._access(mode, ending_kind, only, where, is_constant=is_constant)
            if len(by_kind) > 1:
                self._open.pop()


def _may_be_source(hit: Hit) -> bool:
    """Whether of all files this is one that a scene can include."""
    return hit.path.suffix.casefold() in _SOURCES


def _hits(name: str, kind: str, search: SearchPath) -> list[Hit]:
    """What a name can be, in the user's folders and in POV-Ray's."""
    if is_known(name):
        hit = search.find(name, kind)
        return [hit] if hit else search.find_as_windows(name, kind)
    try:
        return list(search.matching(name, kind))
    except TooMuchError:
        return []


def _resolve(scene: Path, search: SearchPath, reader: _Reader, sources: list[Path]) -> SceneFiles:
    """Look for the files of all accesses."""
    files = SceneFiles(found={scene}, newer=reader.newer)
    finder = _Finder(scene, search, files)
    steps = reader.steps
    everything = [
        step for each in steps.by_target.values() for step in each if isinstance(step, Access)
    ]
    files.writes = [access for access in everything if access.mode in ("write", "append")]
    files.accesses = steps.in_order(sources)
    reached = {access.place for access in files.accesses}
    for access in files.accesses:
        finder.need(access, is_certain=not _is_conditional(access.blocks))
    for access in everything:
        if access.place not in reached:
            finder.need(access, is_certain=False, is_reached=False)
    written = {name for access in files.writes for name in access.names}
    for text in sorted(reader.literals - written):
        finder.take_literal(text)
    if reader.code and _includes_what_it_wrote(files):
        unknown = Access("test", "user", frozenset({TEXT}), reader.code[0])
        finder.need(unknown, is_certain=False)
    return files


def _with_likes(place: Place, others: list[Hit]) -> Place:
    """A name that is no file's, with the files that are called so in other upper or lower case."""
    if not others:
        return place
    likes = " and ".join(hit.path.name for hit in others)
    return replace(
        place, text=f"{place.text} ({likes} are, in other upper and lower case: name one of them)"
    )


def _is_conditional(blocks: tuple[Block, ...]) -> bool:
    return any(block.is_condition for block in blocks)


def _includes_what_it_wrote(files: SceneFiles) -> bool:
    written = {
        name
        for access in files.accesses
        if access.mode in ("write", "append")
        for name in access.names
        if not is_any(name)
    }
    return any(
        access.kind == "inc" and can_be_same(name, other) and not is_any(name)
        for access in files.accesses
        for name in access.names
        for other in written
    )


class _Finder:
    """Sorts the files and the problems of accesses into SceneFiles."""

    def __init__(self, scene: Path, search: SearchPath, files: SceneFiles) -> None:
        self._scene = scene
        self._search = search
        self._files = files
        self._told: set[tuple[str, Place, str]] = set()

    def need(self, access: Access, *, is_certain: bool, is_reached: bool = True) -> None:
        """Note the files of an access by its possible names; of several, not all have to exist.

        is_certain: whether a frame comes to it whatever happens; is_reached: whether anything
        leads to it that is known.
        """
        is_certain = is_certain and len(access.names) == 1
        is_quiet = self._search.is_installed(access.place.file)
        for name in sorted(access.names):
            place = Place(access.place.file, access.place.line, shown(name))
            self._anchor(name)
            if access.mode in ("write", "append"):
                if Path(name).is_absolute():
                    self._tell("absolute", self._files.absolute, place)
            elif is_known(name):
                self._need_known(name, access, place, is_certain, is_quiet)
            elif is_reached:
                self._need_any(name, access)
            elif not has_text_gap(name):
                self._add_all(name, access)

    def take_literal(self, text: str) -> None:
        """Note a file that a text in the scene is the name of."""
        if _FILE_NAME.fullmatch(text) and not Path(text).is_absolute():
            hit = self._search.find(text, "user")
            if hit and hit.root not in self._search.installed and not hit.is_folder:
                self._add(hit, Place(self._scene, 0, text))

    def _tell(self, what: str, places: list[Place], place: Place) -> None:
        if (what, place, "") not in self._told:
            self._told.add((what, place, ""))
            places.append(place)

    def _anchor(self, name: str) -> None:
        """Names that go up keep their places even where there is nothing."""
        if ".." in name.split("/") and not Path(name).is_absolute():
            for root in self._search.own:
                self._files.anchors.add(normal(root / name).parent)

    def _need_known(
        self, name: str, access: Access, place: Place, is_certain: bool, is_quiet: bool
    ) -> None:
        hit = self._search.find(name, access.kind)
        if Path(name).is_absolute() and (hit or is_certain):
            if hit is None or not self._search.is_installed(hit.path):
                self._tell("absolute", self._files.absolute, place)
        elif hit is None or (hit.is_folder and access.mode != "test"):
            if access.mode == "test" or is_quiet or self._is_written(name, access):
                return
            others = self._search.find_as_windows(name, access.kind)
            if len(others) == 1:
                self._add_under_its_name(others[0], place)
                return
            missing = self._files.missing if is_certain else self._files.maybe_missing
            self._tell("missing", missing, _with_likes(place, others))
        elif hit.root not in self._search.installed:
            self._add(hit, place)

    def _add_under_its_name(self, hit: Hit, place: Place) -> None:
        """Ship a file of another name in upper and lower case by the name that the scene has."""
        self._files.hiding[hit.name] = hit.path
        self._files.used_roots.add(hit.root)
        self._files.other_case.setdefault(place, hit.path)

    def _is_written(self, name: str, access: Access) -> bool:
        tried = [name, *(f"{name}{ending}" for ending in ENDINGS[access.kind])]
        return any(
            can_be_same(one, other)
            for written in self._files.writes
            for other in written.names
            if not is_any(other)
            for one in tried
        )

    def _need_any(self, name: str, access: Access) -> None:
        if ("any", access.place, name) in self._told:
            return
        self._told.add(("any", access.place, name))
        if Path(name).is_absolute():
            self._tell("absolute", self._files.absolute, access.place)
            return
        count = self._add_all(name, access)
        is_needed = access.mode == "read" and not self._is_written(name, access)
        if count is None or (count == 0 and is_needed):
            self._tell("computed", self._files.computed, access.place)
        elif has_text_gap(name):
            self._files.guesses.append(Guess(access.place, count))

    def _add_all(self, name: str, access: Access) -> int | None:
        """Note all files that a name can mean; how many, None if that is too many."""
        try:
            hits = [
                hit for hit in self._search.matching(name, access.kind) if hit.path != self._scene
            ]
        except TooMuchError:
            return None
        for hit in hits:
            self._add(hit, access.place)
        return len({hit.path for hit in hits})

    def _add(self, hit: Hit, place: Place) -> None:
        straight = os.path.realpath(hit.path)
        if os.path.realpath(os.path.join(hit.root, hit.name)) != straight:  # noqa: PTH118
            self._tell("linked", self._files.linked, place)
        if hit.is_folder:
            self._files.folders.add(hit.path)
        else:
            self._files.found.add(hit.path)
        self._files.used_roots.add(hit.root)
        parts = hit.name.split("/")
        for index, part in enumerate(parts):
            if part == "..":
                self._files.folders.add(normal(hit.root / "/".join(parts[:index])))
        if self._search.hides_installed(hit):
            self._files.hiding[hit.name] = hit.path


def _load(path: Path, is_installed: bool) -> Source:
    try:
        text = read_source(path)
    except OSError as error:
        raise InputError(f"scene file {path} cannot be read: {error.strerror}") from error
    if is_installed and not _OPENS_FILES.search(text):
        text = "\n".join(_INCLUDE.findall(text))
    return Source(path, text, tuple(tokens(text)) if _MAY_NAME_FILES.search(text) else ())
