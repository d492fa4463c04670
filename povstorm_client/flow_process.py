"""FlowProcess: the render-job flow as a child process of the client, for jobs on this machine.

A child keeps Prefect, and our modules named ``tasks`` and ``flows``, out of the user's process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from povstorm_client import sandbox_mode
from povstorm_client.disk_full import disk_full_words, is_disk_full, temporary_words
from povstorm_client.errors import StorageError
from povstorm_client.left_processes import kill_all_about
from povstorm_client.private_files import OTHERS, append_to_private_file
from povstorm_client.sandbox_mode import SandboxMode

_ENVIRONMENT_DEFAULTS = {
    # Prefect's embedded server would call home, and log an error where it cannot.
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # POV-Ray's output goes to the server's logs; laying it out for a terminal as well costs a
    # fifth of the flow's CPU time (measured), and nobody watches this one.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",
}
# What the flow needs to stop POV-Ray and to tell Prefect; after that it is killed.
_STOP_SECONDS = 30


class FlowProcess:
    """A started flow. It stops by itself when this process ends, however that happens."""

    def __init__(
        self, job_uri: str, gcp_credentials: str, log: Path, *, sandbox: SandboxMode
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
        # -P keeps the current folder, and with it a user's own tasks.py, off sys.path.
        # The pipe is never written to: the flow takes its closing as the request to stop.
        command = [sys.executable, "-P", "-m", "flows.render_job", job_uri, gcp_credentials]
        with _open_log(log) as output:
            self._process = subprocess.Popen(
                [*command, self._temporary.name],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # Whatever the flow writes, as Prefect's cache, is its user's alone.
                umask=OTHERS,
                env={
                    **_ENVIRONMENT_DEFAULTS,
                    **os.environ,
                    "TMPDIR": self._temporary.name,
                    sandbox_mode.VARIABLE: sandbox,
                },
            )
        self._log = log

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

    def stop(self) -> None:
        """Ask the flow to stop, wait for it, and kill it if it does not."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill_group()
            self._process.wait()
        self._clear_up()

    def _clear_up(self) -> None:
        self._kill_group()
        if self._process.returncode < 0:
            kill_all_about(self._temporary.name)
        self._temporary.cleanup()

    def _kill_group(self) -> None:
        """Kill the flow and what a flow that was killed itself left behind: Prefect's server."""
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
