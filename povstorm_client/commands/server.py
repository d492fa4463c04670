"""``povstorm server``: keep a Prefect server for the day, so that no run has to start its own."""

from __future__ import annotations

import sys
import time
from typing import Annotated, Literal, Optional

import typer

from povstorm_client.cluster import Cluster, home_folder
from povstorm_client.launch.kept_server import (
    KeptServer,
    running_server,
    start_server,
    stop_server,
)
from povstorm_client.launch.prefect_server import answers, chosen_server
from povstorm_client.quantities import duration, memory_size


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
) -> None:
    """Keep a Prefect server on this machine: runs find it, start faster and are in its pages."""
    if action == "start":
        _start(port)
    elif action == "stop":
        stopped = stop_server(home_folder())
        print("no server ran" if stopped is None else f"stopped the server at {stopped.ui}")
    else:
        found = running_server(home_folder())
        if found is None:
            print("no server runs here; start one with: povstorm server start")
        else:
            _describe(found)
    _tell_precedence()


def _start(port: int | None) -> None:
    # A folder that is not povstorm's is refused before anything is written there.
    _ = Cluster.local().storage
    if running_server(home_folder()) is None:
        print("povstorm: starting Prefect's server …", file=sys.stderr)
    kept, is_new = start_server(home_folder(), port)
    if not is_new:
        print("it runs already:")
    _describe(kept)


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
