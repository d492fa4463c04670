"""String expressions of the scene description language, as far as they are constant.

discover asks here for the names that ``#include Name`` or ``ttf concat(A, ".ttf")`` can mean.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from povstorm_client.scene.names import NUMBER, TEXT, is_known
from povstorm_client.scene.sdl import Token

_STRING_FUNCTIONS = {
    "concat", "str", "vstr", "chr", "substr", "strupr", "strlwr", "datetime",
}  # fmt: skip
# A text that grows in a loop has no end; one with this many values can be any.
_MOST_VALUES = 1_000
_ANY = frozenset({TEXT})
# The same all through a frame: the scene cannot declare them.
_FRAME_CONSTANTS = {
    "clock", "clock_delta", "clock_on", "frame_number", "initial_clock", "initial_frame",
    "final_clock", "final_frame",
}  # fmt: skip


@dataclass(frozen=True)
class Expression:
    """The values that an expression can have, and the place of the token after it.

    They are all that it can have, with gaps (names.py) for what only running the scene tells.
    """

    values: frozenset[str] = frozenset()
    end: int = 0

    @property
    def is_known(self) -> bool:
        """Whether none of the values has a gap."""
        return all(map(is_known, self.values))


@dataclass(frozen=True)
class Source:
    """A scene file, read: its text and its tokens. Places count tokens."""

    path: Path
    text: str
    tokens: tuple[Token, ...]

    def is_kind(self, place: int, kind: str) -> bool:
        """Whether there is a token of that kind."""
        return 0 <= place < len(self.tokens) and self.tokens[place].kind == kind

    def is_text(self, place: int, text: str) -> bool:
        """Whether a token other than a string is this one."""
        return (
            0 <= place < len(self.tokens)
            and self.tokens[place].text == text
            and self.tokens[place].kind != "string"
        )

    def line(self, place: int) -> int:
        """The line of a token, from 1."""
        return self.tokens[place].line

    def written(self, place: int, end: int) -> str:
        """The tokens up to end as they stand in the file, on one line."""
        last = min(end, len(self.tokens)) - 1
        if last < place:
            return ""
        return " ".join(self.text[self.tokens[place].start : self.tokens[last].end].split())

    def closing(self, place: int) -> int:
        """The place after the bracket that closes the one at place."""
        depth = 0
        for index in range(place, len(self.tokens)):
            if self.tokens[index].kind == "sign":
                depth += {"(": 1, "{": 1, "[": 1, ")": -1, "}": -1, "]": -1}.get(
                    self.tokens[index].text, 0
                )
            if depth == 0:
                return index + 1
        return len(self.tokens)

    def arguments(self, place: int) -> list[int]:
        """Where the arguments begin, of a list whose opening bracket is at place."""
        end = self.closing(place) - 1
        starts, index = [], place + 1
        while index < end:
            starts.append(index)
            while index < end and not self.is_text(index, ","):
                is_opening = self.is_text(index, "(") or self.is_text(index, "{")
                index = self.closing(index) if is_opening else index + 1
            index += 1
        return starts


@dataclass
class Constants:
    """What identifiers of a scene can mean: strings declared, and arguments of its macros.

    One set for the whole scene: scopes are not followed, so a name means all that it ever does.
    """

    _values: dict[str, frozenset[str]] = field(default_factory=dict)
    _parameters: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _declared: set[str] = field(default_factory=set)
    # Names that may be a text which is not in _values.
    _unsure: set[str] = field(default_factory=set)

    def snapshot(self) -> object:
        """Equal to a later one if nothing was learnt in between."""
        return dict(self._values), dict(self._parameters), set(self._declared), set(self._unsure)

    def value(self, name: str) -> frozenset[str] | None:
        """What an identifier can mean; None if nothing says that it is a text."""
        values = self._values.get(name)
        return values if values is None or name not in self._unsure else values | _ANY

    def doubt_all(self) -> None:
        """Take every identifier for any text."""
        self._unsure |= self._values.keys()

    def may_be_text(self, name: str) -> bool:
        """Whether a text can begin with this word."""
        return name in self._values or name in _STRING_FUNCTIONS

    def is_macro(self, name: str) -> bool:
        """Whether the scene, or what it includes, defines a macro of that name."""
        return name in self._parameters

    def declare_at(self, source: Source, place: int) -> None:
        """``Name = "text"`` or ``Name = array[2] {"one", "two"}``, with the name at place."""
        start = place + 1
        while source.is_text(start, "["):  # Names[1] = "text"
            start = source.closing(start)
        if not source.is_kind(place, "word") or not source.is_text(start, "="):
            return
        name = source.tokens[place].text
        self._declared.add(name)
        if source.is_text(start + 1, "array"):
            texts = start + 2
            while source.is_text(texts, "["):
                texts = source.closing(texts)
            if source.is_text(texts, "{"):
                self._add_array(name, source, texts)
        else:
            self._assign(name, source, start + 1)

    def read_at(self, source: Source, place: int) -> None:
        """``(File, One, Two)`` after ``#read``, with the bracket at place."""
        for start in source.arguments(place)[1:]:
            if source.is_kind(start, "word"):
                self._unsure.add(source.tokens[start].text)

    def define_macro(self, source: Source, place: int) -> None:
        """``Name(One, Two)`` after ``#macro``, with the name at place."""
        if source.is_text(place + 1, "("):
            self._parameters[source.tokens[place].text] = tuple(
                source.tokens[start].text for start in source.arguments(place + 1)
            )

    def call_macro(self, source: Source, place: int) -> None:
        """``Name("a.png", 2)``, with the name at place; nothing if it is no macro's."""
        macro = source.tokens[place].text
        parameters = self._parameters.get(macro)
        if parameters is None:
            return
        starts = source.arguments(place + 1)
        if "<" in source.written(place + 1, source.closing(place + 1)):
            # Commas of vectors look like those between arguments: each may be any parameter's.
            pairs = [(parameter, start) for parameter in parameters for start in starts]
        else:
            pairs = list(zip(parameters, starts, strict=False))
        for parameter, start in pairs:
            self._assign(parameter, source, start)
            # Parameters are references: what the macro declares, its caller's identifier is.
            if parameter in self._declared and source.is_kind(start, "word"):
                self._unsure.add(source.tokens[start].text)

    def _assign(self, name: str, source: Source, place: int) -> None:
        """Note the value at place as one that the name can have."""
        if self._begins_text(source, place):
            value = evaluate(source, place, self)
            if value.end == place + 1 and source.is_text(place, name):
                return  # one macro's parameter handed on to another's of the same name
            grows = any(source.is_text(index, name) for index in range(place, value.end))
            self._add(name, _ANY if grows else value.values)
        elif self._may_be_text(source, place):
            self._unsure.add(name)

    def _begins_text(self, source: Source, place: int) -> bool:
        while source.is_text(place, "("):
            place += 1
        return source.is_kind(place, "string") or (
            source.is_kind(place, "word") and self.may_be_text(source.tokens[place].text)
        )

    def _may_be_text(self, source: Source, place: int) -> bool:
        """Whether what begins at place can give a text: a macro, or one of two under a condition.

        POV-Ray's own functions are written in lower case.
        """
        if source.is_kind(place, "directive"):
            return True
        if not source.is_kind(place, "word"):
            return False
        word = source.tokens[place].text
        return self.is_macro(word) or (word != word.lower() and source.is_text(place + 1, "("))

    def _add_array(self, name: str, source: Source, place: int) -> None:
        inside = source.tokens[place : source.closing(place)]
        self._add(name, frozenset(token.text for token in inside if token.kind == "string"))
        words = {token.text for token in inside if token.kind == "word"}
        if any(self.may_be_text(word) or self.is_macro(word) for word in words):
            self._unsure.add(name)

    def _add(self, name: str, values: frozenset[str]) -> None:
        if values:
            values |= self._values.get(name, frozenset())
            self._values[name] = values if len(values) <= _MOST_VALUES else _ANY


