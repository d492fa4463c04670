"""One job: its configuration, whether it is ready, and how the API shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from tests.emulators.cloud_run.clock import timestamp
from tests.emulators.cloud_run.conditions import condition
from tests.emulators.cloud_run.execution import CALLER, Execution

Json = dict[str, Any]
_KEPT_AFTER_DELETION_SECONDS = 30 * 24 * 3600


@dataclass
class Job:
    """A job. configuration: what its maker gave, with defaults. Times are Unix seconds."""

    name: str
    configuration: Json
    created: float
    generation: int = 1
    observed_generation: int = 0
    updated: float = 0.0
    deleted: float | None = None
    execution_count: int = 0
    latest: Execution | None = None
    uid: str = field(default_factory=lambda: str(uuid4()))

    @property
    def etag(self) -> str:
        """Changes with each change of the configuration."""
        return f'"{self.uid[:8]}-{self.generation}"'

    def shown(self) -> Json:
        """As the v2 API has it."""
        ready = self.observed_generation == self.generation
        state = condition("Ready", "SUCCEEDED" if ready else "PENDING", at=self.updated)
        shown: Json = {
            **self.configuration,
            "name": self.name,
            "uid": self.uid,
            "generation": str(self.generation),
            "createTime": timestamp(self.created),
            "updateTime": timestamp(self.updated),
            "creator": CALLER,
            "lastModifier": CALLER,
            "terminalCondition": state,
            "latestCreatedExecution": self.latest.reference() if self.latest else {},
            "etag": self.etag,
        }
        if self.observed_generation:
            shown["observedGeneration"] = str(self.observed_generation)
        if not ready:
            shown["reconciling"] = True
        if self.execution_count:
            shown["executionCount"] = self.execution_count
        if self.deleted is not None:
            shown["deleteTime"] = timestamp(self.deleted)
            shown["expireTime"] = timestamp(self.deleted + _KEPT_AFTER_DELETION_SECONDS)
        return shown
