"""The words that ini files and command lines are made of; ini.py reads with these.

As POV-Ray 3.7.0.10 reads them (tried): more loosely than its reference says.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from povstorm_client.errors import InputError
from povstorm_client.plain_files import read_plain

OPTION = re.compile(r"(\w+)[ \t]*=[ \t]*")
QUOTED = re.compile(r"\"([^\"]*)\"|'([^']*)'")
_PLAIN = re.compile(r"[^\s,;#\"']*")
_REST = re.compile(r"[^;#]*")
_AFTER_BLANKS = re.compile(r"[ \t]+(?:$|[;#,]|[+-][A-Za-z]|(?P<key>[^\s,;#\"'=\[\]]*))")
SWITCH = re.compile(r"[+-][^\s,;#\"'=\[\]]*")
_ITEM = re.compile(r"(?:\"[^\"]*\"|'[^']*'|\[[^\]]*\]|[^ \t])+")
_BEGINS_SWITCH = re.compile(r"[+-][A-Za-z]")
_FILE_OF_SETTINGS = re.compile(r".*\.(?:pov|ini)(?:\[[^\]]*\])*", re.IGNORECASE)
WORD = re.compile(r"[^\s,;#\"'=\[\]]+(?:\[[^\]]*\])*")


def split_sections(path: str) -> tuple[str, tuple[str, ...]]:
    """``FILE.ini[one][two]`` in its parts."""
    match = re.fullmatch(r"(.*?)((?:\[[^\[\]]*\])*)", path, re.DOTALL)
    if match is None:
        return path, ()
    return match[1], tuple(re.findall(r"\[([^\[\]]*)\]", match[2]))


def lines(path: Path) -> list[str]:
    """An ini file's lines; raises InputError if it cannot be read."""
    try:
        text = read_plain(path).decode("utf-8", errors="surrogateescape")
    except OSError as error:
        raise InputError(f"ini file {path} cannot be read: {error.strerror}") from error
    return re.split(r"\r\n|\n\r?|\r", text)


def plain_value(text: str, position: int, is_key: Callable[[str], bool]) -> str:
    """An unquoted value that begins at a position.

    It ends at a blank, unless something other than a comment, a comma, a switch or a further key
    follows: then POV-Ray takes all the rest of the line.
    """
    match = _PLAIN.match(text, position)
    assert match is not None  # noqa: S101 - it matches an empty text, too
    after = _AFTER_BLANKS.match(text, match.end())
    if after is None or after["key"] is None or is_key(after["key"]):
        return match[0]
    rest = _REST.match(text, position)
    assert rest is not None  # noqa: S101
    return rest[0].rstrip()


def options_of_word(word: str, is_key: Callable[[str], bool]) -> list[str]:
    """The options and files of one word of a shell's, which POV-Ray takes apart at its blanks.

    A blank in quotes or in a section's name is none. What POV-Ray would refuse, since neither
    option nor scene nor ini file follows the blank, stays in one: ``+Lmy folder``.
    """
    beginnings: list[int] = []
    for item in _ITEM.finditer(word):
        option = OPTION.match(word, item.start())
        is_option = option is not None and is_key(option[1])
        is_beginning = (
            is_option or _BEGINS_SWITCH.match(item[0]) or _FILE_OF_SETTINGS.fullmatch(item[0])
        )
        if not beginnings or is_beginning:
            beginnings.append(item.start())
    return [word[a:b].strip(" \t") for a, b in pairwise([*beginnings, len(word)])]


def section_name(name: str) -> str:
    """A section's name as it is compared."""
    return " ".join(name.casefold().split())


def unquoted(value: str) -> str:
    """A value without the quotes around it."""
    match = QUOTED.fullmatch(value)
    return value if match is None else match[1] or match[2] or ""
