"""Tokens of POV-Ray's scene description language, as far as finding file names needs them.

discover reads scenes through this; POV-Ray 3.7 reference, section 3.3 "Scene Description Language".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

_TOKEN = re.compile(
    r"""
    (?P<comment>//[^\n]*|/\*)
    | (?P<string>"(?:[^"\\]|\\.)*")
    | (?P<directive>\#\s*[A-Za-z]+)
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<number><[-+.,\d\seE]*>,?|\d*\.?\d+(?:[eE][-+]?\d+)?|[-+<>*.;])
    | (?P<sign>\S)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)

Kind = Literal["string", "directive", "word", "sign"]


class Token(NamedTuple):
    """kind and text; a string's text is without quotes and escapes, a directive's without blanks.

    line counts from 1; start and end are offsets in the source.
    """

    kind: Kind
    text: str
    line: int
    start: int
    end: int


def tokens(source: str) -> Iterator[Token]:
    """The tokens of a scene file, without comments (which nest), numbers and operators."""
    place, line = 0, 1
    while match := _TOKEN.search(source, place):
        line += source.count("\n", place, match.start())
        start, place = match.span()
        text = match[0]
        match match.lastgroup:
            case "comment":
                if text == "/*":
                    place = _comment_end(source, place)
            case "string":
                unescaped = _ESCAPE.sub(r"\1", text[1:-1])
                yield Token("string", unescaped, line, start, place)
            case "directive":
                yield Token("directive", "".join(text.split()).casefold(), line, start, place)
            case "word" | "sign" as kind:
                yield Token(kind, text, line, start, place)
        line += source.count("\n", start, place)


def _comment_end(source: str, place: int) -> int:
    depth = 1
    while depth and (edge := _COMMENT_EDGE.search(source, place)):
        depth += 1 if edge[0] == "/*" else -1
        place = edge.end()
    return len(source) if depth else place
