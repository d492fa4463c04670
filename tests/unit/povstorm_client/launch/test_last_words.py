"""When a flow dies, the line that says why is found in its output."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from povstorm_client.launch.last_words import last_words

TRACEBACK = """12:00:00.123 | ERROR   | Flow run 'x' - Encountered an exception
Traceback (most recent call last):
  File "/x/engine.py", line 7, in run
    raise MissingResult("no result")
    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
prefect.exceptions.MissingResult: no result

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/x/engine.py", line 9, in run
OSError: [Errno 28] No space left on device: '/tmp/x'
"""
GROUP = """  + Exception Group Traceback (most recent call last):
  |   File "/x/anyio.py", line 7
  | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "/x/y.py", line 1
    | ValueError: the reason
    +------------------------------------
"""


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (TRACEBACK, "OSError: [Errno 28] No space left on device: '/tmp/x'"),
        (f"{TRACEBACK}sys:1: warning of a thing\n", "OSError: [Errno 28] No space left"),
        (
            "OSError: a\nprefect.exceptions.MissingResult: b\n",
            "prefect.exceptions.MissingResult: b",
        ),
        (GROUP, "ValueError: the reason"),
        ("Traceback (most recent call last):\n  File\nKeyboardInterrupt\n", "KeyboardInterrupt"),
        ("12:00 | ERROR | it broke\n\n   \n", "12:00 | ERROR | it broke"),
        ("/usr/bin/python: No module named flows.render_job\n", "No module named flows"),
        ("", ""),
        ("\n\n", ""),
        ("RuntimeError: \x1b[31mred\x1b[0m \x1b]0;owned\x07 \u202egnp\n", "red ?]0;owned? ?gnp"),
        ("x" * 10_000, "xxx…"),
    ],
)
def test_the_reason_is_in_a_line(said: str, words: str, tmp_path: Path):
    log = tmp_path / "flow.txt"
    log.write_bytes(b"KeyError: of the run before\n" + said.encode())
    found = last_words(log, since=28)
    assert words in found
    assert "\n" not in found
    assert "before" not in found
    assert bool(found) == bool(words)


@given(st.binary(max_size=300))
def test_whatever_was_written_it_is_a_line_of_text(said: bytes):
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(said)
        assert last_words(Path(file.name)).isprintable()
