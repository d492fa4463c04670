"""What runs beside POV-Ray gives way to it, and lowers nothing but itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from povstorm_client.programs.priority import lower_session, nice

NICENESS = 7


@contextmanager
def sleeper(*, in_own_session: bool) -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, "-c", "input()"],
        stdin=subprocess.PIPE,
        start_new_session=in_own_session,
    )
    try:
        yield process.pid
    finally:
        process.communicate(b"\n")


def priority_of_session(pid: int) -> str:
    """As the kernel tells it; nothing where it does not share the cores among sessions."""
    file = Path(f"/proc/{pid}/autogroup")
    return file.read_text().rpartition("nice ")[2].strip() if file.exists() else ""


def test_a_session_of_its_own_is_lowered():
    with sleeper(in_own_session=True) as pid:
        shared = priority_of_session(pid) != ""
        lower_session(NICENESS, pid)
        assert priority_of_session(pid) == (str(NICENESS) if shared else "")


def test_a_session_that_others_are_in_stays_as_it_is():
    before = priority_of_session(os.getpid())
    with sleeper(in_own_session=False) as pid:
        lower_session(NICENESS, pid)
        assert priority_of_session(pid) == before


def test_a_process_that_is_gone_is_no_error():
    with sleeper(in_own_session=True) as pid:
        pass
    lower_session(NICENESS, pid)


def test_a_thread_is_lowered_alone():
    program = (
        "import os, threading; from povstorm_client.programs.priority import lower_thread; "
        f"thread = threading.Thread(target=lambda: (lower_thread({NICENESS}), "
        "print(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))); "
        "thread.start(); thread.join(); print(os.getpriority(os.PRIO_PROCESS, 0))"
    )
    own = os.getpriority(os.PRIO_PROCESS, 0)
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == [str(NICENESS), str(own)]


def test_a_command_is_started_lower():
    told = subprocess.run([*nice(NICENESS), "nice"], capture_output=True, text=True, check=True)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert int(told.stdout) == min(own + NICENESS, 19)


def test_without_the_program_that_lowers_it_a_command_is_started_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    nice.cache_clear()
    assert nice(NICENESS) == []
    nice.cache_clear()
