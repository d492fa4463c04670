"""Tell Prefect of a run on this machine, from its journal; recorder.py calls it once it is time.

A Prefect server comes up first, unless the user has one. What Prefect knows of the run then is
what a worker's would be (recorded_job.py), though it may learn it later. When Prefect knows all of
it, or cannot, the job's state says so.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import fcntl
import gc
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from flows.embedded_server import EmbeddedServer
from flows.recorder_process import NICENESS, UNRECORDED
from povstorm_client.errors import PovstormError, ToolError
from povstorm_client.jobs.state import end_recording
from povstorm_client.launch.prefect_server import VARIABLE, chosen_server, prefect_home
from povstorm_client.programs.priority import lower_session
from povstorm_client.storage.credentials import google_credentials
from povstorm_client.storage.job_address import open_job
from tasks.journal.events import JobEnded
from tasks.journal.journal_reader import JournalReader

# How long Prefect's server may take to come up, as long as one that is kept; and, once the run has
# ended, how long it may take no further news. Nobody waits, and a machine can be very busy.
SERVER_SECONDS = 300.0
PATIENCE_SECONDS = 300.0
# A run that others are told of before waits for its turn: while it goes on, not long; when it has
# ended, as long as it takes others that have as well.
_TURN_SECONDS, _LAST_TURN_SECONDS = 20.0, 900.0
_LOOK_SECONDS = 0.2


class Lifeline:
    """Whether the run's process lives: it holds the other end of our standard input."""

    @property
    def has_ended(self) -> bool:
        """Whether it has ended; it never writes."""
        return bool(select.select([sys.stdin], [], [], 0)[0])

    def wait(self) -> None:
        """Wait until it has."""
        select.select([sys.stdin], [], [])


