"""A flow's process ends when it is told to, however it is stuck, with all that it started."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import psutil
import pytest

from povstorm_client.launch import flow_process
from povstorm_client.launch.flow_process import FlowProcess

# What each stands for is started as "python -P -m flows.local_run …", and says that it is ready.
# Its child has a session of its own, as POV-Ray has.
CHILD = "setsid sleep 600 & echo $! >> {ready}.pids; "
FLOWS = {
    # Stops when its standard input closes, as the flow does.
    "listening": CHILD + "echo ready >> {ready}; cat; kill $(cat {ready}.pids)",
    # Neither hears that nor SIGTERM.
    "deaf": CHILD + "trap '' TERM INT; echo ready >> {ready}; while :; do sleep 0.1; done",
}


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function that starts one of FLOWS; returns it with its processes, all of them at work."""
    started: list[psutil.Process] = []
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "temporary").mkdir()

    def run(name: str) -> tuple[FlowProcess, list[psutil.Process]]:
        ready = tmp_path / "ready"
        os.mkfifo(ready)
        program = tmp_path / "python"
        program.write_text(f"#!/bin/sh\n{FLOWS[name].format(ready=ready)}\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))
        flow = FlowProcess("file:///x/jobs/j", "", tmp_path / "flow.txt", sandbox="off")
        assert ready.read_text() == "ready\n"
        (parent,) = (each for each in psutil.Process().children() if _runs(each, str(program)))
        family = [parent, *parent.children(recursive=True)]
        started.extend(family)
        assert len(family) >= 2
        return flow, family

    yield run
    for process in started:
        if process.is_running():
            process.kill()


def _runs(process: psutil.Process, program: str) -> bool:
    try:
        return program in process.cmdline()
    except psutil.ZombieProcess:  # another test's
        return False


def assert_nothing_is_left(family: list[psutil.Process], tmp_path: Path) -> None:
    _, alive = psutil.wait_procs(family, timeout=30)
    assert alive == []
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize("stopped", [False, True])
def test_a_flow_that_listens_ends_by_itself_even_if_it_was_stopped(
    start, stopped: bool, tmp_path: Path
):
    flow, family = start("listening")
    if stopped:
        for process in family:
            process.suspend()

    flow.stop()

    assert flow.returncode == 0, "it was not killed"
    assert_nothing_is_left(family, tmp_path)


@pytest.mark.parametrize("stopped", [False, True])
def test_a_flow_that_hangs_is_killed_with_what_it_started(
    start, stopped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
):
    monkeypatch.setattr(flow_process, "_STOP_SECONDS", 0.3)
    monkeypatch.setattr(flow_process, "_QUIET_SECONDS", 0.1)
    flow, family = start("deaf")
    if stopped:
        family[0].suspend()

    flow.stop()

    assert flow.returncode == -signal.SIGKILL
    assert flow.last_words == "it was killed by SIGKILL"
    assert_nothing_is_left(family, tmp_path)
    assert "Ctrl-C again ends it at once" in capfd.readouterr().err


def test_a_second_ctrl_c_ends_it_at_once(start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(flow_process, "_STOP_SECONDS", 600.0)
    monkeypatch.setattr(flow_process, "_QUIET_SECONDS", 600.0)
    flow, family = start("deaf")
    main = threading.main_thread().ident
    again = threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGINT))
    again.start()

    with pytest.raises(KeyboardInterrupt):
        flow.stop()

    again.join()
    assert flow.returncode == -signal.SIGKILL
    assert_nothing_is_left(family, tmp_path)


def test_its_last_words_are_those_of_this_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    log = tmp_path / "flow.txt"
    log.write_text("KeyError: of the run before\n")
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho 'OSError: no \033[2Jroom' >&2; exit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    flow = FlowProcess("file:///x/jobs/j", "", log, sandbox="off")
    flow._process.wait()
    assert flow.returncode == 3
    assert flow.last_words == "OSError: no room"
