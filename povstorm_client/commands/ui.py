"""``povstorm ui``: open the Prefect page of a job's run in the browser."""

from __future__ import annotations

import sys
import time
import webbrowser
from typing import Annotated

import typer

from povstorm_client.cluster import Cluster
from povstorm_client.commands.chosen_cluster import chosen_cluster
from povstorm_client.commands.job_argument import OptionalJobArgument
from povstorm_client.errors import InputError
from povstorm_client.jobs.state import JobState, read_state
from povstorm_client.launch.kept_journals import take_up
from povstorm_client.launch.kept_server import running_server, start_server
from povstorm_client.launch.prefect_server import PrefectServer, require_server
from povstorm_client.launch.run_page import pages_of, run_page
from povstorm_client.launch.telling_time import VARIABLE
from povstorm_client.launch.told_runs import ToldRun, told_runs
from povstorm_client.quantities import duration
from povstorm_client.storage.job_address import job_uri
from povstorm_client.storage.povstorm_home import home_folder
from povstorm_client.storage.protocol import Storage
from povstorm_client.terminal import one_line

# Prefect is told of a run at low priority, and the machine may be busy.
_TOLD_SECONDS = 60.0
_LOOK_SECONDS = 0.2


def ui(
    context: typer.Context,
    job_id: OptionalJobArgument = None,
    start: Annotated[
        bool, typer.Option("--start", help="Start a server if none runs, and keep it")
    ] = False,
    no_open: Annotated[
        bool, typer.Option("--no-open", help="Say the address, and open nothing")
    ] = False,
) -> None:
    """Open a job's run in Prefect's pages: its tasks, logs, artifacts; without a job all runs."""
    if job_id is None:
        address = f"{pages_of(server_of_runs(start=start))}/runs"
    else:
        storage = chosen_cluster(context).storage
        try:
            chosen = server_of_runs(start=start)
        except InputError as error:
            state = read_state(storage, job_id)
            if state is not None and state.unrecorded and not state.recording:
                # No server that is started would have its page.
                raise InputError(_why_untold(job_id, state, None)) from error
            raise
        address = _run_page(chosen, storage, job_id)
    print(f"page    {address}")
    if not no_open and not webbrowser.open(address):
        print("no browser was found here: open that address in one")


def _run_page(server: PrefectServer, storage: Storage, job_id: str) -> str:
    """The page of the job's run, of which Prefect may only just be told; InputError for none."""
    kept = running_server(home_folder())
    take_up(home_folder(), "" if kept is None else kept.api)
    deadline = time.monotonic() + _TOLD_SECONDS
    is_said = False
    while True:
        state = read_state(storage, job_id)
        try:
            return run_page(server, job_id, state)
        except InputError as error:
            if state is None:
                raise
            teller = _teller(storage, job_id, state)
            if why := _why_untold(job_id, state, teller):
                # What is told of it meanwhile is another state.
                if read_state(storage, job_id) == state:
                    raise InputError(why) from error
            elif teller is None or time.monotonic() > deadline:
                raise
        if not is_said:
            print("povstorm: waiting until Prefect is told of the run …", file=sys.stderr)
            is_said = True
        time.sleep(_LOOK_SECONDS)


def _teller(storage: Storage, job_id: str, state: JobState) -> ToldRun | None:
    """Who tells Prefect of the run that the state is of, or will; None where nobody here does."""
    uri = job_uri(storage, job_id)
    of_job = [each for each in told_runs() if each.job_uri == uri]
    of_run = [each for each in of_job if each.run == state.run]
    rendering = [] if state.ended else [each for each in of_job if not each.run]
    return next(iter(of_run + rendering), None)


def _why_untold(job_id: str, state: JobState, teller: ToldRun | None) -> str:
    """Why the run has no page, in words; "" where it may have one in a moment, or who knows."""
    if state.unrecorded and not state.recording:
        return f"job {job_id} has no page: {one_line(state.unrecorded)}"
    if state.recording and teller is None:
        return (
            f"job {job_id} has no page: what told Prefect of its run was killed, or is on another "
            f"machine. Its frames and report are there: povstorm report {job_id}"
        )
    if not state.ended and teller is not None and (not teller.run or teller.seconds_left):
        after = f"in {duration(teller.seconds_left)}, or " if teller.run else ""
        return (
            f"job {job_id} is {state.phase} here, and has no page yet: Prefect is told of it "
            f"{after}when it has ended ({VARIABLE}=0 has a run told of from its first frame on)"
        )
    return ""


def server_of_runs(*, start: bool = False) -> PrefectServer:
    """The server that runs of this folder are told to: the chosen one, or the kept one.

    start: start one, and keep it, where none runs. Raises InputError where there is none.
    """
    if chosen := require_server():
        return chosen
    kept = running_server(home_folder())
    if kept is None and start:
        _ = Cluster.local().storage
        print("povstorm: starting Prefect's server …", file=sys.stderr)
        kept, _is_new = start_server(home_folder())
        print("povstorm: it stays until: povstorm server stop", file=sys.stderr)
    if kept is None:
        raise InputError(
            "no Prefect server runs that would know of runs: start one with `povstorm server "
            "start`. Runs of before are in its pages too"
        )
    return PrefectServer(kept.api, "povstorm server")
