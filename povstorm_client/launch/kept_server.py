"""A Prefect server that is kept for the day: started, found by later runs, stopped.

``povstorm server`` and ``povstorm ui`` call it, and FlowProcess, whose flow else starts a server of
its own, which takes seconds. It is one a user (one $POVSTORM_HOME), answers on the loopback
interface alone, and has the database of the flows' own servers, so that the history is one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import psutil
from msgspec import Meta

from povstorm_client.errors import InputError, StorageError, ToolError
from povstorm_client.launch.last_words import last_words
from povstorm_client.launch.prefect_home import seed_prefect_home
from povstorm_client.launch.prefect_server import (
    VARIABLE,
    answers,
    chosen_server,
    prefect_home,
    server_command,
)
from povstorm_client.storage import layout, records
from povstorm_client.storage.private_files import (
    OTHERS,
    append_to_private_file,
    create_private_file,
    make_private_folder,
)

_HOST = "127.0.0.1"
# Prefect's own, and where its pages look for the API unless they are told.
_PORT = 4200
# As long as a flow waits for its own: a fresh database, and a busy machine.
_START_SECONDS = 300.0
# What it needs to write down what it was told; after that it is killed.
_STOP_SECONDS = 15.0
_POLL_SECONDS = 0.1
_RECORD, _LOG, _LOCK = "server.json", "server.txt", "lock"
# An option that Python takes and nobody reads: it tells the process from any other.
_MARK = "povstorm_server"


@dataclass(frozen=True)
class KeptServer:
    """A server that was started here.

    pid, ticks: its process, and when that began, in clock ticks since the machine did (0 where the
    system does not tell); token: what it has among its arguments; started: Unix seconds; home:
    Prefect's folder, with its database.
    """

    pid: Annotated[int, Meta(gt=1, le=2**31)]
    ticks: records.Count
    token: Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]
    port: Annotated[int, Meta(gt=0, le=65535)]
    started: records.Moment
    home: str

    @property
    def api(self) -> str:
        """The address of its API."""
        return f"http://{_HOST}:{self.port}/api"

    @property
    def ui(self) -> str:
        """The address of its pages."""
        return f"http://{_HOST}:{self.port}"

    @property
    def process(self) -> psutil.Process | None:
        """Its process; None if it has ended, whatever has its number now."""
        try:
            process = psutil.Process(self.pid)
            words = process.cmdline()
        except psutil.Error:
            return None
        is_it = f"{_MARK}={self.token}" in words and _ticks(self.pid) == self.ticks
        return process if is_it and process.status() != psutil.STATUS_ZOMBIE else None


def running_server(povstorm_home: Path) -> KeptServer | None:
    """The kept server, if its process runs; a record of one that has ended counts for nothing.

    Raises InputError for a record that cannot be read.
    """
    path = _folder(povstorm_home) / _RECORD
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(path, error) from error
    server = _read(data, path)
    return server if server.process is not None else None


def server_for_flows(povstorm_home: Path) -> str | None:
    """The kept server's API; None if another is chosen, or it is silent or has another history."""
    return answering_server(povstorm_home) if chosen_server() is None else None


def answering_server(povstorm_home: Path) -> str | None:
    """The kept server's API; None if it is silent or has another history."""
    server = running_server(povstorm_home)
    if server is None or server.home != str(prefect_home()) or not answers(server.api):
        return None
    return server.api


def start_server(povstorm_home: Path, port: int | None = None) -> tuple[KeptServer, bool]:
    """The server that runs, and whether this call has started it; it answers.

    port: None for Prefect's usual one, or another if that is taken.

    Raises ToolError if it does not start, with its last words, and leaves nothing behind then, nor
    if it is interrupted.
    """
    with _alone(povstorm_home) as folder:
        running = running_server(povstorm_home)
        if running is not None:
            return running, False
        server, process = _started(folder, _free_port(port))
        try:
            _wait_until_it_answers(server, process, folder / _LOG)
        except BaseException:
            process.kill()
            process.wait()
            (folder / _RECORD).unlink(missing_ok=True)
            raise
        return server, True


def stop_server(povstorm_home: Path) -> KeptServer | None:
    """Stop the kept server, and wait for its end; returns what ran, None if none did."""
    with _alone(povstorm_home) as folder:
        server = running_server(povstorm_home)
        if server is not None:
            _end(server)
        (folder / _RECORD).unlink(missing_ok=True)
        return server


