"""A map of a job's frames for the terminal, one cell for each or for a few; for status_page.

What a cell says is in its character; colour only repeats it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import count

from rich.text import Text

from povstorm_client.jobs.overview import FrameAt

_STYLES: dict[FrameAt, str] = {
    "rendered": "green",
    "working": "bold cyan",
    "retrying": "bold yellow",
    "failed": "bold red",
    "waiting": "dim",
}
_MARKS: dict[FrameAt, str] = {
    "rendered": "■",
    "working": "▸",
    "retrying": "↻",
    "failed": "✗",
    "waiting": "·",
}
_ASCII_MARKS: dict[FrameAt, str] = {
    "rendered": "#",
    "working": ">",
    "retrying": "?",
    "failed": "x",
    "waiting": ".",
}
_WORDS: dict[FrameAt, str] = {
    "rendered": "rendered",
    "working": "in work",
    "retrying": "tried again",
    "failed": "failed",
    "waiting": "waiting",
}
# Of a cell with several frames, those that are rendered.
_PARTS = "▁▂▃▄▅▆▇"
_ASCII_PARTS = "123456789"
_IN_A_ROW = 60
_BLOCK = 10
_ROW = 72
_MOST_ROWS = 8


def frame_map(
    frames: Mapping[int, FrameAt], *, columns: int = 80, ascii_only: bool = False
) -> Text:
    """The map and its legend; frames: ascending. Rows are at most 72 characters wide.

    columns: the terminal's; where they are fewer, rows are shorter.
    """
    numbers = list(frames)
    size = frames_per_cell(len(numbers))
    cells = [numbers[start : start + size] for start in range(0, len(numbers), size)]
    width = max(4, len(str(numbers[-1]))) if numbers else 4
    in_a_row = max(_BLOCK, min(_IN_A_ROW, (columns - width - 1) // (_BLOCK + 1) * _BLOCK))
    text = Text(no_wrap=columns > _ROW, overflow="crop")
    for start in range(0, len(cells), in_a_row):
        text.append(f"{cells[start][0]:>{width}} ", "dim")
        for index, cell in enumerate(cells[start : start + in_a_row]):
            if index % _BLOCK == 0:
                text.append(" ")
            text.append_text(_cell([frames[number] for number in cell], ascii_only=ascii_only))
        text.append("\n")
    text.append_text(_legend(frames, width, size, ascii_only=ascii_only))
    return text


def frames_per_cell(total: int) -> int:
    """1, 2, 5, 10, 20…: as few as fit."""
    for power in count():
        for step in (1, 2, 5):
            size = int(step * 10**power)
            if total <= size * _IN_A_ROW * _MOST_ROWS:
                return size
    raise AssertionError("count() has no end")


def _cell(states: Sequence[FrameAt], *, ascii_only: bool) -> Text:
    marks = _ASCII_MARKS if ascii_only else _MARKS
    counted = Counter(states)
    if counted["failed"]:
        return Text(marks["failed"], _STYLES["failed"])
    if len(counted) == 1:
        (state,) = counted
        return Text(marks[state], _STYLES[state])
    if not counted["rendered"]:
        state = "retrying" if counted["retrying"] else "working"
        return Text(marks[state], _STYLES[state])
    parts = _ASCII_PARTS if ascii_only else _PARTS
    return Text(parts[counted["rendered"] * len(parts) // len(states)], _STYLES["rendered"])


def _legend(frames: Mapping[int, FrameAt], width: int, size: int, *, ascii_only: bool) -> Text:
    marks = _ASCII_MARKS if ascii_only else _MARKS
    text = Text(" " * (width + 2))
    present = set(frames.values())
    for state, words in _WORDS.items():
        if state in present:
            text.append(marks[state], _STYLES[state])
            text.append(f" {words}   ", "dim")
    if size > 1:
        text.append(f"one mark: {size} frames", "dim")
    text.rstrip()
    return text
