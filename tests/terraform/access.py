"""Who may do what with the bucket's objects, by the grants in a state: IAM's rules in short."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.terraform.terraform_command import Resource

# https://cloud.google.com/storage/docs/access-control/iam-roles, as far as it is about objects.
_ROLES = {
    "roles/storage.objectViewer": {"storage.objects.get", "storage.objects.list"},
    "roles/storage.objectUser": {
        f"storage.objects.{verb}" for verb in ("create", "delete", "get", "list", "update")
    },
}
_STARTS_WITH = re.compile(r'resource\.name\.startsWith\("([^"]*)"\)')


@dataclass(frozen=True)
class _Grant:
    """permissions on objects that begin with a prefix; None: on the bucket and all in it."""

    permissions: frozenset[str]
    prefix: str | None
    is_folder: bool = False


class Access:
    """What one member (``serviceAccount:…``) may do."""

    def __init__(self, resources: list[Resource], member: str) -> None:
        (self._bucket,) = [
            each.values["name"] for each in resources if each.type == "google_storage_bucket"
        ]
        self._roles = _ROLES | {
            each.values["name"]: set(each.values["permissions"])
            for each in resources
            if each.type == "google_project_iam_custom_role"
        }
        self._grants = list(self._read(resources, member))

    def may(self, verb: str, key: str) -> bool:
        """Whether ``verb`` (get, create, delete, list…) is allowed on the object, or the prefix."""
        permission = f"storage.objects.{verb}"
        for grant in self._grants:
            if permission not in grant.permissions:
                continue
            if grant.prefix is None or (
                # To list is asked of the bucket, or of a managed folder, never of an object.
                key.startswith(grant.prefix) and (verb != "list" or grant.is_folder)
            ):
                return True
        return False

    def _read(self, resources: list[Resource], member: str) -> Iterator[_Grant]:
        for each in resources:
            if each.values.get("member") != member:
                continue
            if each.type == "google_storage_bucket_iam_member":
                permissions = frozenset(self._roles[each.values["role"]])
                yield _Grant(permissions, self._condition(each))
            elif each.type == "google_storage_managed_folder_iam_member":
                permissions = frozenset(self._roles[each.values["role"]])
                yield _Grant(permissions, each.values["managed_folder"], is_folder=True)
            elif each.type == "google_project_iam_member":
                # A project's roles reach into its buckets.
                assert "storage" not in each.values["role"], each.address

    def _condition(self, grant: Resource) -> str | None:
        if not grant.values["condition"]:
            return None
        (condition,) = grant.values["condition"]
        match = _STARTS_WITH.fullmatch(condition["expression"])
        assert match is not None, f"{grant.address}: a condition of another form"
        objects = f"projects/_/buckets/{self._bucket}/objects/"
        assert match[1].startswith(objects), f"{grant.address}: a condition on something else"
        return match[1].removeprefix(objects)
