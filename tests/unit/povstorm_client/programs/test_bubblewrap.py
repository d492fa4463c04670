"""Whether bubblewrap works is asked by running it; its last line is the reason why it does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from povstorm_client.errors import ToolError
from povstorm_client.programs import bubblewrap
from povstorm_client.programs.bubblewrap import probe


def program(folder: Path, script: str) -> str:
    path = folder / "bwrap"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo ready", ""),
        ("echo 'a warning' >&2; exit 0", ""),
        ("echo first >&2; echo 'bwrap: No space left' >&2; exit 1", "No space left"),
        ("echo 'on standard output'; exit 3", "on standard output"),
        ("printf 'not \\377 UTF-8' >&2; exit 1", "not \N{REPLACEMENT CHARACTER} UTF-8"),
        ("exit 4", "exit code 4"),
    ],
)
def test_the_problem_is_what_it_said_last(tmp_path: Path, script: str, problem: str):
    assert probe([program(tmp_path, script)]) == problem


def test_a_program_that_does_not_start_is_a_problem(tmp_path: Path):
    assert "cannot be run" in probe([str(tmp_path / "bwrap")])


def test_a_program_that_does_not_answer_is_no_reason_to_do_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bubblewrap, "_PROBE_SECONDS", 0.2)
    with pytest.raises(ToolError, match=r"has not answered within 0 s.*less to do"):
        probe([program(tmp_path, "exec sleep 60")])


def test_it_sees_nothing_of_the_environment_and_reads_the_filter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SECRET", "a key")
    reading, writing = os.pipe()
    os.write(writing, b"filter\n")
    os.close(writing)
    script = f'read line < /dev/fd/{reading}; echo "$line $SECRET." >&2; exit 1'

    assert probe([program(tmp_path, script)], reading) == "filter ."
    os.close(reading)
