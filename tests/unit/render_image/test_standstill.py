"""A process all of whose threads wait is told from one that computes, polls, or was stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from povstorm_client.errors import RenderError
from render_image import standstill
from render_image.frame_limits import Limits
from render_image.povray_failure import raise_for_exit, ran_out_of_memory
from render_image.process import run_process
from render_image.standstill import Standstill

DEADLOCKED = "import threading; threading.Thread(target=threading.Event().wait).start()"
# As POV-Ray's front end looks whether its back end has got on, when that waits for good.
POLLING = f"{DEADLOCKED}\nimport time\nwhile True: time.sleep(0.02)"
COMPUTING = f"{DEADLOCKED}\nwhile True: pass"


@contextmanager
def running(program: str) -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-S", "-c", program]) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def has_stood_still(pid: int, patch: pytest.MonkeyPatch, looks: int) -> bool:
    """Whether any of so many looks says so, of a process that has to stand still for ten."""
    patch.setattr(standstill, "_LOOK_SECONDS", 0.1)
    watched = Standstill(1.0)
    for _ in range(looks):
        if watched.look(pid):
            return True
        time.sleep(0.11)
    return False


@pytest.mark.parametrize("program", [DEADLOCKED, POLLING])
def test_a_process_whose_threads_all_wait_stands_still(
    program: str, monkeypatch: pytest.MonkeyPatch
):
    with running(program) as pid:
        assert has_stood_still(pid, monkeypatch, looks=600)


def test_one_that_computes_does_not(monkeypatch: pytest.MonkeyPatch):
    with running(COMPUTING) as pid:
        assert not has_stood_still(pid, monkeypatch, looks=25)


def test_one_that_was_stopped_does_not(monkeypatch: pytest.MonkeyPatch):
    with running(DEADLOCKED) as pid:
        os.kill(pid, signal.SIGSTOP)
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
        assert not has_stood_still(pid, monkeypatch, looks=25)


def test_one_that_is_not_there_does_not(monkeypatch: pytest.MonkeyPatch):
    assert not has_stood_still(2**30, monkeypatch, looks=15)


def test_a_program_that_hangs_is_stopped_and_its_frame_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(standstill, "_LOOK_SECONDS", 0.1)
    limits = Limits(hang_seconds=1.0)

    exited = asyncio.run(
        run_process(
            ["sleep", "600"],
            cwd=tmp_path,
            environment=os.environ,
            log=tmp_path / "log",
            timeout=None,
            limits=limits,
        )
    )

    assert exited.hung
    assert not exited.timed_out
    assert not ran_out_of_memory(exited)
    with pytest.raises(RenderError, match="POV-Ray hung: for 1 s its threads") as refused:
        raise_for_exit(exited, "", None, limits, tmp_path)
    assert refused.value.retryable
