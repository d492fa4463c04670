"""What povstorm writes to a terminal is text: the CLI and what it starts print through this.

Scenes, POV-Ray, ffmpeg, Prefect, storages and file names choose words that end up there. Nothing in
them moves the cursor, colours, renames or hides anything.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from rich.console import Console

# Controls (C0, DEL, C1), formats (bidi overrides, zero widths), surrogates, private and unassigned
# characters, line and paragraph separators.
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
# Letters, marks and symbols without a picture of their own: the rest of Unicode's
# Default_Ignorable_Code_Point, and the empty braille pattern.
_BLANK = frozenset(
    chr(code)
    for codes in (
        *((0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),),
        *(range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0)),
    )
    for code in codes
)


def printable(text: object) -> str:
    """The text with a ``?`` for each character that is no picture, apart from newline and tab.

    So does ``ls`` with file names on a terminal (GNU coreutils, ``-q``).
    """
    words = str(text)
    if words.isascii() and words.isprintable():
        return words
    return "".join(map(_shown, words))


def one_line(text: object) -> str:
    """The same, in a single line."""
    return " ".join(printable(text).split())


def _shown(character: str) -> str:
    if character in "\n\t":
        return character
    category = unicodedata.category(character)
    if category == "Zs":
        return " "
    return "?" if category in _HIDDEN or character in _BLANK else character


class PlainTextStream:
    """A text stream in place of ``sys.stdout`` or ``sys.stderr``, which writes what is printable.

    rich, whose own escapes are wanted, finds the stream itself by ``rich_proxied_file``.

    may_be_unread: whether what is written goes nowhere once its reader has gone; else that is a
    BrokenPipeError, as of any stream.
    """

    def __init__(self, stream: TextIO, *, may_be_unread: bool = False) -> None:
        self.rich_proxied_file = stream
        self.may_be_unread = may_be_unread

    def write(self, text: str) -> int:
        """Write the text; its length is returned, as the caller knows it."""
        if not isinstance(text, str):
            raise TypeError(f"a text stream takes no {type(text).__name__}")
        with self._perhaps_unread():
            self.rich_proxied_file.write(printable(text))
        return len(text)

    def flush(self) -> None:
        """Have all that was written go out."""
        with self._perhaps_unread():
            self.rich_proxied_file.flush()

    @contextmanager
    def _perhaps_unread(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            if not self.may_be_unread:
                raise
            # What the stream still holds goes there too.
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.rich_proxied_file.fileno())
            os.close(null)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write all of them."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the stream has
        return getattr(self.rich_proxied_file, name)


def print_only_text() -> None:
    """Have all that this process prints, whoever prints it, shown as text from now on.

    A terminal that cannot show a character is given its number. What is said on standard error
    keeps no command from its work where nobody reads it any more.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, PlainTextStream):
            continue
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, PlainTextStream(stream, may_be_unread=name == "stderr"))


def work_unread() -> None:
    """Have this process go on where nobody reads its output any more: it has other work than that.

    For commands that render; others end, as `head` wants it.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, PlainTextStream):
            stream.may_be_unread = True


def plain_console(*, stderr: bool = False) -> Console:
    """A rich console for foreign text: no markup in it, and no escapes but rich's own."""
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class PlainTextConsole(Console):
        """Segments that are no controls of rich's are text, whatever they say."""

        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                if segment.control:
                    yield segment
                else:
                    yield Segment(printable(segment.text), segment.style)

    stream = sys.stderr if stderr else sys.stdout
    return PlainTextConsole(
        file=cast("TextIO", getattr(stream, "rich_proxied_file", stream)),
        highlight=False,
        markup=False,
        emoji=False,
    )
