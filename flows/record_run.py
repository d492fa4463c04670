"""Tell Prefect of runs on this machine, from their journals; recorder.py calls it in its turn.

A Prefect server comes up first, unless the user has one. One process tells of all runs that wait,
one after another in the order in which they began, and of those that go on meanwhile, as things
happen. What Prefect knows of a run then is what a worker's would be (recorded_job.py), though it
may learn it later. When Prefect knows all of it, or cannot, the job's state says so.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import fcntl
import gc
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from flows.embedded_server import EmbeddedServer
from flows.recorder_process import NICENESS, STOP, UNRECORDED
from povstorm_client.errors import PovstormError, ToolError
from povstorm_client.jobs.state import end_recording
from povstorm_client.launch.kept_journals import (
    JournalOf,
    KeptJournal,
    kept_journals,
    note_end_of_turn,
    note_turn,
    remove_old_journals,
)
from povstorm_client.launch.kept_server import answering_server
from povstorm_client.launch.prefect_server import VARIABLE, chosen_server
from povstorm_client.programs.priority import lower_session
from povstorm_client.storage import layout
from povstorm_client.storage.credentials import google_credentials
from povstorm_client.storage.job_address import open_job
from povstorm_client.storage.protocol import Storage
from povstorm_client.version import povstorm_version

# How long Prefect's server may take to come up, as long as one that is kept; and, once the run has
# ended, how long it may take no further news. Nobody waits, and a machine can be very busy.
SERVER_SECONDS = 300.0
PATIENCE_SECONDS = 300.0
_LOOK_SECONDS = 0.2
_NEXT_SECONDS = 1.0
# A bucket that is gone would be asked for minutes.
_STORAGE_SECONDS = 60.0
_NONE = "Prefect has no record of this run"
_SOME = "Prefect has not recorded all of this run"


@dataclass
class _Telling:
    """A run that is told of; record: its RunRecord, once that is made."""

    kept: KeptJournal
    task: asyncio.Task[str] | None = None
    record: Any = None
    catches_up: bool = False


class _Teller:
    """Tells of the runs of a folder, as long as it has the turn and any is due.

    own: the path of what the process is for, whose run is told by ``say``; "" without one.
    """

    def __init__(
        self,
        turn: int,
        folder: Path,
        own: str,
        server: EmbeddedServer | None,
        say: Callable[[bytes], None],
    ) -> None:
        self._turn = turn
        self._folder = folder
        self._own = own
        self._server = server
        self._say = say
        self._has_turn = True
        self._is_last_look = False
        self._at_work: list[_Telling] = []

    async def tell(self) -> str:
        """Tell of all that is due; why Prefect has no full record of the own run, or ""."""
        # Modules that are imported leave next to no garbage, and looking for it takes a sixth of
        # the time (measured), as in the server (prefect_server.py).
        gc.disable()
        import flows.recorded_job  # noqa: F401 - what follows takes it

        gc.enable()
        if self._server is None:
            return await self._tell_all(None)
        try:
            async with asyncio.timeout(SERVER_SECONDS):
                await self._server.ready()
        except TimeoutError:
            return f"{_NONE}: its server did not answer within {SERVER_SECONDS:.0f} s"
        except ToolError as error:
            return f"{_NONE}: {error}"
        return await self._tell_all(asyncio.ensure_future(self._server.ended()))

    async def _tell_all(self, ending: asyncio.Future[str] | None) -> str:
        """The same, until the server ends, if there is one that can."""
        while True:
            if self._has_turn and self._server is not None:
                await self._leave_to_kept_server()
            for telling in self._next():
                telling.task = asyncio.ensure_future(self._tell(telling))
                self._at_work.append(telling)
            waited: set[asyncio.Future[str]] = {
                each.task for each in self._at_work if each.task is not None
            }
            if not self._goes_on(has_work=bool(waited)):
                return ""
            if waited:
                await asyncio.wait(
                    waited if ending is None else {*waited, ending},
                    timeout=_NEXT_SECONDS,
                    return_when=asyncio.FIRST_COMPLETED,
                )
            lost = ending.result() if ending is not None and ending.done() else ""
            if line := await self._take_ends(lost):
                return line
            if lost:
                return f"{_NONE}: {lost}"

    def _goes_on(self, *, has_work: bool) -> bool:
        """Whether to look for work again; after the last of it once more, which is noted before.

        Who leaves something to be told of later starts a process of its own.
        """
        if self._has_turn and has_work == self._is_last_look:
            self._is_last_look = not has_work
            if has_work:
                note_turn(self._turn, os.environ[VARIABLE])
            else:
                note_end_of_turn(self._turn)
            return True
        return has_work

    async def _take_ends(self, lost: str) -> str:
        """Give up what could not be told, all if the server is lost; the own run's line, or ""."""
        for each in list(self._at_work):
            why = lost
            if each.task is not None and each.task.done():
                self._at_work.remove(each)
                why = _why_lost(each.task)
            if not why:
                continue
            line = f"{_SOME if each.record and each.record.flow_run else _NONE}: {why}"
            if str(each.kept.path) == self._own:
                return line
            if each.kept.has_teller:
                # Whether it is its own fault, or the server's, its own process finds out.
                self._leave_turn()
            else:
                await self._give_up(each.kept, line)
        return ""

    def _next(self) -> list[_Telling]:
        """What to begin to tell of: a run that goes on, and one that has ended at a time."""
        known = {each.kept.path for each in self._at_work}
        waiting = [
            kept
            for kept in kept_journals(self._folder)
            if kept.path not in known
            and (str(kept.path) == self._own or (self._has_turn and kept.is_due))
            # Another version's is for its own process, as long as that is there.
            and (kept.is_known or not kept.has_teller)
        ]
        catches_up = any(each.catches_up for each in self._at_work)
        found = []
        # Nobody waits for what was left.
        for kept in sorted(waiting, key=lambda each: not each.has_teller):
            has_ended = kept.run_has_ended
            if not (has_ended and catches_up):
                catches_up = catches_up or has_ended
                found.append(_Telling(kept, catches_up=has_ended))
        return found

    async def _leave_to_kept_server(self) -> None:
        """Leave the runs that wait to the next, where a server has come up that is kept."""
        home = self._folder.parent.parent
        if (home / layout.PREFECT_SERVER).exists():
            url = await asyncio.to_thread(_kept_server, home)
            if url is not None:
                self._leave_turn()

    def _leave_turn(self) -> None:
        note_end_of_turn(self._turn)
        fcntl.flock(self._turn, fcntl.LOCK_UN)
        self._has_turn = False

    async def _tell(self, telling: _Telling) -> str:
        """Have Prefect know of a run, to its end; why it does not, or ""."""
        from flows.recorded_job import RunRecord, forget_half_told, recorded_run

        of = telling.kept.of
        if not telling.kept.is_known:
            whose = f"povstorm {of.version}" if of.version else "another version of povstorm"
            return (
                f"its journal is of {whose}, which povstorm {povstorm_version()} cannot read: "
                f"{_retold(of)}"
            )
        async with asyncio.timeout(_STORAGE_SECONDS):
            storage, job_id = await asyncio.to_thread(_opened, of)
            manifest = await asyncio.to_thread(storage.stat, layout.job_manifest(job_id))
        if manifest is None:
            telling.kept.remove()  # the job is deleted
            return ""

        def ask_to_stop() -> None:
            if str(telling.kept.path) == self._own:
                self._say(STOP)
            else:
                storage.write(layout.cancel_request(job_id), b"{}")

        with telling.kept.events.open("rb") as events:
            record = telling.record = RunRecord(
                events.fileno(), lambda: telling.kept.run_has_ended, ask_to_stop, of.run
            )
            await forget_half_told(job_id, of.run)
            telling_it = asyncio.ensure_future(recorded_run(record, of.job_uri, of.gcp_credentials))
            silent = asyncio.ensure_future(_silent(record, telling.kept))
            await asyncio.wait({telling_it, silent}, return_when=asyncio.FIRST_COMPLETED)
            if not telling_it.done():
                return silent.result()
            silent.cancel()
            if why := telling_it.result():
                return why
        if record.unknown:
            are = "line of its journal is" if record.unknown == 1 else "lines of its journal are"
            return f"{record.unknown} {are} of another version of povstorm: {_retold(of)}"
        # Its last state is stored then.
        while not telling.kept.run_has_ended:
            await asyncio.sleep(_LOOK_SECONDS)
        async with asyncio.timeout(_STORAGE_SECONDS):
            await asyncio.to_thread(end_recording, storage, job_id, of.run, "")
        # After that: who looks at the state asks the journal who tells.
        telling.kept.remove()
        return ""

    async def _give_up(self, kept: KeptJournal, line: str) -> None:
        of = kept.of
        kept.remove()
        print(f"{of.job_uri}: {line}", file=sys.stderr, flush=True)
        with contextlib.suppress(TimeoutError, PovstormError):
            async with asyncio.timeout(_STORAGE_SECONDS):
                await asyncio.to_thread(note_end, of.job_uri, of.gcp_credentials, of.run, line)


