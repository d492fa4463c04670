"""The progress line shows the last frame where the terminal can, and stays as it is elsewhere."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat

from povstorm_client import InputError
from povstorm_client.terminal_picture import picture_way
from tests.terminal_screen import Picture, Screen

SECONDS = 120
TERMINALS = {
    "kitty": {"TERM": "xterm-kitty", "KITTY_WINDOW_ID": "1"},
    "iterm": {"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"},
    "sixel": {"TERM": "foot"},
}
# Shows a job's states, going on to the next frame for each line on standard input.
PROGRAM = """
import select, sys
from pathlib import Path
from povstorm_client.jobs.progress_bar import progress_bar
from povstorm_client.jobs.state import JobState

folder, said = Path(sys.argv[1]), open(0, "rb", buffering=0)
frames = sorted(int(path.stem) for path in folder.glob("*.png"))
read = lambda frame: (folder / f"{frame}.png").read_bytes()
try:
    with progress_bar("orbit", frames, read=read) as show:
        for frame in frames:
            state = JobState("rendering", len(frames), done=frame, rendered=((1, frame),))
            while True:
                show(state)
                if select.select([said], [], [], 0.02)[0]:
                    if line := said.readline().decode().strip():
                        print(line, file=sys.stderr)
                        continue
                    break
except KeyboardInterrupt:
    sys.exit("stopped")
print("all shown", file=sys.stderr)
"""


def picture(frame: int, width: int = 320, height: int = 180) -> Image.Image:
    """A frame that no other looks like, all its parts different."""
    image = Image.merge(
        "RGB",
        (
            Image.linear_gradient("L").resize((width, height)).rotate(90 * frame),
            Image.radial_gradient("L").resize((width, height)),
            Image.new("L", (width, height), 40 * frame),
        ),
    )
    image.paste((255, 255, 255), (10 * frame, 10, 10 * frame + 60, 70))
    return image


def difference(shown: Image.Image, frame: int) -> float:
    """How far a picture is from a frame's, of 255."""
    shown = shown.convert("RGB")
    meant = picture(frame).resize(shown.size, Image.Resampling.LANCZOS)
    return sum(ImageStat.Stat(ImageChops.difference(shown, meant)).mean) / 3


# Ctrl-C is for those whose terminal it is.
TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(1, termios.TIOCSCTTY, 0); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


class Terminal:
    """A program on a terminal of its own, and what that shows."""

    def __init__(self, stack: ExitStack, words: list[str], environment: dict[str, str]) -> None:
        self.screen = Screen(30, 100)
        self._text = codecs.getincrementaldecoder("utf-8")()
        self.terminal, theirs = pty.openpty()
        stack.callback(os.close, self.terminal)
        self.resize(30, 100)
        clean = {name: text for name, text in os.environ.items() if name not in CHOOSING}
        self.process = subprocess.Popen(
            [sys.executable, "-c", TAKE_TERMINAL, *words],
            stdin=subprocess.PIPE,
            stdout=theirs,
            stderr=theirs,
            env={**clean, "COLORTERM": "truecolor", **environment},
            start_new_session=True,
            text=True,
        )
        os.close(theirs)
        stack.callback(self.process.wait)
        stack.callback(self.process.kill)

    def resize(self, rows: int, columns: int) -> None:
        cells = struct.pack("HHHH", rows, columns, columns * 10, rows * 20)
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, cells)
        self.screen.rows, self.screen.columns = rows, columns

    def say(self, line: str = "") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def press(self, key: str) -> None:
        os.write(self.terminal, key.encode())

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not is_so():
            assert time.monotonic() < deadline, f"{what}; shown: {self.screen.shown}"
            if not self._read():
                assert is_so(), f"{what}; shown: {self.screen.shown}"

    def end(self) -> None:
        """Read all that is left."""
        deadline = time.monotonic() + SECONDS
        while self._read():
            assert time.monotonic() < deadline, "it does not end"
        self.process.wait(SECONDS)

    def _read(self) -> bool:
        if select.select([self.terminal], [], [], 0.2)[0]:
            try:
                data = os.read(self.terminal, 65536)
            except OSError:
                return False  # nobody has the other end any more
            # The kernel shows a key wherever the output is: in a picture's data it is none of it.
            self.screen.feed(self._text.decode(data.replace(b"^C", b"")))
            return bool(data)
        return True

    @property
    def pictures(self) -> list[Picture]:
        return self.screen.pictures

    def pictured(self, frame: int) -> None:
        """Wait until the last picture is that of the frame."""
        self.until(
            lambda: bool(self.pictures) and difference(self.pictures[-1].image, frame) < 8,
            f"frame {frame} is not shown",
        )

    def has_its_line_at(self, row: int) -> None:
        """Wait until the line of progress is there, and nowhere else."""
        self.until(
            lambda: [at for at, line in enumerate(self.screen.shown) if "orbit" in line] == [row],
            f"the line is not in row {row}",
        )


CHOOSING = (
    *("KITTY_WINDOW_ID", "KONSOLE_VERSION", "LC_TERMINAL", "NO_COLOR", "STY", "TERM_PROGRAM"),
    *("POVSTORM_TERMINAL_PICTURE", "TMUX", "ZELLIJ", "COLUMNS", "LINES"),
)


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    for frame in range(1, 4):
        picture(frame).save(tmp_path / f"{frame}.png")
    return tmp_path


