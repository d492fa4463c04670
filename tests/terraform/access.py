"""Who may do what with the bucket's objects, by the grants in a state: IAM's rules in short."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.emulators.gcs.proxy import Grant
from tests.terraform.terraform_command import Resource

# https://cloud.google.com/storage/docs/access-control/iam-roles, as far as it is about objects.
_ROLES = {
    "roles/storage.objectViewer": {"storage.objects.get", "storage.objects.list"},
    "roles/storage.objectUser": {
        f"storage.objects.{verb}" for verb in ("create", "delete", "get", "list", "update")
    },
}
_STARTS_WITH = re.compile(r'resource\.name\.startsWith\("([^"]*)"\)')


def object_grants(resources: list[Resource], member: str) -> list[Grant]:
    """What a member (``serviceAccount:…``) may do with the objects of the state's one bucket."""
    (bucket,) = [each.values["name"] for each in resources if each.type == "google_storage_bucket"]
    roles = _ROLES | {
        each.values["name"]: set(each.values["permissions"])
        for each in resources
        if each.type == "google_project_iam_custom_role"
    }
    return [
        Grant(permission.removeprefix("storage."), prefix)
        for each in resources
        if each.type.endswith("_iam_member") and each.values["member"] == member
        for permission, prefix in _grants(each, roles, bucket)
    ]


def may(grants: list[Grant], verb: str, key: str) -> bool:
    """Whether ``verb`` (get, create, delete, list…) is allowed on the object, or the prefix."""
    return any(
        grant.permission == f"objects.{verb}" and key.startswith(grant.prefix) for grant in grants
    )


def _grants(
    resource: Resource, roles: dict[str, set[str]], bucket: str
) -> Iterator[tuple[str, str]]:
    role = resource.values["role"]
    if resource.type == "google_storage_managed_folder_iam_member":
        for permission in roles[role]:
            yield permission, resource.values["managed_folder"]
    elif resource.type == "google_storage_bucket_iam_member":
        prefix = _prefix(resource, bucket)
        for permission in roles[role]:
            # To list is asked of the bucket or a managed folder, so that a condition on the names
            # of objects never holds.
            if prefix is None or permission != "storage.objects.list":
                yield permission, prefix or ""
    elif resource.type == "google_project_iam_member":
        # A project's roles reach into its buckets.
        assert "storage" not in role, resource.address
        assert role not in ("roles/owner", "roles/editor", "roles/viewer"), resource.address


def _prefix(grant: Resource, bucket: str) -> str | None:
    """Of the objects that a grant on the bucket is limited to; None for no limit."""
    if not grant.values["condition"]:
        return None
    (condition,) = grant.values["condition"]
    match = _STARTS_WITH.fullmatch(condition["expression"])
    assert match is not None, f"{grant.address}: a condition of another form"
    objects = f"projects/_/buckets/{bucket}/objects/"
    assert match[1].startswith(objects), f"{grant.address}: a condition on something else"
    return match[1].removeprefix(objects)