def _retold(of: JournalOf) -> str:
    """The remedy for a run that cannot be told of from its journal."""
    job_id = of.job_uri.rpartition("/")[2]
    return f"`povstorm retry {job_id}` has Prefect told of the job as it is stored"


def _why_lost(task: asyncio.Future[str]) -> str:
    """Why a run was not told of to its end, or ""."""
    failure = task.exception()
    if failure is None:
        return task.result()
    if isinstance(failure, RuntimeError) and str(failure).startswith("Failed to reach API"):
        # Prefect's, at a flow's begin.
        return "its server did not answer: it was stopped meanwhile, or cannot be reached"
    if isinstance(failure, TimeoutError):
        return f"its storage did not answer within {_STORAGE_SECONDS:.0f} s"
    if isinstance(failure, PovstormError):
        return str(failure)
    # Its output is in the run's log.
    traceback.print_exception(failure)
    return f"{type(failure).__name__}: {failure}"


async def _silent(record: Any, kept: KeptJournal) -> str:  # noqa: ANN401 - imports Prefect
    """Wait until nothing could be told for long, though the run has ended; why, in words."""
    events, since = -1, time.monotonic()
    while True:
        if not kept.run_has_ended or events != record.events:
            events, since = record.events, time.monotonic()
        if time.monotonic() - since > PATIENCE_SECONDS:
            return f"its server did not answer within {PATIENCE_SECONDS:.0f} s"
        await asyncio.sleep(_LOOK_SECONDS)