@pytest.fixture
def terminal(frames: Path):
    with ExitStack() as stack:

        def started(environment: dict[str, str]) -> Terminal:
            return Terminal(stack, [sys.executable, "-c", PROGRAM, str(frames)], environment)

        yield started


@pytest.mark.parametrize("way", TERMINALS)
def test_each_frame_is_shown_above_the_line_in_the_terminals_own_way(terminal, way: str):
    shown = terminal(TERMINALS[way])
    for frame in (1, 2, 3):
        shown.pictured(frame)
        last = shown.pictures[-1]
        assert last.way == way
        # 8 rows of 20 pixels.
        rows = last.rows or -(-last.image.height // 20)
        assert rows == 8
        shown.has_its_line_at(last.row + rows)
        shown.say()
    shown.end()

    assert shown.process.returncode == 0
    assert shown.screen.shown[-2:] == ["all shown", ""]
    assert "3/3" in shown.screen.shown[-3]
    assert len({each.row for each in shown.pictures}) == 1, "all in the same place"
    assert shown.screen.unread == ""


@pytest.mark.parametrize(
    "environment",
    [
        {"TERM": "xterm-256color"},
        {"TERM": "dumb", "KITTY_WINDOW_ID": "1"},
        {"TERM": "tmux-256color", "TMUX": "/tmp/tmux,1,0", "KITTY_WINDOW_ID": "1"},
        {**TERMINALS["kitty"], "NO_COLOR": "1"},
        {**TERMINALS["kitty"], "POVSTORM_TERMINAL_PICTURE": "none"},
    ],
)
def test_elsewhere_there_is_the_line_alone(terminal, environment: dict[str, str]):
    shown = terminal(environment)
    for _ in range(3):
        shown.say()
    shown.end()
    assert shown.pictures == []
    assert len(shown.screen.shown) < 8, "no lines are kept for a picture"


def test_what_is_printed_meanwhile_is_not_painted_over(terminal):
    shown = terminal(TERMINALS["sixel"])
    shown.pictured(1)
    shown.say("povstorm: warning: something")
    shown.until(lambda: "povstorm: warning: something" in shown.screen.shown, "it is not said")
    shown.say()
    shown.pictured(2)
    last = shown.pictures[-1]
    covered = shown.screen.shown[last.row : last.row + 8]
    assert covered == [""] * 8
    shown.has_its_line_at(last.row + 8)
    assert "povstorm: warning: something" in shown.screen.shown[: last.row]


def test_a_terminal_of_another_size_has_it_above_its_line_and_a_small_one_not_at_all(terminal):
    shown = terminal(TERMINALS["iterm"])
    shown.pictured(1)
    shown.resize(40, 120)
    shown.say()
    shown.pictured(2)
    shown.has_its_line_at(shown.pictures[-1].row + 8)
    shown.resize(12, 120)
    shown.say()
    shown.until(lambda: "3/3" in "".join(shown.screen.shown), "the line is not there")
    shown.say()
    shown.end()
    assert all(difference(each.image, 3) > 8 for each in shown.pictures)


@pytest.mark.parametrize("way", TERMINALS)
def test_ctrl_c_in_the_middle_of_a_picture_leaves_the_terminal_usable(
    terminal, frames: Path, way: str
):
    # It does not fit into what a terminal takes at once.
    for frame in range(1, 4):
        noise = Image.effect_noise((640, 360), 90)
        Image.merge("RGB", (noise, noise.rotate(180), noise)).save(frames / f"{frame}.png")
    shown = terminal(TERMINALS[way])
    begins = {"kitty": "\x1b_G", "iterm": "\x1b]1337", "sixel": "\x1bP"}[way]
    shown.until(lambda: begins in shown.screen.unread or bool(shown.pictures), "no picture")
    shown.press("\x03")
    shown.end()
    assert shown.screen.shown[-2:] == ["stopped", ""]
    assert shown.screen.unread == "", "a sequence has no end"
    assert len(shown.pictures) == 1
    assert not termios.tcgetattr(shown.terminal)[3] & termios.NOFLSH, "it is as it was"


def test_a_value_that_is_none_is_refused_by_name():
    with pytest.raises(InputError, match="POVSTORM_TERMINAL_PICTURE='ascii'"):
        picture_way({"POVSTORM_TERMINAL_PICTURE": "ascii"})


@pytest.mark.parametrize(
    ("environment", "way"),
    [
        ({"TERM": "xterm-ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "iterm"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm"),
        ({"TERM": "xterm-256color", "KONSOLE_VERSION": "230801"}, "sixel"),
        ({"TERM": "xterm-256color", "KONSOLE_VERSION": "210400"}, None),
        ({"TERM": "screen.xterm-kitty", "KITTY_WINDOW_ID": "1"}, None),
        ({"TERM": "xterm-256color", "POVSTORM_TERMINAL_PICTURE": "sixel"}, "sixel"),
        ({}, None),
    ],
)
def test_the_terminal_is_known_by_its_environment(environment: dict[str, str], way: str | None):
    assert picture_way(environment) == way
