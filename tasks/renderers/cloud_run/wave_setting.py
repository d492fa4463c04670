"""WaveSetting: what all waves of one run of a job share; CloudRunRenderer makes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.run_logger import RunLogger
from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage
from tasks.waves.executions import ExecutionPace

# Shows people a line, "" none any more: what frames wait for.
Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Pace(ExecutionPace):
    """How the dispatcher paces itself, in seconds.

    A wave starts when every admitted frame is here, and none has come for gather_quiet, or when
    the first has waited gather_most.
    sample: how long the first frames, from which the time of the others is guessed, are waited
    for.
    """

    poll: float = 2.0
    park_first: float = 2.0
    park_most: float = 60.0
    park_limit: float = 3600.0
    unbegun: float = 60.0
    finish: float = 20.0
    gather_quiet: float = 0.5
    gather_most: float = 15.0
    sample: float = 90.0


@dataclass(frozen=True)
class WaveSetting:
    """Where the frames of a job are stored and rendered, how, and who is told."""

    storage: Storage
    job_id: str
    fleet: CloudRunFleet
    settings: JobSettings
    pace: Pace
    log: RunLogger
    tell: Tell

    @property
    def waves_uri(self) -> str:
        """What the uris of all waves of the job begin with."""
        return f"{self.storage.uri}/{layout.wave(self.job_id, '')}"