def _kept_server(home: Path) -> str | None:
    """The API of the kept server; None where there is none, or its record says nothing."""
    try:
        return answering_server(home)
    except PovstormError as error:
        # Runs do without it.
        print(f"povstorm: warning: {error}", file=sys.stderr, flush=True)
        return None


def _opened(of: JournalOf) -> tuple[Storage, str]:
    return open_job(of.job_uri, google_credentials(of.gcp_credentials))


def tell(turn: int, folder: str, kept: str, *, own: str = "", words: int = -1) -> None:
    """Tell Prefect of the runs whose journals a folder keeps, as long as any is due.

    turn: a descriptor of the folder's file of the turn, which is locked. kept: the API of the kept
    server that the run found, "" without one. own: the journal of the run that this process is for,
    "" to tell of what nobody else is to tell of; standard input is a pipe that ends when that run's
    process does, and words one on which it is told to stop, or what Prefect has not.
    """
    lower_session(NICENESS, os.getpid())
    # What is there may be of who had the turn before.
    note_end_of_turn(turn)
    if not own and not any(each.is_due for each in kept_journals(Path(folder))):
        return  # another has told of it
    home, server = Path(folder).parent.parent, None
    own_of = next((each.of for each in kept_journals(Path(folder)) if str(each.path) == own), None)
    remove_old_journals(Path(folder))

    def say(word: bytes) -> None:
        # The run may have ended.
        with contextlib.suppress(OSError):
            os.write(words, word + b"\n")

    if kept and os.environ.get(VARIABLE) == kept:
        # It may have been stopped meanwhile.
        del os.environ[VARIABLE]
    # Closed only where Prefect is there: its flows would tell a lost server that they end.
    runner = asyncio.Runner()
    try:
        chosen = chosen_server()
        url = chosen.url if chosen is not None else _kept_server(home)
        if url is None:
            server = EmbeddedServer()
            url = server.url
        # From here on it is the one that Prefect finds.
        os.environ[VARIABLE] = url
        note_turn(turn, url)
        _end_on_sigterm(server)
        line = runner.run(_Teller(turn, Path(folder), own, server, say).tell())
    except PovstormError as error:
        line = f"{_NONE}: {error}"
    except Exception as error:
        # Its output is in the run's log; the state must not say that all is told.
        traceback.print_exc()
        line = f"{_SOME}: {type(error).__name__}: {error}"
    if line:
        if server is not None:
            server.kill()
        _give_up(Path(folder), own, own_of, line, say)
    # All is told: what ends slowly, as a thread that waits, is not waited for longer. Prefect's own
    # exits were registered before, and so come later.
    if server is not None:
        atexit.register(server.stop)
    signal.alarm(int(PATIENCE_SECONDS))
    runner.close()


def _give_up(
    folder: Path, own: str, of: JournalOf | None, line: str, say: Callable[[bytes], None]
) -> NoReturn:
    """End this process, or go on as a small one until the own run's end, to note why."""
    sys.stdout.flush()
    sys.stderr.flush()
    if of is None:
        print(line, file=sys.stderr, flush=True)
        os._exit(1)
    KeptJournal(Path(own), of).remove()
    say(UNRECORDED + line.encode())
    # What Prefect still has to send, it would try to for minutes; and the run may go on for
    # hours, during which there is no use for what was imported.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    os.execv(  # noqa: S606 - it is this process that goes on
        sys.executable,
        [
            *(sys.executable, "-P", "-m", "flows.recorder"),
            *(of.job_uri, of.gcp_credentials, of.run, line),
        ],
    )


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
