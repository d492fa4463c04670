"""FlowProcess: a run (flows.local_run) as a child process of the client, for jobs on this machine.

A child keeps our modules named ``tasks`` and ``flows``, out of the user's process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from povstorm_client.errors import JobError, PovstormError, StorageError
from povstorm_client.launch.last_words import last_words
from povstorm_client.launch.orphans import family_of, kill, kill_all_about, wake
from povstorm_client.launch.prefect_home import PREFECT_DEFAULTS, seed_prefect_home
from povstorm_client.programs import sandbox_mode
from povstorm_client.programs.sandbox_mode import SandboxMode
from povstorm_client.storage.disk_full import disk_full_words, is_disk_full, temporary_words
from povstorm_client.storage.povstorm_home import home_folder
from povstorm_client.storage.private_files import OTHERS, append_to_private_file

# What the flow needs to stop POV-Ray and store how it ended; after that it is killed.
_STOP_SECONDS = 30.0
# A user who waits so long is told what for.
_QUIET_SECONDS = 3.0
# The kernel ends a killed process at once, unless it waits for a device or a network file system.
_KILL_SECONDS = 10.0


class FlowProcess:
    """A started flow. It stops by itself when this process ends, however that happens.

    server_url: the API that the flow reports to; None: its environment chooses, or it starts one.
    """

    def __init__(
        self,
        job_uri: str,
        gcp_credentials: str,
        log: Path,
        *,
        sandbox: SandboxMode,
        server_url: str | None = None,
    ) -> None:
        # Removed by the flow when it ends, and from here if it was killed.
        try:
            self._temporary = tempfile.TemporaryDirectory(
                prefix="povstorm-", ignore_cleanup_errors=True
            )
        except OSError as error:
            if is_disk_full(error):
                raise StorageError(f"the flow cannot be started: {temporary_words()}") from error
            raise StorageError(
                f"the flow cannot be started: there is no folder for temporary files ({error}): "
                "set TMPDIR to one that can be written to and has room"
            ) from error
        seed_prefect_home()
        # -P keeps the current folder, and with it a user's own tasks.py, off sys.path.
        # The pipe is never written to: the flow takes its closing as the request to stop.
        command = [sys.executable, "-P", "-m", "flows.local_run", job_uri, gcp_credentials]
        with _open_log(log) as output:
            self._begin = output.tell()
            self._process = subprocess.Popen(
                [*command, self._temporary.name],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # Whatever the flow writes, as Prefect's cache, is its user's alone.
                umask=OTHERS,
                env={
                    **PREFECT_DEFAULTS,
                    **os.environ,
                    "TMPDIR": self._temporary.name,
                    sandbox_mode.VARIABLE: sandbox,
                    **({"PREFECT_API_URL": server_url} if server_url else {}),
                },
            )
        self._log = log
        self._is_cleared_up = False

    @property
    def log(self) -> str:
        """The file with its output."""
        return str(self._log)

    @property
    def returncode(self) -> int | None:
        """The exit code, None while it runs."""
        returncode = self._process.poll()
        if returncode is not None:
            self._clear_up()
        return returncode

    def wait(self, seconds: float) -> None:
        """Wait so long, or until it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    @property
    def last_words(self) -> str:
        """What it said last, or what ended it: a line for people, "" where there is nothing."""
        code = self._process.poll()
        if code is not None and code < 0:
            return f"it was killed by {signal.Signals(-code).name}"
        return last_words(self._log, self._begin)

    def stop(self) -> None:
        """Ask the flow to stop, wait for it, and kill it if it does not, or on another Ctrl-C.

        Raises JobError if it cannot be killed.
        """
        try:
            if self._process.stdin is not None:
                self._process.stdin.close()
            # One that was stopped by SIGSTOP hears nothing before.
            wake(family_of(self._process.pid))
            self._wait()
        finally:
            self._end()

    def _wait(self) -> None:
        try:
            self._process.wait(_QUIET_SECONDS)
        except subprocess.TimeoutExpired:
            print(
                f"povstorm: waiting up to {_STOP_SECONDS:.0f} s for the flow to stop; Ctrl-C again "
                "ends it at once",
                file=sys.stderr,
                flush=True,
            )
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS - _QUIET_SECONDS)

    def _end(self) -> None:
        if self._process.poll() is None:
            # POV-Ray too, which has sessions of its own.
            family = family_of(self._process.pid)
            self._kill_group()
            kill(family)
            try:
                self._process.wait(_KILL_SECONDS)
            except subprocess.TimeoutExpired as error:
                raise JobError(
                    f"the flow, process {self._process.pid}, was killed and has not ended: it "
                    "waits for a device or a network file system; look at it with ps"
                ) from error
        self._clear_up()

    def _clear_up(self) -> None:
        """Once: later the number of its group of processes may be others'."""
        if self._is_cleared_up:
            return
        self._is_cleared_up = True
        self._kill_group()
        if self._process.returncode < 0:
            kill_all_about(self._temporary.name)
            self._have_it_told()
        self._temporary.cleanup()

    def _have_it_told(self) -> None:
        """Have Prefect told of a flow that was killed before it had a process for that."""
        # Importing it takes time that other runs do not have.
        from povstorm_client.launch.kept_journals import take_up

        try:
            take_up(home_folder())
        except (OSError, PovstormError) as error:
            print(f"povstorm: warning: Prefect is not told of the run: {error}", file=sys.stderr)

    def _kill_group(self) -> None:
        """Kill the flow and what a flow that was killed itself left behind."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return  # all of it has ended


def _open_log(log: Path) -> IO[bytes]:
    try:
        return append_to_private_file(log)
    except OSError as error:
        if is_disk_full(error):
            words = disk_full_words(log.parent, "make room there")
            raise StorageError(f"the flow cannot be started: {words}") from error
        raise StorageError(f"cannot write {log}: {error.strerror or error}") from error
