"""IAM: which permission each method of the API needs, and the refusal of who lacks it.

https://cloud.google.com/run/docs/reference/iam/permissions
"""

from __future__ import annotations

from tests.emulators.cloud_run.api_error import ApiError
from tests.emulators.cloud_run.knobs import Knobs

_OF_METHOD = {
    "jobs.create": "run.jobs.create",
    "jobs.get": "run.jobs.get",
    "jobs.list": "run.jobs.list",
    "jobs.patch": "run.jobs.update",
    "jobs.delete": "run.jobs.delete",
    "jobs.run": "run.jobs.run",
    "executions.get": "run.executions.get",
    "executions.list": "run.executions.list",
    "executions.cancel": "run.executions.cancel",
    "executions.delete": "run.executions.delete",
    "tasks.get": "run.tasks.get",
    "tasks.list": "run.tasks.list",
    "operations.get": "run.operations.get",
    "operations.list": "run.operations.list",
    "operations.wait": "run.operations.get",
    "operations.delete": "run.operations.delete",
}
RUN_WITH_OVERRIDES = "run.jobs.runWithOverrides"


def check_method(knobs: Knobs, method: str, resource: str) -> None:
    """PERMISSION_DENIED if the method's permission is denied."""
    if method in _OF_METHOD:
        check(knobs, _OF_METHOD[method], resource)


def check(knobs: Knobs, permission: str, resource: str) -> None:
    """PERMISSION_DENIED if the permission is denied."""
    if permission in knobs.denied_permissions:
        raise ApiError(
            "PERMISSION_DENIED",
            f"Permission '{permission}' denied on resource '{resource}' (or resource may not "
            "exist).",
            [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "IAM_PERMISSION_DENIED",
                    "domain": "run.googleapis.com",
                    "metadata": {"permission": permission, "resource": resource},
                }
            ],
        )


def allowed(knobs: Knobs, asked: list[str]) -> list[str]:
    """Those of the asked ones that are not denied."""
    return [each for each in asked if each not in knobs.denied_permissions]
