"""String expressions of the scene description language, as far as they are constant.

discover asks here for the names that ``#include Name`` or ``ttf concat(A, ".ttf")`` can mean.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from povstorm_client.scene.sdl import Token

_STRING_FUNCTIONS = {
    "concat", "str", "vstr", "chr", "substr", "strupr", "strlwr", "datetime",
}  # fmt: skip
# A text that grows in a loop has no end; one with this many values counts as computed.
_MOST_VALUES = 1_000


@dataclass(frozen=True)
class Expression:
    """The values that an expression can have, and the place of the token after it.

    is_known: whether these are all of them; otherwise only running the scene tells the rest.
    """

    values: frozenset[str] = frozenset()
    end: int = 0
    is_known: bool = True


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

    _values: dict[str, Expression] = field(default_factory=dict)
    _parameters: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _called: set[str] = field(default_factory=set)

    def snapshot(self) -> object:
        """Equal to a later one if nothing was learnt in between."""
        return dict(self._values), dict(self._parameters), set(self._called)

    def value(self, name: str) -> Expression | None:
        """What an identifier can mean; None if nothing says that it is a text."""
        return self._values.get(name)

    def may_be_text(self, name: str) -> bool:
        """Whether a text can begin with this word."""
        return name in self._values or name in _STRING_FUNCTIONS

    def is_called(self, macro: str) -> bool:
        """Whether the scene calls a macro anywhere."""
        return macro in self._called

    def declare_at(self, source: Source, place: int) -> None:
        """``Name = "text"`` or ``Name = array[2] {"one", "two"}``, with the name at place."""
        start = place + 1
        while source.is_text(start, "["):  # Names[1] = "text"
            start = source.closing(start)
        if not source.is_kind(place, "word") or not source.is_text(start, "="):
            return
        name = source.tokens[place].text
        if source.is_text(start + 1, "array"):
            texts = start + 2
            while source.is_text(texts, "["):
                texts = source.closing(texts)
            if source.is_text(texts, "{"):
                inside = source.tokens[texts : source.closing(texts)]
                values = frozenset(token.text for token in inside if token.kind == "string")
                if values:
                    self._add(name, Expression(values))
        elif self._begins_text(source, start + 1):
            value = evaluate(source, start + 1, self)
            if any(source.is_text(index, name) for index in range(start + 1, value.end)):
                value = Expression(is_known=False)  # grows with every turn of a loop
            self._add(name, value)

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
        self._called.add(macro)
        for parameter, start in zip(parameters, source.arguments(place + 1), strict=False):
            if self._begins_text(source, start):
                self._add(parameter, evaluate(source, start, self))

    def _begins_text(self, source: Source, place: int) -> bool:
        return source.is_kind(place, "string") or (
            source.is_kind(place, "word") and self.may_be_text(source.tokens[place].text)
        )

    def _add(self, name: str, expression: Expression) -> None:
        known = self._values.get(name, Expression())
        values = known.values | expression.values
        is_known = known.is_known and expression.is_known and len(values) <= _MOST_VALUES
        self._values[name] = Expression(values if is_known else known.values, 0, is_known)


def evaluate(source: Source, place: int, constants: Constants) -> Expression:
    """The string expression that begins at place."""
    if source.is_kind(place, "string"):
        return Expression(frozenset({source.tokens[place].text}), place + 1)
    if source.is_text(place, "("):
        inner = evaluate(source, place + 1, constants)
        return Expression(inner.values, inner.end + 1, inner.is_known)
    unknown = Expression(end=place + 1, is_known=False)
    if not source.is_kind(place, "word"):
        return unknown
    name = source.tokens[place].text
    if source.is_text(place + 1, "("):
        end = source.closing(place + 1)
        if name == "concat":
            return _joined(source, place + 1, end, constants)
        return Expression(end=end, is_known=False)
    end = place + 1
    while source.is_text(end, "["):
        end = source.closing(end)
    known = constants.value(name)
    return (
        Expression(known.values, end, known.is_known)
        if known
        else Expression(end=end, is_known=False)
    )


def _joined(source: Source, place: int, end: int, constants: Constants) -> Expression:
    joined = frozenset({""})
    for start in source.arguments(place):
        part = evaluate(source, start, constants)
        is_whole = part.end == end - 1 or source.is_text(part.end, ",")
        if not (is_whole and part.is_known) or len(joined) * len(part.values) > _MOST_VALUES:
            return Expression(end=end, is_known=False)
        joined = frozenset(left + right for left in joined for right in part.values)
    return Expression(joined, end)
