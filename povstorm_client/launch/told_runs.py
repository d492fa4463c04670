"""The runs on this machine of which Prefect is told, or will be; ``ui`` and ``server stop`` ask.

They are known by the processes that render them (flows/local_run.py) and that tell Prefect
(flows/recorder.py), by their arguments.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import psutil

_RECORDER, _FLOW = "flows.recorder", "flows.local_run"


@dataclass(frozen=True)
class ToldRun:
    """A run with a process that tells Prefect of it, or that will start one.

    run: the JobState's, "" while only the run's own process is there; told_at: when Prefect is
    told, in Unix seconds, if the run goes on for so long; 0 where that is not known. server: the
    API that the process was given, "" without one.
    """

    process: psutil.Process
    job_uri: str
    run: str
    told_at: float
    server: str

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self.job_uri.rpartition("/")[2]

    @property
    def seconds_left(self) -> float:
        """How long it is until Prefect is told, unless the run ends before."""
        return max(0.0, self.told_at - time.time())


def told_runs() -> list[ToldRun]:
    """Those of this user's processes; one of another user's cannot be looked at."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            module = next((each for each in (_RECORDER, _FLOW) if each in words), None)
            if module is None or words[words.index(module) - 1] != "-m":
                continue
            server = process.environ().get("PREFECT_API_URL", "")
            begun = process.create_time()
        except psutil.Error:
            continue
        arguments = words[words.index(module) + 1 :]
        if module == _RECORDER and len(arguments) == 6:
            job_uri, _, run, _, _, after = arguments
            found.append(ToldRun(process, job_uri, run, begun + float(after), server))
        elif module == _FLOW and arguments:
            found.append(ToldRun(process, arguments[0], "", 0.0, server))
    return found
