"""The journals of runs on this machine of which Prefect is to be told, in $POVSTORM_HOME.

A run's process keeps one (flows/recorder_process.py), and who has told Prefect of it removes it
(flows/record_run.py): so what a killed process or a machine that went down has left is told of by
the next. Each place where runs are told of has a folder, with a file for whose turn it is to tell,
and for each run ``NAME.json``, locked by who is to tell of it, and ``NAME.jsonl``, its journal,
locked by the run's process. Locks end with their processes, however these end.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from povstorm_client.errors import InputError, RecordError
from povstorm_client.launch.prefect_home import PREFECT_DEFAULTS
from povstorm_client.launch.prefect_server import chosen_server, prefect_home
from povstorm_client.plain_files import open_plain
from povstorm_client.storage import layout, records
from povstorm_client.storage.private_files import (
    OTHERS,
    append_to_private_file,
    make_private_folder,
)

# flows/recorder.py, which imports nothing, has this name too.
TURN = "turn"
# What nobody has told of for so long is removed.
_MOST_SECONDS = 30 * 86400.0
# What says whose a journal is has some hundred bytes.
_MOST_BYTES = 1 << 16
# Other databases than the one in Prefect's folder (Prefect 3, "Settings").
_DATABASES = ("PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_DATABASE_CONNECTION_URL")
# A pipe is not waited for, and a link leads nowhere.
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
# Who tells Prefect of a run: a process on this machine, nobody so far, or who knows: its journal is
# not here.
Teller = Literal["here", "nobody", "unknown"]
# By these Google's libraries find who asks, and whom.
_GOOGLE = ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG", "STORAGE_EMULATOR_HOST")


@dataclass(frozen=True)
class JournalOf:
    """What a journal is of: the run of a job, when it begun, and when Prefect is told meanwhile.

    gcp_credentials: as of Cluster; run: the JobState's; begun, told_at: Unix seconds. version: of
    the povstorm that wrote it, "" where that did not say. Journals outlive an upgrade: a field that
    is added has a default.
    """

    job_uri: str
    gcp_credentials: str
    run: str
    begun: records.Moment
    told_at: records.Moment
    version: str = ""


@dataclass(frozen=True)
class _Named:
    """What of JournalOf is to be found in every version's."""

    job_uri: str
    gcp_credentials: str
    run: str
    version: str = ""


@dataclass(frozen=True)
class KeptJournal:
    """A journal that is kept; path: that of what says whose it is.

    is_known: whether this version can read it; of another's the times in ``of`` are 0.
    """

    path: Path
    of: JournalOf
    is_known: bool = True

    @property
    def events(self) -> Path:
        """The journal itself."""
        return self.path.with_suffix(".jsonl")

    @property
    def run_has_ended(self) -> bool:
        """Whether the run's process has; an ended run's journal changes no more."""
        return _is_free(self.events)

    @property
    def has_teller(self) -> bool:
        """Whether a process lives that is to tell of it: the run's, or one that this started."""
        return not _is_free(self.path)

    @property
    def is_due(self) -> bool:
        """Whether it is time to tell of it."""
        return self.of.told_at <= time.time() or self.run_has_ended

    def remove(self) -> None:
        """Keep it no longer."""
        self.events.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


def journal_folder(povstorm_home: Path, job_uri: str, kept_server: str = "") -> Path:
    """Where the journals are of runs that are told of where those of this environment are.

    Those of jobs in a bucket are apart, for who has the credentials of this environment.
    kept_server: the API of what ``povstorm server`` keeps, "" without one. It comes and goes: runs
    that are told to it, and to servers that are started for them, have the same history.
    """
    server = chosen_server()
    place = [str(prefect_home()), *(os.environ.get(each, "") for each in _DATABASES)]
    if server is not None and server.url != kept_server:
        place = [server.url]
    if job_uri.startswith("gs:"):
        place += ["gs:", *(os.environ.get(each, "") for each in _GOOGLE)]
    name = hashlib.sha256("\n".join(place).encode()).hexdigest()[:16]
    return povstorm_home / layout.PREFECT_JOURNALS / name


def keep_journal(folder: Path, of: JournalOf) -> tuple[KeptJournal, BinaryIO, BinaryIO]:
    """Begin a journal: it, a file by which it has a teller, and the file of its events.

    The first is for the process that is to tell of it too; both are locked as long as they are
    open. Raises OSError where it cannot be kept.
    """
    make_private_folder(folder)
    name = f"{int(of.begun * 1e9):020d}-{secrets.token_hex(4)}"
    kept = KeptJournal(folder / f"{name}.json", of)
    about: BinaryIO = append_to_private_file(kept.path)  # type: ignore[assignment]
    fcntl.flock(about, fcntl.LOCK_EX)
    about.write(json.dumps(asdict(of)).encode())
    about.flush()
    events: BinaryIO = append_to_private_file(kept.events)  # type: ignore[assignment]
    fcntl.flock(events, fcntl.LOCK_EX)
    return kept, about, events


