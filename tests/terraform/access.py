"""Who may do what by the grants in a terraform state: the IAM policy that it makes."""

from __future__ import annotations

import re

from tests.emulators.iam.policy import (
    Binding,
    Grant,
    Policy,
    bucket_name,
)
from tests.terraform.terraform_command import Resource

_STARTS_WITH = re.compile(r'resource\.name\.startsWith\("([^"]*)"\)')


def policy_of(resources: list[Resource], owner: str | None = None) -> Policy:
    """The policy that the state makes; owner: who owns the project beside, ``user:…``.

    A new bucket gives the project's owners two roles of its own accord.
    """
    (project,) = {each.values["project"] for each in resources if each.values.get("project")}
    buckets = [each.values["name"] for each in resources if each.type == "google_storage_bucket"]
    granted = [
        Binding(
            each.values["member"], each.values["role"], _resource(each, project), _condition(each)
        )
        for each in resources
        if each.type.endswith("_iam_member")
    ]
    if owner is not None:
        granted.append(Binding(owner, "roles/owner", f"projects/{project}"))
        of_bucket = ("roles/storage.legacyBucketOwner", "roles/storage.legacyObjectOwner")
        granted += [
            Binding(owner, role, bucket_name(bucket)) for bucket in buckets for role in of_bucket
        ]
    custom = {
        each.values["name"]: list(each.values["permissions"])
        for each in resources
        if each.type == "google_project_iam_custom_role"
    }
    return Policy(project, granted, custom)


def object_grants(resources: list[Resource], member: str) -> list[Grant]:
    """What a member (``serviceAccount:…``) may do with the objects of the state's one bucket."""
    (bucket,) = [each.values["name"] for each in resources if each.type == "google_storage_bucket"]
    return policy_of(resources).object_grants(member, bucket)


def may(grants: list[Grant], verb: str, key: str) -> bool:
    """Whether ``verb`` (get, create, delete, list…) is allowed on the object, or the prefix."""
    return any(
        grant.permission == f"objects.{verb}" and key.startswith(grant.prefix) for grant in grants
    )


def _resource(grant: Resource, project: str) -> str:
    """The full name of what a grant is on."""
    values = grant.values
    match grant.type.removeprefix("google_").removesuffix("_iam_member"):
        case "project":
            return f"projects/{project}"
        case "storage_bucket":
            return bucket_name(values["bucket"])
        case "storage_managed_folder":
            return f"{bucket_name(values['bucket'])}/objects/{values['managed_folder']}"
        case "service_account":
            return str(values["service_account_id"])
        case "secret_manager_secret":
            return f"projects/{project}/secrets/{values['secret_id']}"
        case "artifact_registry_repository":
            kind, name = "repositories", values["repository"]
        case "cloud_run_v2_job":
            kind, name = "jobs", values["name"]
        case "cloud_run_v2_service":
            kind, name = "services", values["name"]
        case _:
            raise ValueError(f"{grant.address}: grants on these are not known here")
    return f"projects/{project}/locations/{values['location']}/{kind}/{name}"


def _condition(grant: Resource) -> str:
    """The beginning of the names that the grant is limited to; "" for no limit."""
    if not grant.values.get("condition"):
        return ""
    (condition,) = grant.values["condition"]
    match = _STARTS_WITH.fullmatch(condition["expression"])
    assert match is not None, f"{grant.address}: a condition of another form"
    objects = f"{bucket_name(grant.values['bucket'])}/objects/"
    assert match[1].startswith(objects), f"{grant.address}: a condition on something else"
    return match[1]
