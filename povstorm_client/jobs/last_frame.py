"""LastFrame: a small picture of a job's last frame above its progress line; progress_bar has it.

The picture lies in lines of its own above the line, made by a thread of low priority, and painted
between two of the line's: the cursor goes up there and comes back. Where something else was printed
below those lines, or the terminal has another size, it gets new ones.
"""

from __future__ import annotations

import fcntl
import os
import random
import struct
import termios
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleRenderable, RenderHook
from rich.control import Control
from rich.segment import ControlType, Segment

from povstorm_client.programs.priority import lower_thread
from povstorm_client.terminal_picture import Way, picture_way, written

if TYPE_CHECKING:
    from rich.progress import Progress

_ROWS, _MOST_COLUMNS = 8, 40
# With less it would take most of the terminal.
_LEAST_ROWS, _LEAST_COLUMNS = 20, 60
# Of a cell in pixels, where the terminal does not say: less than most have, so that a picture in
# pixels is rather small than larger than its lines.
_CELL = (8, 16)
# So seldom, and so small a part of the time: nobody waits for it.
_SECONDS = 1.0
_TIMES_ITS_COST = 20
_NICENESS = 10
_MOST_PIXELS = 320
# Times that it gets new lines; who prints all the time would have the screen full of them.
_MOST_PLACES = 8

Read = Callable[[int], bytes]


@dataclass
class _Picture:
    """What is written to show a frame. seconds: what making it took; done: whether it is made.

    text: "" for an image that cannot be shown, which the job's end tells of.
    """

    text: str = ""
    rows: int = 1
    seconds: float = 0.0
    done: bool = False


class LastFrame(RenderHook):
    """The picture above a bar's line. read: a frame's image as a PNG; raises PovstormError."""

    def __init__(self, bar: Progress, way: Way, read: Read) -> None:
        self._bar = bar
        self._way = way
        self._read = read
        self._making: _Picture | None = None
        self._shown: int | None = None
        self._next = 0.0
        # Of the terminal where it has its lines; None while it has none.
        self._size: tuple[int, int] | None = None
        self._places = 0
        self._number = random.randrange(1, 1 << 24)  # noqa: S311 - no secret
        self._before: list[Any] | None = None
        bar.console.push_render_hook(self)

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """What the console prints above the line, whoever printed it, moves the picture away."""
        if not all(isinstance(each, Control) for each in renderables):
            self._size = None
        return renderables

    def show(self, frame: int) -> None:
        """Paint what was made meanwhile, and have a picture made of the frame if it is time."""
        now = time.monotonic()
        if self._making is not None:
            if not self._making.done:
                return
            made, self._making = self._making, None
            self._next = now + max(_SECONDS, _TIMES_ITS_COST * made.seconds)
            if made.text:
                self._paint(made)
        if frame != self._shown and now >= self._next and self._has_room:
            self._shown, self._making = frame, _Picture()
            cell = _cell(self._bar.console)
            # Nobody waits for it at the end.
            threading.Thread(
                target=self._make, args=(frame, cell, self._making), daemon=True
            ).start()

    def close(self) -> None:
        """Leave what is painted, and paint nothing more."""
        if self._before is not None and _is_ours(self._bar.console):
            with suppress(OSError, termios.error):
                termios.tcsetattr(self._bar.console.file.fileno(), termios.TCSANOW, self._before)
        self._bar.console.pop_render_hook()

    @property
    def _has_room(self) -> bool:
        size = self._bar.console.size
        return size.height >= _LEAST_ROWS and size.width >= _LEAST_COLUMNS

    def _make(self, frame: int, cell: tuple[int, int], picture: _Picture) -> None:
        lower_thread(_NICENESS)
        begun = time.thread_time()
        try:
            # Not at the top: Pillow, which nobody is to wait for.
            from povstorm_client.jobs.thumbnails import small_image

            image = small_image(self._read(frame), max(_MOST_COLUMNS * cell[0], _ROWS * cell[1]))
            image.thumbnail((_MOST_COLUMNS * cell[0], _ROWS * cell[1]))
            columns = max(1, -(-image.width // cell[0]))
            picture.rows = max(1, -(-image.height // cell[1]))
            if self._way != "sixel":
                # The terminal makes it as large as its cells.
                image.thumbnail((_MOST_PIXELS, _MOST_PIXELS))
            picture.text = written(image, self._way, columns, picture.rows, number=self._number)
        except Exception:  # noqa: S110
            # An image that is gone or damaged, of which Pillow's readers raise anything: the job's
            # end tells of it, and a run is not to end for want of a picture.
            pass
        finally:
            picture.seconds = time.thread_time() - begun
            picture.done = True

    def _paint(self, picture: _Picture) -> None:
        console = self._bar.console
        if not self._has_room:
            return
        if self._size != console.size:
            if self._places == _MOST_PLACES:
                return
            console.print("\n" * (picture.rows - 1))
            self._size = console.size
            self._places += 1
        if self._before is None:
            self._before = _kept_whole(console)
        line = len(console.render_lines(self._bar.get_renderable(), pad=False))
        up = picture.rows + line - 1
        control = Control()
        # Save the cursor, go up, paint, restore it.
        text = f"\x1b7\x1b[{up}A\r{picture.text}\x1b8"
        control.segment = Segment(text, None, [(ControlType.BELL,)])
        # Ctrl-C interrupts the main thread alone: no half of a picture is ever written.
        painting = threading.Thread(target=console.control, args=(control,))
        painting.start()
        painting.join()


def last_frame(bar: Progress, read: Read | None) -> LastFrame | None:
    """The picture for a bar's terminal; None where that shows none, or there is nothing to read."""
    if read is None or not bar.console.is_interactive or bar.console.is_dumb_terminal:
        return None
    way = picture_way(os.environ)
    return None if way is None else LastFrame(bar, way, read)


def _is_ours(console: Console) -> bool:
    """Whether this process may set the terminal's modes: one in the background is stopped then."""
    try:
        return os.tcgetpgrp(console.file.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False


def _kept_whole(console: Console) -> list[Any] | None:
    """Have Ctrl-C drop nothing of what is being written; returns the modes that were, if so.

    Without the beginning of a picture the terminal would print the rest of it (termios(3), NOFLSH).
    """
    if not _is_ours(console):
        return None
    try:
        terminal = console.file.fileno()
        before = termios.tcgetattr(terminal)
        changed = [*before]
        changed[3] |= termios.NOFLSH
        termios.tcsetattr(terminal, termios.TCSANOW, changed)
    except (OSError, termios.error):
        return None
    return before


def _cell(console: Console) -> tuple[int, int]:
    """The size of a cell in pixels, as the terminal tells the kernel (tty_ioctl(2))."""
    try:
        data = fcntl.ioctl(console.file.fileno(), termios.TIOCGWINSZ, bytes(8))
    except (OSError, ValueError):
        return _CELL
    rows, columns, wide, high = struct.unpack("HHHH", data)
    if not (rows and columns and wide >= columns and high >= rows):
        return _CELL
    return min(64, wide // columns), min(64, high // rows)
