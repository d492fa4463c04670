"""The words that ini files and command lines are made of; ini.py reads with these.

As POV-Ray 3.7.0.10 reads them (tried): more loosely than its reference says.
"""

from __future__ import annotations

import re
from pathlib import Path

from povstorm_client.errors import InputError

OPTION = re.compile(r"(\w+)[ \t]*=[ \t]*")
QUOTED = re.compile(r"\"([^\"]*)\"|'([^']*)'")
# Unquoted, a value ends at a comment, a quote, a comma or a further switch; blanks may be in it.
VALUE = re.compile(r"(?:[^\s,;#\"']|[ \t]+(?![+-][A-Za-z])(?=[^\s,;#\"']))*")
SWITCH = re.compile(r"[+-][^\s,;#\"'=\[\]]*")
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
        return re.split(
            r"\r\n|\n\r?|\r", path.read_text(encoding="utf-8", errors="surrogateescape")
        )
    except OSError as error:
        raise InputError(f"ini file {path} cannot be read: {error.strerror}") from error


def section_name(name: str) -> str:
    """A section's name as it is compared."""
    return " ".join(name.casefold().split())


def unquoted(value: str) -> str:
    """A value without the quotes around it."""
    match = QUOTED.fullmatch(value)
    return value if match is None else match[1] or match[2] or ""
