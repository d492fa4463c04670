"""Conditions of jobs, executions and tasks, with the states, reasons and words of the service.

Messages are those that the service was seen to answer (``gcloud run jobs executions describe`` in
public reports), as its documentation has none.
"""

from __future__ import annotations

from typing import Any, Literal

from tests.emulators.cloud_run.clock import timestamp

Json = dict[str, Any]
State = Literal["PENDING", "RECONCILING", "SUCCEEDED", "FAILED"]


def condition(kind: str, state: State, message: str = "", *, at: float, reason: str = "") -> Json:
    """One condition; the reason is one of the enum ExecutionReason."""
    made: Json = {
        "type": kind,
        "state": f"CONDITION_{state}",
        "lastTransitionTime": timestamp(at),
    }
    if message:
        made["message"] = message
    if reason:
        made["executionReason"] = reason
    return made
