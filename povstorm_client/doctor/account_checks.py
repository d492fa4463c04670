"""The checks of ``povstorm doctor`` that look at a cluster's service accounts and their rights.

project_checks.py has each made. What an account may do is read from the policies of what it may do
it with, which an owner sees; an account is told of its own rights alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from povstorm_client.cloud_run.terraform_outputs import TerraformOutputs
from povstorm_client.doctor.check import Check, judged
from povstorm_client.doctor.google_apis import GoogleApis, Json
from povstorm_client.doctor.image_place import ImagePlace, image_place
from povstorm_client.errors import CloudError

APPLY = "run `terraform apply` (docs/deploy.md)"
_RENDERER_ROLE = "povstormRenderer"
# What they permit is to write, and nothing that a scene could read or take.
_HARMLESS = {
    "roles/cloudtrace.agent",
    "roles/logging.logWriter",
    "roles/monitoring.metricWriter",
}
_ACT_AS, _ACTS_AS = "iam.serviceAccounts.actAs", "roles/iam.serviceAccountUser"
_ACT_AS_EVERYWHERE = {_ACTS_AS, "roles/editor", "roles/owner"}
_READ_IMAGES = "artifactregistry.repositories.downloadArtifacts"
_READS_IMAGES = re.compile(
    r"roles/(artifactregistry\.(admin|reader|repoAdmin|writer)|editor|owner|viewer)"
)
_READS_SECRET = "roles/secretmanager.secretAccessor"  # noqa: S105 - a role's name
_READ_SECRETS_EVERYWHERE = {_READS_SECRET, "roles/secretmanager.admin", "roles/owner"}
# The state of a version that can be read, of ENABLED, DISABLED and DESTROYED.
_ENABLED = "ENABLED"
# Of Google's words for an API without which there is no secret either.
_SWITCHED_OFF = "before or it is disabled"
# Without it conditions are not shown: https://cloud.google.com/iam/docs/policies#versions.
_VERSION = 3


def acting_accounts(outputs: TerraformOutputs) -> Iterator[tuple[str, str]]:
    """Who has to be allowed to act as whom (actAs): by e-mail, the one and the other.

    Flows run render jobs, which are the renderer; what starts flows makes jobs that are the
    orchestrator.
    """
    yield outputs.orchestrator_service_account, outputs.renderer_service_account
    yield outputs.submitter_service_account, outputs.orchestrator_service_account


def acting_name(acted: str) -> str:
    """The name of the check whether somebody may act as an account."""
    return f"acting as {short(acted)}"


def check_acting(apis: GoogleApis, outputs: TerraformOutputs, actor: str, acted: str) -> Check:
    """An account may have something run as another, or nothing of it starts."""
    account = f"v1/projects/-/serviceAccounts/{acted}"
    if apis.caller == actor:
        answer = apis.ask("iam", f"{account}:testIamPermissions", {"permissions": [_ACT_AS]})
        may = _ACT_AS in (answer or {}).get("permissions", ())
    else:
        version = {"options.requestedPolicyVersion": str(_VERSION)}
        own = _roles(apis.ask("iam", f"{account}:getIamPolicy", {}, **version), actor)
        may = _ACTS_AS in own or bool(_project_roles(apis, outputs, actor) & _ACT_AS_EVERYWHERE)
    return judged(
        acting_name(acted),
        passed=may,
        finding=f"{short(actor)} may"
        if may
        else f"{actor} lacks {_ACT_AS} on {acted}: what it would start there is refused",
        remedy=f"{APPLY}, or grant it {_ACTS_AS} on that account",
    )


def check_submitter_reads_images(apis: GoogleApis, outputs: TerraformOutputs) -> Check:
    """Who makes the Cloud Run jobs of flows may read their image, or none of them is made."""
    name, submitter = "the submitter's images", outputs.submitter_service_account
    place = image_place(outputs.render_image)
    if place is None:
        return Check(
            name,
            passed=True,
            finding="are in no Artifact Registry that could be asked",
            known=False,
        )
    may = _reads_images(apis, outputs, place)
    return judged(
        name,
        passed=may,
        finding=f"{submitter} may read {place.repository}"
        if may
        else f"{submitter} may not read the repository {place.repository}: no flow can start on "
        "Cloud Run",
        remedy=f"{APPLY}, or grant it roles/artifactregistry.reader on the repository",
    )


def _reads_images(apis: GoogleApis, outputs: TerraformOutputs, place: ImagePlace) -> bool:
    submitter = outputs.submitter_service_account
    if apis.caller == submitter:
        question = {"permissions": [_READ_IMAGES]}
        answer = apis.ask("artifactregistry", f"{place.path}:testIamPermissions", question)
        return _READ_IMAGES in (answer or {}).get("permissions", ())
    version = {"options.requestedPolicyVersion": str(_VERSION)}
    policy = apis.get("artifactregistry", f"{place.path}:getIamPolicy", **version)
    if any(map(_READS_IMAGES.fullmatch, _roles(policy, submitter))):
        return True
    return any(map(_READS_IMAGES.fullmatch, _project_roles(apis, outputs, submitter)))


def check_flows_read_secret(
    apis: GoogleApis, outputs: TerraformOutputs, name: str, secret: str, version: str
) -> Check:
    """A secret that flows are given is there, and they may read it, or none of them starts."""
    resource = f"v1/projects/{outputs.project_id}/secrets/{secret}"
    try:
        found = apis.get("secretmanager", f"{resource}/versions/{version}")
    except CloudError as error:
        if _SWITCHED_OFF not in str(error):
            raise
        found = None
    state = (found or {}).get("state", "")
    if state != _ENABLED:
        return Check(
            name,
            passed=False,
            finding=f"version {version} of the secret {secret} is {state.lower()}"
            if state
            else f"there is no secret {secret} with a version {version} in Secret Manager: no flow "
            "would start",
            remedy=f'printf %s "$VALUE" | gcloud secrets {"versions add" if state else "create"} '
            f"{secret} --data-file=- (docs/deploy.md)",
        )
    account = outputs.orchestrator_service_account
    policy = apis.get(
        "secretmanager",
        f"{resource}:getIamPolicy",
        **{"options.requestedPolicyVersion": str(_VERSION)},
    )
    may = _READS_SECRET in _roles(policy, account) or bool(
        _project_roles(apis, outputs, account) & _READ_SECRETS_EVERYWHERE
    )
    return judged(
        name,
        passed=may,
        finding=f"flows are given the secret {secret}"
        if may
        else f"{account} may not read the secret {secret}: no flow would start",
        remedy=f"gcloud secrets add-iam-policy-binding {secret} --member serviceAccount:{account} "
        f"--role {_READS_SECRET}",
    )


def check_renderer_rights(apis: GoogleApis, outputs: TerraformOutputs) -> Check:
    """Containers, in which scenes run that nobody trusts, may do no more than they need."""
    name, renderer = "the renderer's rights", outputs.renderer_service_account
    path = f"storage/v1/b/{outputs.bucket}/iam"
    policy = apis.get("storage", path, optionsRequestedPolicyVersion=str(_VERSION))
    bindings = list(_bindings(policy, renderer))
    own = f"projects/{outputs.project_id}/roles/{_RENDERER_ROLE}"
    everywhere = _project_roles(apis, outputs, renderer) - _HARMLESS
    if everywhere:
        return Check(
            name,
            passed=False,
            finding=f"{renderer} has {', '.join(sorted(everywhere))} on the whole project: so "
            "has a scene that takes POV-Ray over",
            remedy=_take_away(sorted(everywhere)[0], renderer, f"projects {outputs.project_id}"),
        )
    if too_much := sorted({each["role"] for each in bindings} - {own}):
        return Check(
            name,
            passed=False,
            finding=f"{renderer} has {', '.join(too_much)} on the bucket: a scene that takes "
            "POV-Ray over could use, and perhaps replace or delete, what is others'",
            remedy=_take_away(too_much[0], renderer, f"storage buckets gs://{outputs.bucket}"),
        )
    jobs = f'resource.name.startsWith("projects/_/buckets/{outputs.bucket}/objects/jobs/")'
    if any(each.get("condition", {}).get("expression") != jobs for each in bindings):
        return Check(
            name,
            passed=False,
            finding=f"{renderer} may do in the whole bucket what it has to do below jobs/",
            remedy=f"{APPLY}, and take {own} without that condition from it",
        )
    return judged(
        name,
        passed=bool(bindings),
        finding="no more than terraform's"
        if bindings
        else f"{renderer} may not use the bucket: every frame would fail",
        remedy=APPLY,
    )


def check_account_keys(apis: GoogleApis, email: str) -> Check:
    """Nobody holds a lasting key of an account that works without one."""
    name = f"keys of {short(email)}"
    path = f"v1/projects/-/serviceAccounts/{email}/keys"
    found = apis.get("iam", path, keyTypes="USER_MANAGED") or {}
    keys = [each["name"].rpartition("/")[2] for each in found.get("keys", ())]
    if not keys:
        return Check(name, passed=True, finding="it has none")
    return Check(
        name,
        passed=False,
        finding=f"there are {len(keys)}: who has the file of one is {email} until it is deleted",
        remedy=f"gcloud iam service-accounts keys delete {keys[0]} --iam-account {email}; act as "
        "it without one (docs/deploy.md)",
    )


def short(email: str) -> str:
    """An account's name in its project."""
    return email.partition("@")[0]


def _take_away(role: str, email: str, where: str) -> str:
    """where: as gcloud has it, ``projects P`` or ``storage buckets gs://B``."""
    kind, _, name = where.rpartition(" ")
    return (
        f"gcloud {kind} remove-iam-policy-binding {name} --member serviceAccount:{email} --role "
        f"{role}: what terraform grants is enough"
    )


def _project_roles(apis: GoogleApis, outputs: TerraformOutputs, email: str) -> set[str]:
    """Which roles an account has on all that is in the project."""
    question = {"options": {"requestedPolicyVersion": _VERSION}}
    path = f"v1/projects/{outputs.project_id}:getIamPolicy"
    return _roles(apis.ask("cloudresourcemanager", path, question), email)


def _roles(policy: Json | None, email: str) -> set[str]:
    return {each["role"] for each in _bindings(policy, email)}


def _bindings(policy: Json | None, email: str) -> Iterator[Json]:
    """What a policy gives to a service account."""
    for binding in (policy or {}).get("bindings", ()):
        if f"serviceAccount:{email}" in binding.get("members", ()):
            yield binding