def _read(data: bytes, path: Path) -> KeptServer:
    try:
        return records.decode(data, KeptServer, str(path))
    except StorageError as error:
        raise InputError(
            f"{error}. Remove the file; if a server still runs, `ps` shows it by {_MARK}="
        ) from error


def _folder(povstorm_home: Path) -> Path:
    return povstorm_home / layout.PREFECT_SERVER


@contextmanager
def _alone(povstorm_home: Path) -> Iterator[Path]:
    """The server's folder, with no other start or stop going on meanwhile."""
    folder = _folder(povstorm_home)
    try:
        make_private_folder(folder)
        with append_to_private_file(folder / _LOCK) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    except OSError as error:
        raise _unusable(folder, error) from error


def _unusable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path}, where povstorm keeps what it knows of its Prefect server, cannot be used "
        f"({error.strerror or error}): make it yours, or set POVSTORM_HOME to another folder"
    )


def _started(folder: Path, port: int) -> tuple[KeptServer, subprocess.Popen[bytes]]:
    """A new server's process, and the record of it, which is written first thing."""
    seed_prefect_home()
    token = secrets.token_hex(16)
    command = server_command("-X", f"{_MARK}={token}")
    command += ["--host", _HOST, "--port", str(port)]
    environment = {name: text for name, text in os.environ.items() if name != VARIABLE}
    environment |= {
        "PREFECT_HOME": str(prefect_home()),
        "PREFECT_UI_API_URL": f"http://{_HOST}:{port}/api",
        # For the links in what its automations tell.
        "PREFECT_UI_URL": f"http://{_HOST}:{port}",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    (folder / _LOG).unlink(missing_ok=True)
    with append_to_private_file(folder / _LOG) as log:
        process = subprocess.Popen(
            [*command, "--timeout-keep-alive", "5"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # It outlives the terminal, and holds no folder that somebody may want to remove.
            start_new_session=True,
            cwd=folder,
            umask=OTHERS,
            env=environment,
        )
    server = KeptServer(
        process.pid, _ticks(process.pid), token, port, time.time(), str(prefect_home())
    )
    try:
        _write(folder, server)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return server, process


def _write(folder: Path, server: KeptServer) -> None:
    partial = folder / f".{_RECORD}-{server.token}"
    create_private_file(partial)
    partial.write_text(json.dumps(asdict(server)), "utf-8")
    partial.replace(folder / _RECORD)


def _free_port(wanted: int | None) -> int:
    for port in (wanted or _PORT, 0):
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind((_HOST, port))
            except OSError as error:
                if wanted:
                    raise InputError(
                        f"port {wanted} cannot be had ({error.strerror}): give another, or none"
                    ) from error
                continue
            found: int = tried.getsockname()[1]
            return found
    raise ToolError(f"no port on {_HOST} can be had: stop programs that serve on many")


def _wait_until_it_answers(server: KeptServer, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not answers(server.api):
        # A process that has just begun has no arguments yet to be known by.
        if process.poll() is not None:
            said = last_words(log) or "it said nothing"
            raise ToolError(
                f"Prefect's server has ended at its start: {said} (its output is in {log})"
            )
        if time.monotonic() > deadline:
            raise ToolError(
                f"Prefect's server does not answer after {_START_SECONDS:.0f} s; its output is in "
                f"{log}: try again when the machine has less to do"
            )
        time.sleep(_POLL_SECONDS)


def _end(server: KeptServer) -> None:
    """End the server's process, and no other; ToolError if it cannot be."""
    process = server.process
    if process is None:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except psutil.TimeoutExpired:
            process.kill()
            try:
                process.wait(_STOP_SECONDS)
            except psutil.TimeoutExpired as error:
                raise ToolError(
                    f"Prefect's server, process {server.pid}, was killed and has not ended: look "
                    "at it with ps"
                ) from error


def _ticks(pid: int) -> int:
    """When a process began, in ticks since the machine did (proc(5), starttime); 0 if unknown.

    Unlike a time it is the same after the clock was set.
    """
    try:
        # The second field is a name in brackets, which can be anything.
        return int(
            Path(f"/proc/{pid}/stat")
            .read_text("utf-8", errors="replace")
            .rpartition(")")[2]
            .split()[19]
        )
    except (OSError, ValueError, IndexError):
        return 0
