"""A terminal as far as progress lines need one: text, cursor, and the pictures that it is shown."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass, field

from PIL import Image

_PICTURES = {
    "kitty": re.compile(r"(?:\x1b_G[^;\x1b]*;[^\x1b]*\x1b\\)+"),
    "iterm": re.compile(r"\x1b\]1337;File=[^\x07\x1b]*\x07"),
    "sixel": re.compile(r"\x1bP[0-9;]*q[^\x1b]*\x1b\\"),
}
_TOKEN = re.compile(
    "|".join(f"(?P<{way}>{pattern.pattern})" for way, pattern in _PICTURES.items())
    + r"|(?P<save>\x1b7)|(?P<restore>\x1b8)|(?P<csi>\x1b\[(?P<args>[?0-9;]*)(?P<verb>[A-Za-z]))"
    r"|(?P<text>[^\x1b])",
    re.DOTALL,
)

_NEXT_LINE = _TOKEN.match("\n")
assert _NEXT_LINE is not None


@dataclass
class Picture:
    """One that was shown: in which rows of all that the terminal ever had, and what it shows."""

    way: str
    row: int
    rows: int
    image: Image.Image


@dataclass
class Screen:
    """What a terminal of so many rows and columns has, its scrollback included."""

    rows: int
    columns: int
    lines: list[str] = field(default_factory=lambda: [""])
    row: int = 0
    column: int = 0
    saved: tuple[int, int] = (0, 0)
    pictures: list[Picture] = field(default_factory=list)
    unread: str = ""

    def feed(self, text: str) -> None:
        """Take what was written; what may be half of a sequence waits for the rest."""
        text, at = self.unread + text, 0
        while at < len(text):
            token = _TOKEN.match(text, at)
            # Kitty's has chunks that are sequences of their own, of which more may follow.
            if token is None or (token["kitty"] and not _last_chunk(token["kitty"])):
                break
            at = token.end()
            self._take(token)
        self.unread = text[at:]

    @property
    def shown(self) -> list[str]:
        """The lines, without what is blank at their ends."""
        return [line.rstrip() for line in self.lines]

    def _take(self, token: re.Match[str]) -> None:
        kind = token.lastgroup or ""
        kind = "csi" if token["csi"] else kind
        if kind in _PICTURES:
            rows, image = _decoded(kind, token[0])
            self.pictures.append(Picture(kind, self.row, rows, image))
        elif kind == "save":
            self.saved = self.row, self.column
        elif kind == "restore":
            self.row, self.column = self.saved
        elif kind == "csi":
            self._control(token["verb"], token["args"])
        elif token[0] == "\n":
            self.row, self.column = self.row + 1, 0
            if self.row == len(self.lines):
                self.lines.append("")
        elif token[0] == "\r":
            self.column = 0
        elif token[0] >= " ":
            if self.column == self.columns:
                self._take(_NEXT_LINE)
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + token[0] + line[self.column + 1 :]
            self.column += 1

    def _control(self, verb: str, args: str) -> None:
        if verb == "A":
            # It goes no further than the terminal's first row.
            self.row = max(len(self.lines) - self.rows, 0, self.row - int(args or 1))
        elif verb == "K":
            assert args == "2"
            self.lines[self.row] = ""
        else:
            assert verb in "mhl", f"not expected: CSI {args}{verb}"


def _last_chunk(kitty: str) -> bool:
    return "m=0;" in kitty[kitty.rindex("\x1b_G") :]


def _decoded(way: str, text: str) -> tuple[int, Image.Image]:
    """In how many rows it is shown, 0 where the terminal goes by pixels, and the image."""
    if way == "kitty":
        chunks = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", text)
        keys = dict(key.split("=") for key in chunks[0][0].split(","))
        assert (keys["a"], keys["f"], keys["C"], keys["q"]) == ("T", "100", "1", "2")
        assert all(len(data) <= 4096 for _, data in chunks)
        data = base64.b64decode("".join(data for _, data in chunks), validate=True)
        return int(keys["r"]), Image.open(io.BytesIO(data), formats=["PNG"])
    if way == "iterm":
        about, _, data = text.removeprefix("\x1b]1337;File=").removesuffix("\x07").partition(":")
        keys = dict(key.split("=") for key in about.split(";"))
        decoded = base64.b64decode(data, validate=True)
        assert (keys["inline"], int(keys["size"])) == ("1", len(decoded))
        return int(keys["height"]), Image.open(io.BytesIO(decoded))
    return 0, _of_sixel(text)


def _of_sixel(text: str) -> Image.Image:
    head = re.match(r'\x1bP0;1;0q"1;1;(\d+);(\d+)', text)
    assert head is not None
    image = Image.new("RGB", (int(head[1]), int(head[2])))
    colours: dict[int, tuple[int, ...]] = {}
    colour, x, y = 0, 0, 0
    body = re.finditer(
        r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)([?-~])|([?-~])|(\$)|(-)", text[head.end() : -2]
    )
    for token in body:
        if token[1]:
            colours[int(token[1])] = tuple(round(int(part) * 2.55) for part in token.group(2, 3, 4))
        elif token[5]:
            colour = int(token[5])
        elif token[9]:
            x = 0
        elif token[10]:
            x, y = 0, y + 6
        else:
            bits, count = ord(token[7] or token[8]) - 63, int(token[6] or 1)
            for bit in range(6):
                if bits >> bit & 1:
                    image.paste(colours[colour], (x, y + bit, x + count, y + bit + 1))
            x += count
    return image
