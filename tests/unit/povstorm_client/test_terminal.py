"""Foreign text is shown as text: nothing that it says steers the terminal or hides in it."""

from __future__ import annotations

import io
import re
import sys
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from povstorm_client.commands.job_table import job_table
from povstorm_client.jobs.progress_bar import progress_bar
from povstorm_client.jobs.state import JobState
from povstorm_client.jobs.summary import JobSummary
from povstorm_client.terminal import PlainTextStream, one_line, plain_console, printable
from tests.unit.povstorm_client.commands.test_status_page import FAILURE, OVERVIEW, PAGE, STATE

HOSTILE = (
    "\x1b]0;owned\x07\x1b[2J\x9b31m\rgone\b \u202etxt.exe\u2066 a\u200bb\ufeff [red]x[/] :smile:"
)


LEFT = "about 10 s left (5.9 s to 18 s)"


def plain(shown: str) -> str:
    """What a terminal shows, without colours and steering."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r", "\n")


def hidden(text: str) -> set[str]:
    """The characters that are no picture, apart from newline and tab."""
    return {each for each in text if not (each.isprintable() or each in "\n\t")}


@given(st.text(st.characters(), max_size=40))
def test_whatever_is_said_only_pictures_newlines_and_tabs_are_shown(text: str):
    shown = printable(text)
    assert not hidden(shown)
    assert len(shown) == len(text)
    assert printable(shown) == shown
    assert "\n" not in one_line(text)


@given(st.text(st.characters(categories=("L", "N", "P", "S")), max_size=40))
def test_what_can_be_seen_stays_as_it_is(text: str):
    blank = {"\u115f", "\u1160", "\u3164", "\uffa0", "\u2800"}
    assert printable(text) == "".join("?" if each in blank else each for each in text)


@pytest.mark.parametrize("code", [0x1B, 0x07, 0x0D, 0x08, 0x7F, 0x9B, 0x202E, 0x2066, 0x200B])
def test_what_steers_or_hides_is_a_question_mark(code: int):
    assert printable(f"a{chr(code)}b") == "a?b", unicodedata.name(chr(code), hex(code))
    assert printable("é ü 漢 ✓ …") == "é ü 漢 ✓ …"
    assert printable("a\u00a0b\u2003c") == "a b c"


def test_print_goes_through_a_plain_text_stream_as_text():
    text = io.StringIO()
    stream = PlainTextStream(text)
    print(HOSTILE, file=stream, flush=True)
    stream.writelines([HOSTILE])
    assert not hidden(text.getvalue())
    assert "?]0;owned?" in text.getvalue()
    with pytest.raises(TypeError):
        stream.write(b"bytes")  # type: ignore[arg-type]


class Terminal(io.StringIO):
    """A stream that rich takes for a terminal."""

    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch, show) -> str:
    terminal = Terminal()
    for name in ("TTY_INTERACTIVE", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "stdout", PlainTextStream(terminal))
    monkeypatch.setattr(sys, "stderr", PlainTextStream(terminal))
    show()
    return terminal.getvalue()


def test_rich_colours_but_foreign_text_does_not(monkeypatch: pytest.MonkeyPatch):
    table = Table(title=HOSTILE)
    table.add_column(HOSTILE)
    table.add_row(HOSTILE)

    def show() -> None:
        plain_console().print(Text("coloured", "red"), HOSTILE, table)

    shown = on_terminal(monkeypatch, show)
    assert "\x1b[31mcoloured\x1b[0m" in shown
    assert "[red]x[/] :smile:" in shown
    for steering in ("\x1b]", "\x1b[2J", "\x9b", "\r", "\u202e", "\x07"):
        assert steering not in shown


def test_the_progress_bar_shows_a_job_s_name_and_phase_as_text(monkeypatch: pytest.MonkeyPatch):
    def show() -> None:
        with progress_bar(HOSTILE, range(1, 5)) as show_state:
            show_state(JobState(phase=HOSTILE, total=4, done=1, failed=1))  # type: ignore[arg-type]

    shown = on_terminal(monkeypatch, show)
    assert "a?b? [red]" in shown
    assert "1 failed" in shown
    for steering in ("\x1b]", "\x1b[2J\x9b", "\x9b", "\rgone", "\u202e", "\x07"):
        assert steering not in shown


@pytest.mark.parametrize("name", ["spin", "spin-of-the-earth-at-night"])
@pytest.mark.parametrize("columns", range(26, 200, 12))
def test_a_narrow_terminal_has_the_count_and_the_time_left_whole(
    columns: int, name: str, monkeypatch: pytest.MonkeyPatch
):
    state = JobState("rendering", total=24, done=8, cached=2, running=3)
    monkeypatch.setattr("povstorm_client.jobs.progress_bar._left", lambda *_: LEFT)

    def show() -> None:
        monkeypatch.setenv("COLUMNS", str(columns))
        with progress_bar(name, range(1, 25)) as show_state:
            show_state(state)

    line = plain(on_terminal(monkeypatch, show)).strip().splitlines()[-1]
    assert len(line) <= columns
    # The bar's own seconds go on.
    line = re.sub(r"\b\d:\d\d:\d\d\b", "0:00:00", line)
    assert " 8/24 " in f" {line}", line
    assert "about 10 s left" in line
    assert "…" not in line.replace("spin-of-the…", ""), line
    if columns > 134:
        assert line.endswith(f"2 from cache, 3 running 0:00:00 {LEFT}")
        assert name in line
    if columns >= 62:
        assert "━" in line
        assert "0:00:00" in line


def test_the_progress_lines_of_a_pipe_are_text(capsys: pytest.CaptureFixture[str]):
    with progress_bar(HOSTILE, range(1, 5)) as show_state:
        show_state(JobState(phase=HOSTILE, total=4))  # type: ignore[arg-type]
    shown = capsys.readouterr().err
    assert shown.count("?]0;owned?") == 2
    assert not hidden(shown)


@pytest.mark.parametrize("columns", [1, 5, 20, 80])
def test_pages_of_hostile_text_are_text_in_a_terminal_of_any_width(
    columns: int, monkeypatch: pytest.MonkeyPatch
):
    overview = replace(OVERVIEW, failures=[replace(FAILURE, error=HOSTILE)])
    page = replace(PAGE, job_id=HOSTILE, overview=overview, state=replace(STATE, message=HOSTILE))
    jobs = [
        JobSummary(HOSTILE, name=HOSTILE, phase=HOSTILE, frames=3, failed=1, problem=HOSTILE),
        JobSummary(HOSTILE, phase=HOSTILE, bytes=7),
    ]

    def show() -> None:
        monkeypatch.setenv("COLUMNS", str(columns))
        plain_console().print(page.render(), job_table(jobs, 0.0))

    shown = on_terminal(monkeypatch, show)
    for steering in ("\x1b]", "\x1b[2J", "\x9b", "\r", "\u202e", "\x07"):
        assert steering not in shown