def kept_journals(folder: Path) -> list[KeptJournal]:
    """Those of a folder, in the order in which their runs began.

    What is none, as somebody else's file, or cannot be read, keeps no other from being told of.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        # A link would have one told of twice.
        with suppress(OSError, InputError, RecordError):
            if not path.is_symlink():
                with open_plain(path) as file:
                    data = file.read(_MOST_BYTES)
                found.append(_kept(path, data))
    return found


def _kept(path: Path, data: bytes) -> KeptJournal:
    try:
        return KeptJournal(path, records.decode(data, JournalOf, str(path)))
    except RecordError:
        named = records.decode(data, _Named, str(path))
    of = JournalOf(named.job_uri, named.gcp_credentials, named.run, 0.0, 0.0, named.version)
    return KeptJournal(path, of, is_known=False)


def teller_of(povstorm_home: Path, job_uri: str, run: str) -> Teller:
    """Whether somebody on this machine is to tell Prefect of a run, by its journal."""
    for kept in _of_all_places(povstorm_home):
        if (kept.of.job_uri, kept.of.run) == (job_uri, run):
            is_told = kept.has_teller or tells_of_all(kept.path.parent)
            return "here" if is_told else "nobody"
    return "unknown"


def remove_old_journals(folder: Path) -> None:
    """Remove what nobody has told of in a month, of the folder's neighbours too."""
    for path in folder.parent.glob("*/*.json*"):
        with suppress(OSError):
            if time.time() - path.lstat().st_mtime > _MOST_SECONDS and _is_free(path):
                path.unlink()


def forget_job(povstorm_home: Path, job_uri: str) -> None:
    """Remove the journals of a deleted job; one with a teller that one removes."""
    for kept in _of_all_places(povstorm_home):
        if kept.of.job_uri == job_uri and not kept.has_teller:
            kept.remove()


def take_up(povstorm_home: Path, kept_server: str = "") -> None:
    """Have a process tell Prefect of what nobody else is to tell of; nothing is waited for.

    Where a process tells already, that one goes on to it.
    """
    for storage in ("file:", "gs:"):
        folder = journal_folder(povstorm_home, storage, kept_server)
        is_left = not all(each.has_teller for each in kept_journals(folder))
        if is_left and not tells_of_all(folder):
            _start(folder, kept_server)


def _start(folder: Path, kept_server: str) -> None:
    log = folder / "output.txt"
    log.unlink(missing_ok=True)
    with append_to_private_file(log) as output:
        subprocess.Popen(
            [sys.executable, "-P", "-m", "flows.recorder", str(folder), kept_server],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # It outlives the terminal.
            start_new_session=True,
            umask=OTHERS,
            env={**PREFECT_DEFAULTS, **os.environ},
        )


def note_turn(turn: int, server: str) -> None:
    """Note in the file of the turn, by its descriptor, who has it and to which server's API.

    Until note_end_of_turn it goes on to all that nobody else is to tell of.
    """
    note_end_of_turn(turn)
    os.pwrite(turn, json.dumps([os.getpid(), server]).encode(), 0)


def note_end_of_turn(turn: int) -> None:
    """Note that who has the turn will look no more for what is left, but once at most."""
    os.ftruncate(turn, 0)


def tells_of_all(folder: Path) -> bool:
    """Whether a process tells, and will look for what is left before it ends."""
    # In this order: one that ends notes it first, and then looks for the last time.
    return who_has_turn(folder)[0] != 0 and not _is_free(folder / TURN)


def who_has_turn(folder: Path) -> tuple[int, str]:
    """The process that tells Prefect, or did last, and the API; (0, "") where none has."""
    try:
        pid, server = json.loads((folder / TURN).read_bytes())
    except (OSError, ValueError, TypeError):
        return 0, ""
    return int(pid), str(server)


def _of_all_places(povstorm_home: Path) -> Iterable[KeptJournal]:
    for folder in (povstorm_home / layout.PREFECT_JOURNALS).glob("*"):
        yield from kept_journals(folder)


def _is_free(path: Path) -> bool:
    """Whether no process has locked the file; what is gone is nobody's.

    Of what cannot be looked at, somebody may have it.
    """
    try:
        descriptor = os.open(path, _OPEN)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