def is_frame_constant(source: Source, place: int, end: int) -> bool:
    """Whether the expression has the same value wherever it stands in a frame."""
    return all(
        token.kind in ("string", "sign") or token.text in _STRING_FUNCTIONS | _FRAME_CONSTANTS
        for token in source.tokens[place:end]
    )


def evaluate(source: Source, place: int, constants: Constants) -> Expression:
    """The string expression that begins at place."""
    if source.is_kind(place, "string"):
        token = source.tokens[place]
        is_coded = "\\u" in source.text[token.start : token.end]
        return Expression(_ANY if is_coded else frozenset({token.text}), place + 1)
    if source.is_text(place, "("):
        inner = evaluate(source, place + 1, constants)
        return Expression(inner.values, inner.end + 1)
    if not source.is_kind(place, "word"):
        return Expression(_ANY, place + 1)
    name = source.tokens[place].text
    if source.is_text(place + 1, "("):
        return _called(name, source, place + 1, constants)
    end = place + 1
    while source.is_text(end, "["):
        end = source.closing(end)
    known = constants.value(name)
    return Expression(_ANY if known is None else known, end)


def _called(name: str, source: Source, place: int, constants: Constants) -> Expression:
    """What a function or macro gives, with the bracket of its arguments at place."""
    end = source.closing(place)
    if name == "concat":
        return _joined(source, place, end, constants)
    if name in ("strupr", "strlwr"):
        return _in_case(source, place, end, constants, is_upper=name == "strupr")
    return Expression(frozenset({NUMBER}) if name == "str" else _ANY, end)


def _joined(source: Source, place: int, end: int, constants: Constants) -> Expression:
    joined = frozenset({""})
    for start in source.arguments(place):
        part = evaluate(source, start, constants)
        is_whole = part.end == end - 1 or source.is_text(part.end, ",")
        values = part.values if is_whole else _ANY
        if len(joined) * len(values) > _MOST_VALUES:
            return Expression(_ANY, end)
        joined = frozenset(left + right for left in joined for right in values)
    return Expression(joined, end)


def _in_case(
    source: Source, place: int, end: int, constants: Constants, *, is_upper: bool
) -> Expression:
    inner = evaluate(source, place + 1, constants)
    if inner.end != end - 1 or not inner.is_known:
        return Expression(_ANY, end)
    return Expression(
        frozenset(name.upper() if is_upper else name.lower() for name in inner.values), end
    )
