"""One array task: its state, and how the API shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import uuid4

from tests.emulators.cloud_run.api_error import CODES
from tests.emulators.cloud_run.clock import timestamp
from tests.emulators.cloud_run.conditions import State, condition
from tests.emulators.cloud_run.containers import ContainerEnd

Json = dict[str, Any]
# The names are those of the label run.googleapis.com/runningState.
TaskState = Literal["Pending", "Running", "Succeeded", "Failed", "Cancelled", "Abandoned"]

CANCELLED_MESSAGE = "Cancelled by user."
_CONDITION: dict[TaskState, State] = {
    "Pending": "PENDING",
    "Running": "RECONCILING",
    "Succeeded": "SUCCEEDED",
    "Failed": "FAILED",
    "Cancelled": "FAILED",
    "Abandoned": "FAILED",
}


@dataclass
class Task:
    """A task of an execution; times are Unix seconds, None for what has not happened."""

    name: str
    index: int
    created: float
    state: TaskState = "Pending"
    scheduled: float | None = None
    started: float | None = None
    completed: float | None = None
    retried: int = 0
    end: ContainerEnd | None = None
    uid: str = field(default_factory=lambda: str(uuid4()))

    def shown(self, *, job: str, execution: str, template: Json, log_uri: str) -> Json:
        """As the v2 API has it: zeros and what is unset are left out."""
        times = {
            "createTime": self.created,
            "scheduledTime": self.scheduled,
            "startTime": self.started,
            "completionTime": self.completed,
            "updateTime": self.completed or self.started or self.created,
        }
        shown: Json = {
            "name": self.name,
            "uid": self.uid,
            "generation": "1",
            "observedGeneration": "1",
            "labels": {
                "run.googleapis.com/execution": execution,
                "run.googleapis.com/job": job,
                "run.googleapis.com/runningState": self.state,
            },
            **{name: timestamp(time) for name, time in times.items() if time is not None},
            "job": job,
            "execution": execution,
            **template,
            "reconciling": self.completed is None,
            "conditions": self._conditions(),
            "index": self.index,
            "retried": self.retried,
            "logUri": log_uri,
            "etag": f'"{self.uid[:8]}-{self.state}-{self.retried}"',
        }
        result = self._result()
        if result is not None:
            shown["lastAttemptResult"] = result
        return {name: value for name, value in shown.items() if value not in (0, False)}

    def failure(self) -> tuple[str, str]:
        """The code and the words of why the last attempt failed."""
        return why(self.end) if self.end is not None else ("CANCELLED", CANCELLED_MESSAGE)

    def _conditions(self) -> list[Json]:
        at = self.completed or self.started or self.created
        message = reason = ""
        if self.state == "Failed":
            message = self.failure()[1]
            reason = "NON_ZERO_EXIT_CODE"
        elif self.state in ("Cancelled", "Abandoned"):
            message, reason = CANCELLED_MESSAGE, "CANCELLED"
        conditions = [condition("Completed", _CONDITION[self.state], message, at=at, reason=reason)]
        if self.started is not None:
            conditions.append(condition("Started", "SUCCEEDED", at=self.started))
        return conditions

    def _result(self) -> Json | None:
        if self.state in ("Cancelled", "Abandoned"):
            return {"status": {"code": CODES["CANCELLED"][0], "message": CANCELLED_MESSAGE}}
        if self.end is None:
            return None
        if self.end.succeeded:
            return {"status": {}}
        code, message = why(self.end)
        result: Json = {"status": {"code": CODES[code][0], "message": message}}
        if self.end.exit_code:
            result["exitCode"] = self.end.exit_code
        elif self.end.out_of_memory:
            result |= {"termSignal": 9} if self.end.signal_told else {}
        elif self.end.term_signal:
            result["termSignal"] = self.end.term_signal
        return result


def why(end: ContainerEnd) -> tuple[str, str]:
    """The code and the words that the service has for a failed attempt.

    Out of memory was seen as "failed with exit code: 0 and message: The configured memory limit
    was reached." with "Container terminated on signal 9." in the log; nobody has said whether the
    attempt's result has the signal.
    """
    if end.not_started:
        return "INTERNAL", f"The container failed to start: {end.not_started}"
    if end.timed_out:
        return "DEADLINE_EXCEEDED", "The configured timeout was reached."
    if end.out_of_memory:
        return "ABORTED", "The configured memory limit was reached."
    if end.term_signal:
        return "INTERNAL", "The container was lost: its instance is gone."
    return "ABORTED", "The container exited with an error."
