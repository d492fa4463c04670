"""Small pictures in the terminals that can show them: which can, and what to write there.

The progress line shows a job's last frame so. Three ways are spoken: kitty's graphics protocol,
iTerm2's inline images, and sixel. No terminal is asked what it can: an answer that comes late would
be typed at the shell, and what the user types meanwhile would be lost.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from povstorm_client.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

Way = Literal["kitty", "iterm", "sixel"]
VARIABLE = "POVSTORM_TERMINAL_PICTURE"
_WAYS: tuple[Way, ...] = ("kitty", "iterm", "sixel")
_TERMS: dict[str, Way] = {
    "xterm-kitty": "kitty",
    "xterm-ghostty": "kitty",
    "foot": "sixel",
    "foot-extra": "sixel",
    "mlterm": "sixel",
    "contour": "sixel",
    "contour-latest": "sixel",
}
_PROGRAMS: dict[str, Way] = {"ghostty": "kitty", "iTerm.app": "iterm", "WezTerm": "iterm"}
# The first Konsole with sixel is 22.04 (https://konsole.kde.org/changelogs/22.04.html).
_KONSOLE = 220400
# Between the program and the terminal they draw the screen themselves.
_MULTIPLEXERS = ("TMUX", "STY", "ZELLIJ")
# https://sw.kovidgoyal.net/kitty/graphics-protocol/, "Remote client".
_KITTY_CHUNK = 4096
_COLOURS = 128
_JPEG_QUALITY = 80


def picture_way(environment: Mapping[str, str]) -> Way | None:
    """How the terminal that the environment tells of is shown pictures; None where it is not known.

    None with NO_COLOR too. Raises InputError for a VARIABLE that is no way and not "none".
    """
    chosen = environment.get(VARIABLE, "")
    if chosen not in ("", "none", *_WAYS):
        raise InputError(f"{VARIABLE}={chosen!r}: give kitty, iterm, sixel or none")
    if chosen:
        return next((way for way in _WAYS if way == chosen), None)
    is_drawn_by_others = any(environment.get(name) for name in _MULTIPLEXERS)
    term = environment.get("TERM", "")
    if environment.get("NO_COLOR") or is_drawn_by_others or term.startswith(("screen", "tmux")):
        return None
    if environment.get("KITTY_WINDOW_ID"):
        return "kitty"
    program = environment.get("TERM_PROGRAM", "")
    # Of an iTerm2 at the other end of an ssh, which hands that name on.
    if environment.get("LC_TERMINAL") == "iTerm2":
        program = program or "iTerm.app"
    konsole = environment.get("KONSOLE_VERSION", "")
    if re.fullmatch(r"[0-9]{1,9}", konsole) and int(konsole) >= _KONSOLE:
        return "sixel"
    return _TERMS.get(term) or _PROGRAMS.get(program)


def written(image: Image.Image, way: Way, columns: int, rows: int, *, number: int) -> str:
    """What shows an RGB image in so many cells, from where the cursor is.

    number: by which kitty knows it; another image of that number takes its place. Sixel knows
    pixels only: the image is to have those of the cells. The cursor ends up anywhere.
    """
    if way == "sixel":
        return _sixel(image)
    file = io.BytesIO()
    if way == "kitty":
        image.save(file, "PNG", compress_level=1)
        return "".join(_kitty(file.getvalue(), columns, rows, number))
    image.save(file, "JPEG", quality=_JPEG_QUALITY)
    data = file.getvalue()
    # https://iterm2.com/documentation-images.html
    about = f"inline=1;size={len(data)};width={columns};height={rows};preserveAspectRatio=0"
    return f"\x1b]1337;File={about}:{base64.b64encode(data).decode('ascii')}\x07"


def _kitty(png: bytes, columns: int, rows: int, number: int) -> Iterator[str]:
    """Shown at once (a=T), in place of the one before (i, p), and without an answer (q=2)."""
    text = base64.b64encode(png).decode("ascii")
    keys = f"a=T,f=100,i={number},p=1,c={columns},r={rows},C=1,q=2,"
    for start in range(0, len(text), _KITTY_CHUNK):
        more = int(start + _KITTY_CHUNK < len(text))
        yield f"\x1b_G{keys}m={more};{text[start : start + _KITTY_CHUNK]}\x1b\\"
        keys = ""


def _sixel(image: Image.Image) -> str:
    """https://vt100.net/docs/vt3xx-gp/chapter14.html."""
    few = image.quantize(_COLOURS)
    width, height = few.size
    palette = few.getpalette() or []
    pixels = few.tobytes()
    used = sorted(set(pixels))
    colours = "".join(
        f"#{colour};2;"
        + ";".join(str(round(value / 2.55)) for value in palette[3 * colour : 3 * colour + 3])
        for colour in used
    )
    # A byte table for each row of a band: colour → that row's bit.
    bands = []
    for top in range(0, height, 6):
        rows = [pixels[y * width : (y + 1) * width] for y in range(top, min(top + 6, height))]
        lines = [
            f"#{colour}{_run_lengths(_bits(rows, colour))}" for colour in sorted(set().union(*rows))
        ]
        bands.append("$".join(lines))
    return f'\x1bP0;1;0q"1;1;{width};{height}{colours}{"-".join(bands)}\x1b\\'


def _bits(rows: list[bytes], colour: int) -> str:
    """A character for each column of a band: which of its six pixels have the colour."""
    # All columns at once, as one long number each row: a loop over pixels takes 30 times as long.
    found = 0
    for place, row in enumerate(rows):
        table = bytearray(256)
        table[colour] = 1 << place
        found |= int.from_bytes(row.translate(bytes(table)), "big")
    bits = found.to_bytes(len(rows[0]), "big")
    return bits.translate(_CHARACTERS).decode("ascii")


_CHARACTERS = bytes(63 + (value & 63) for value in range(256))


def _run_lengths(text: str) -> str:
    return re.sub(r"(.)\1{3,}", lambda run: f"!{len(run[0])}{run[1]}", text)
