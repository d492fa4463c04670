"""FlowProcess: the render-job flow as a child process of the client, for jobs on this machine.

A child keeps Prefect, and our modules named ``tasks`` and ``flows``, out of the user's process.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# What the flow needs to stop POV-Ray and to tell Prefect; after that it is killed.
_STOP_SECONDS = 30


class FlowProcess:
    """A started flow. It stops by itself when this process ends, however that happens."""

    def __init__(self, job_uri: str, log: Path) -> None:
        # -P keeps the current folder, and with it a user's own tasks.py, off sys.path.
        # The pipe is never written to: the flow takes its closing as the request to stop.
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "flows.render_job", job_uri],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.log = log

    @property
    def returncode(self) -> int | None:
        """The exit code, None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Ask the flow to stop, wait for it, and kill it if it does not."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