def _wait_for_turn(lifeline: Lifeline) -> None:
    """Lock Prefect's folder for as long as this process lives, if others are done in time.

    Servers of many short runs at once would take more memory than they are worth. Raises ToolError
    if others took too long after the run has ended.
    """
    home = os.open(prefect_home(), os.O_RDONLY)
    begun = time.monotonic()
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(home, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        waited = time.monotonic() - begun
        if not lifeline.has_ended and waited > _TURN_SECONDS:
            return
        if waited > _LAST_TURN_SECONDS:
            raise ToolError("others that ended before it took too long to be recorded")
        time.sleep(_LOOK_SECONDS)


async def _recorded(
    server: EmbeddedServer | None,
    journal: int,
    lifeline: Lifeline,
    job_uri: str,
    gcp_credentials: str,
    run: str,
    ask_to_stop: Callable[[], None],
) -> str:
    """Have Prefect know of the run; what it does not, in a line, or ""."""
    # Modules that are imported leave next to no garbage, and looking for it takes a sixth of the
    # time (measured), as in the server (prefect_server.py).
    gc.disable()
    from flows.recorded_job import RunRecord, current_record, recorded_job, until_kept

    gc.enable()

    none = "Prefect has no record of this run"
    record = RunRecord(journal, lambda: lifeline.has_ended, ask_to_stop, run)
    if server is not None:
        try:
            async with asyncio.timeout(SERVER_SECONDS):
                await server.ready()
        except TimeoutError:
            return f"{none}: its server did not answer within {SERVER_SECONDS:.0f} s"
        except ToolError as error:
            return f"{none}: {error}"
    current_record.set(record)

    async def tell() -> str:
        state = await recorded_job(job_uri, gcp_credentials, return_state=True)
        if record.flow_run is None:
            return state.message or state.name or "its flow run did not begin"
        if not record.lost:
            await until_kept(record)
        return record.lost

    telling = asyncio.ensure_future(tell())
    losing = {asyncio.ensure_future(_silent(record, lifeline))}
    if server is not None:
        losing.add(asyncio.ensure_future(server.ended()))
    await asyncio.wait({telling, *losing}, return_when=asyncio.FIRST_COMPLETED)
    why = ""
    if not telling.done():
        why = next(each.result() for each in losing if each.done())
    elif (failure := telling.exception()) is not None:
        why = f"{type(failure).__name__}: {failure}"
        if isinstance(failure, RuntimeError) and str(failure).startswith("Failed to reach API"):
            # Prefect's, at a flow's begin.
            why = "its server did not answer: it was stopped meanwhile, or cannot be reached"
    else:
        why = telling.result()
    for each in losing:
        each.cancel()
    some = "Prefect has not recorded all of this run"
    return f"{some if record.flow_run else none}: {why}" if why else ""


async def _silent(record: Any, lifeline: Lifeline) -> str:  # noqa: ANN401 - imports Prefect
    """Wait until nothing could be told for long, though the run has ended; why, in words."""
    events, since = -1, time.monotonic()
    while True:
        if not lifeline.has_ended or events != record.events:
            events, since = record.events, time.monotonic()
        if time.monotonic() - since > PATIENCE_SECONDS:
            return f"its server did not answer within {PATIENCE_SECONDS:.0f} s"
        await asyncio.sleep(_LOOK_SECONDS)


def was_cancelled(journal: int) -> bool:
    """Whether a run that goes on no more was cancelled; one without an end has crashed."""
    ends = [event for event in JournalReader(journal).new() if isinstance(event, JobEnded)]
    return bool(ends) and ends[-1].phase == "cancelled"


def tell(
    job_uri: str,
    gcp_credentials: str,
    run: str,
    journal: int,
    words: int,
    *,
    ended_early: bool = False,
) -> None:
    """Have Prefect know of the run, to its end; run: the JobState's.

    journal, words: descriptors: of the journal, and of a pipe on which the run is told to stop, or
    what Prefect has not. Standard input is a pipe that ends when the run's process does.
    ended_early: it has, and if its user cancelled it Prefect is not told at all.
    """
    lower_session(NICENESS, os.getpid())
    lifeline = Lifeline()

    def say(word: bytes) -> None:
        # The run may have ended.
        with contextlib.suppress(OSError):
            os.write(words, word + b"\n")

    server: EmbeddedServer | None = None
    line = ""

    def end() -> None:
        """Note that Prefect knows all it will of the run, whose process ends in this moment."""
        if server is not None:
            server.stop()
        lifeline.wait()
        note_end(job_uri, gcp_credentials, run, line)

    if ended_early and was_cancelled(journal):
        line = "Prefect has no record of this run, which was stopped in its first seconds"
        end()
        return
    # Closed only where Prefect is there: its flow would tell a lost server that it is cancelled.
    runner = asyncio.Runner()
    # Prefect's own come later, and so run before it: what is left to be told they tell.
    atexit.register(end)
    try:
        if chosen_server() is None:
            _wait_for_turn(lifeline)
            server = EmbeddedServer()
            # From here on it is the one that Prefect finds.
            os.environ[VARIABLE] = server.url
        _end_on_sigterm(server)
        line = runner.run(
            _recorded(
                server, journal, lifeline, job_uri, gcp_credentials, run, lambda: say(b"stop")
            )
        )
    except PovstormError as error:
        line = f"Prefect has no record of this run: {error}"
    except Exception as error:
        # Its output is in the run's log; the state must not say that all is told.
        traceback.print_exc()
        line = f"Prefect has not recorded all of this run: {type(error).__name__}: {error}"
    if line:
        say(UNRECORDED + line.encode())
        if server is not None:
            server.kill()
        # What Prefect still has to send, it would try to for minutes; and the run may go on for
        # hours, during which there is no use for what was imported.
        sys.stdout.flush()
        sys.stderr.flush()
        words_of_it = (job_uri, gcp_credentials, run, line)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        os.execv(  # noqa: S606 - it is this process that goes on
            sys.executable, [sys.executable, "-P", "-m", "flows.recorder", *words_of_it]
        )
    # All is told: what ends slowly, as a thread that waits, is not waited for longer.
    signal.alarm(int(PATIENCE_SECONDS))
    runner.close()


def note_end(job_uri: str, gcp_credentials: str, run: str, line: str) -> None:
    """Note in the state of a run that has ended that Prefect is told no more of it; line: why."""
    storage, job_id = open_job(job_uri, google_credentials(gcp_credentials))
    end_recording(storage, job_id, run, line)


def _end_on_sigterm(server: EmbeddedServer | None) -> None:
    """Have SIGTERM end this process and its server from now on, whatever it is at.

    While a flow runs Prefect has a handler that raises in whatever is at work, and handlers wait
    while the event loop is blocked; who is blocked gets no signal, but for the one who asks for it.
    """
    # The server was started before, and so is not blocked.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def wait() -> None:
        signal.sigwait({signal.SIGTERM})
        if server is not None:
            server.kill()
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
