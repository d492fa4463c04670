"""The runs on this machine of which Prefect is told, or will be; ``ui`` and ``server stop`` ask.

They are known by the processes that render them (flows/local_run.py) and that tell Prefect
(flows/recorder.py), by their arguments, and by the journals that nobody else is to tell of.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from povstorm_client.launch.kept_journals import kept_journals, who_has_turn

_RECORDER, _FLOW = "flows.recorder", "flows.local_run"


@dataclass(frozen=True)
class ToldRun:
    """A run with a process that tells Prefect of it, or that will start one.

    run: the JobState's, "" while only the run's own process is there; told_at: when Prefect is
    told, in Unix seconds, if the run goes on for so long; 0 where that is not known. server: the
    API that is told, or that the process was given, "" without one.
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
        if module == _FLOW and arguments:
            found.append(ToldRun(process, arguments[0], "", 0.0, server))
        elif module == _RECORDER and len(arguments) == 8:
            job_uri, _, run, journal, *_, after = arguments
            folder = Path(journal).parent
            pid, told = who_has_turn(folder)
            told_at = begun + float(after)
            if pid == process.pid:
                found.append(ToldRun(process, job_uri, run, told_at, told))
                found += _left(process, folder, told)
            else:
                found.append(ToldRun(process, job_uri, run, told_at, server))
        elif module == _RECORDER and len(arguments) == 2:
            found += _left(process, Path(arguments[0]), who_has_turn(Path(arguments[0]))[1])
    return found


def _left(process: psutil.Process, folder: Path, server: str) -> list[ToldRun]:
    """What a process is to tell of besides its own run."""
    left = [kept.of for kept in kept_journals(folder) if not kept.has_teller]
    return [ToldRun(process, of.job_uri, of.run, 0.0, server) for of in left]
