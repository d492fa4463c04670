"""``povstorm server``: keep a Prefect server for the day, so that no run has to start its own."""

from __future__ import annotations

import sys
import time
from typing import Annotated, Literal, Optional

import psutil
import typer

from povstorm_client.cluster import Cluster
from povstorm_client.errors import InputError, ToolError
from povstorm_client.launch.kept_journals import take_up
from povstorm_client.launch.kept_server import (
    KeptServer,
    running_server,
    start_server,
    stop_server,
)
from povstorm_client.launch.prefect_server import answers, chosen_server
from povstorm_client.launch.told_runs import told_runs
from povstorm_client.quantities import duration, memory_size
from povstorm_client.storage.povstorm_home import home_folder

# As long as who tells it is patient with a server (flows/record_run.py).
_TOLD_SECONDS = 300.0
_LOOK_SECONDS = 0.5


def server(
    action: Annotated[
        Literal["start", "status", "stop"], typer.Argument(metavar="start|status|stop")
    ],
    port: Annotated[
        Optional[int],  # noqa: UP045 - typer reads it at run time
        typer.Option(
            min=1, max=65535, help="To start it on; 4200 by default, or another if that is taken"
        ),
    ] = None,
    now: Annotated[
        bool, typer.Option("--now", help="Stop it also while Prefect is being told of runs")
    ] = False,
) -> None:
    """Keep a Prefect server on this machine: runs find it, start faster and are in its pages."""
    if now and action != "stop":
        raise InputError(f"--now is for `povstorm server stop`: give it without for {action}")
    if action == "start":
        _start(port)
    elif action == "stop":
        if not now:
            _wait_until_told()
        stopped = stop_server(home_folder())
        print("no server ran" if stopped is None else f"stopped the server at {stopped.ui}")
    else:
        found = running_server(home_folder())
        if found is None:
            print("no server runs here; start one with: povstorm server start")
        else:
            _describe(found)
    _tell_precedence()


def _wait_until_told() -> None:
    """Wait for the runs of which the kept server is told: their record would be lost.

    Raises ToolError, with the server running, where that takes too long.
    """
    kept = running_server(home_folder())
    deadline = time.monotonic() + _TOLD_SECONDS
    is_said = False
    while kept is not None and kept.process is not None:
        runs = [run for run in told_runs() if run.server == kept.api]
        if not runs:
            return
        names = ", ".join(sorted({run.job_id for run in runs}))
        if time.monotonic() > deadline:
            raise ToolError(
                f"the server goes on, since it is still told of {names}: wait, or stop it with "
                "`povstorm server stop --now`, and what it was not told is lost"
            )
        if not is_said:
            print(
                f"povstorm: waiting up to {duration(_TOLD_SECONDS)} until Prefect is told of "
                f"{names}; Ctrl-C leaves the server running, --now loses what it was not told",
                file=sys.stderr,
            )
            is_said = True
        psutil.wait_procs([run.process for run in runs], timeout=_LOOK_SECONDS)


def _start(port: int | None) -> None:
    # A folder that is not povstorm's is refused before anything is written there.
    _ = Cluster.local().storage
    if running_server(home_folder()) is None:
        print("povstorm: starting Prefect's server …", file=sys.stderr)
    kept, is_new = start_server(home_folder(), port)
    if not is_new:
        print("it runs already:")
    _describe(kept)
    # Of what was left by processes that were killed it is told now.
    take_up(home_folder(), kept.api)


def _describe(kept: KeptServer) -> None:
    process = kept.process
    state = "answers" if answers(kept.api) else "does not answer (yet)"
    print(f"server  {kept.ui}  {state}")
    if process is not None:
        used = sum(process.cpu_times()[:2])
        age = max(0.0, time.time() - kept.started)
        print(
            f"process {kept.pid}, {memory_size(process.memory_info().rss)} of memory, "
            f"{duration(used)} of CPU time in {duration(age)}"
        )
    print(f"history {kept.home}")
    print("stop it with: povstorm server stop")


def _tell_precedence() -> None:
    if chosen := chosen_server():
        print(
            f"runs from this folder use another server: {chosen.url}, chosen by {chosen.chosen_by}"
        )
