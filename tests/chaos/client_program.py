"""A client program as a process of its own, so that it can be killed: runs a stored job.

``python -m tests.chaos.client_program OUTPUTS.JSON|FOLDER JOB_ID``
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil

from povstorm_client import Cluster, Job

_ROOT = Path(__file__).parents[2]
# A flow has half a minute to stop before it is killed (flow_process.py).
_STOP_SECONDS = 45


class ClientProgram:
    """A running client program; what it says is appended to ``log``."""

    def __init__(self, where: Path, job_id: str, log: Path) -> None:
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.client_program", str(where), job_id],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=_ROOT,
            )

    @property
    def returncode(self) -> int | None:
        """None while it runs; 0 if the job completed."""
        return self._process.poll()

    @property
    def said(self) -> str:
        """Its end, for people."""
        return self._log.read_text(errors="replace")[-2000:]

    def flows(self) -> list[psutil.Process]:
        """The flow that it has started, if any."""
        try:
            return psutil.Process(self._process.pid).children()
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """End it as SIGKILL does."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it as Ctrl-C does, if it has not ended."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        self._process.wait(_STOP_SECONDS)


def main(where: str, job_id: str) -> None:
    """Run the job to its end."""
    path = Path(where)
    cluster = Cluster.local(path) if path.is_dir() else Cluster.from_terraform_outputs(path)
    Job.open(cluster, job_id).run(show_progress=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
