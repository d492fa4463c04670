"""IAM: which permission each method of the API needs, and the refusal of who lacks it.

Who calls is told by the bearer token, and what they may by the policy of a GoogleProject. Without
one, everybody may do all but what a knob denies.
https://cloud.google.com/run/docs/reference/iam/permissions
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from tests.emulators.cloud_run.api_error import ApiError
from tests.emulators.cloud_run.knobs import Knobs
from tests.emulators.iam.policy import service_account_name
from tests.emulators.iam.project import GoogleProject
from tests.emulators.iam.tokens import email_of, member_of

Json = dict[str, Any]

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


@dataclass(frozen=True)
class Caller:
    """Who makes a call, in the project by whose policy it is judged."""

    member: str
    project: GoogleProject


# Of the call that is being answered; None where nobody is asked.
_caller: ContextVar[Caller | None] = ContextVar("caller", default=None)


def identify(project: GoogleProject | None, authorization: str) -> None:
    """Say whose call this is, by its Authorization header; UNAUTHENTICATED without a token."""
    if project is None:
        return
    member = member_of(authorization.removeprefix("Bearer "))
    if member is None:
        raise ApiError(
            "UNAUTHENTICATED",
            "Request had invalid authentication credentials. Expected OAuth 2 access token, login "
            "cookie or other valid authentication credential.",
        )
    _caller.set(Caller(member, project))


def check_method(knobs: Knobs, method: str, resource: str) -> None:
    """PERMISSION_DENIED if the caller lacks the method's permission."""
    if method in _OF_METHOD:
        check(knobs, _OF_METHOD[method], resource)


def check(knobs: Knobs, permission: str, resource: str) -> None:
    """PERMISSION_DENIED if the caller lacks the permission."""
    if not _has(knobs, permission, resource):
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


def check_deployment(job: Json) -> None:
    """What is asked of who makes or changes a job, and of the account that the job runs as.

    https://cloud.google.com/run/docs/configuring/jobs/service-identity
    and https://cloud.google.com/run/docs/deploying#permissions_required_to_deploy.
    """
    caller = _caller.get()
    template = job["template"]["template"]
    if caller is None:
        _refuse_secrets(template)
        return
    account = template.get("serviceAccount", "")
    _check_acts_as(caller, account)
    for container in template["containers"]:
        _check_image(caller, container["image"])
        for variable in container.get("env", []):
            if "valueSource" in variable:
                _check_secret(caller.project, variable["valueSource"]["secretKeyRef"], account)


def check_run(job: Json) -> None:
    """What may be asked of who runs a job, beside rights on the job: to act as its account.

    Google's documentation does not ask for it, who ran into it says that Google does:
    https://github.com/GoogleCloudPlatform/LifeSciences/pull/87.
    """
    caller = _caller.get()
    if caller is not None:
        _check_acts_as(caller, job["template"]["template"].get("serviceAccount", ""))


def allowed(knobs: Knobs, asked: list[str], resource: str) -> list[str]:
    """Those of the asked ones that the caller has."""
    return [each for each in asked if _has(knobs, each, resource)]


def _has(knobs: Knobs, permission: str, resource: str) -> bool:
    caller = _caller.get()
    granted = caller is None or caller.project.allows(caller.member, permission, resource)
    return granted and permission not in knobs.denied_permissions


def _check_acts_as(caller: Caller, account: str) -> None:
    named = service_account_name(caller.project.policy.project, account)
    if not caller.project.allows(caller.member, "iam.serviceAccounts.actAs", named):
        raise ApiError(
            "PERMISSION_DENIED",
            f"Permission 'iam.serviceaccounts.actAs' denied on service account {account} (or it "
            "may not exist).",
        )


def _refuse_secrets(template: Json) -> None:
    variables = [each for container in template["containers"] for each in container.get("env", [])]
    if any("valueSource" in each for each in variables):
        raise ApiError("UNIMPLEMENTED", "valueSource: there are secrets in a GoogleProject only")


def _check_image(caller: Caller, image: str) -> None:
    host, _, path = image.partition("/")
    location, separator, _ = host.partition("-docker.pkg.dev")
    if not separator:
        return  # of a public registry
    project, repository, *_ = path.split("/")
    name = f"projects/{project}/locations/{location}/repositories/{repository}"
    permission = "artifactregistry.repositories.downloadArtifacts"
    if not caller.project.policy.allows(caller.member, permission, name):
        raise ApiError(
            "PERMISSION_DENIED",
            f"User must have permission to read the image, {image}. Ensure that the provided "
            "container image URL is correct and that the above account has permission to access "
            f'the image. Cause: 403 Forbidden: Permission "{permission}" denied on resource '
            f'"{name}" (or it may not exist) for {email_of(caller.member)}',
        )
    if not caller.project.has_image(image):
        # In gcloud's words of it: https://github.com/GoogleCloudPlatform/avocano/issues/414.
        raise ApiError("NOT_FOUND", f"Image '{image}' not found.")


def _check_secret(project: GoogleProject, reference: Json, account: str) -> None:
    secret = reference["secret"]
    name = f"projects/{project.policy.project}/secrets/{secret}"
    member = f"serviceAccount:{account}"
    readable = project.policy.allows(member, "secretmanager.versions.access", name)
    if not readable or project.secret(secret) is None:
        raise ApiError(
            "FAILED_PRECONDITION",
            f"Permission denied on secret: {name}/versions/{reference['version']} for Revision "
            f"service account {account}. The service account used must be granted the 'Secret "
            "Manager Secret Accessor' role (roles/secretmanager.secretAccessor) at the secret, "
            "project or higher level.",
        )
