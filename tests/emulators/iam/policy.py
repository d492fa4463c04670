"""A project's IAM policy: who has which role on what, and whether that permits a call.

The stand-ins read it from a file for each call, as grants change while they run.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.emulators.iam.roles import PREDEFINED


@dataclass(frozen=True)
class Grant:
    """A permission, as ``objects.create``, on the objects under a prefix of any bucket."""

    permission: str
    prefix: str = ""


@dataclass(frozen=True)
class Binding:
    """A role on a resource and what is below it, for one member (``serviceAccount:…``).

    resource: a full name, as ``projects/P/locations/R/jobs/J``; a project's own covers all.
    names: the beginning of the only names that its condition lets through; "" without one.
    """

    member: str
    role: str
    resource: str
    names: str = ""


@dataclass(frozen=True)
class Policy:
    """The bindings of one project, and its custom roles by their full names."""

    project: str
    bindings: list[Binding]
    custom_roles: Mapping[str, list[str]] = field(default_factory=dict)

    def allows(self, member: str, permission: str, resource: str) -> bool:
        """Whether the member has the permission on the resource."""
        return any(
            permission in self.permissions(each.role)
            and self._covers(each, resource)
            and resource.startswith(each.names)
            for each in self.bindings
            if each.member == member
        )

    def permissions(self, role: str) -> frozenset[str]:
        """What a role permits; KeyError for one that is not in the table."""
        if role in self.custom_roles:
            return frozenset(self.custom_roles[role])
        return PREDEFINED[role]

    def object_grants(self, member: str, bucket: str) -> list[Grant]:
        """What the member may do with the bucket's objects."""
        return [
            Grant(permission.removeprefix("storage."), prefix)
            for each in self.bindings
            if each.member == member
            for permission, prefix in self._object_permissions(each, bucket)
        ]

    def shown(self, resource: str, version: int) -> dict[str, Any]:
        """A resource's own policy, as its getIamPolicy answers: what is inherited is not in it.

        version: that was asked for; below 3 no condition is shown, and a role that has one is named
        otherwise: https://cloud.google.com/iam/docs/policies#versions.
        """
        found = [each for each in self.bindings if each.resource == resource]
        return {"version": version, "bindings": [_shown(each, version) for each in found]}

    def plus(self, *bindings: Binding) -> Policy:
        """The policy with further bindings."""
        return dataclasses.replace(self, bindings=[*self.bindings, *bindings])

    def _covers(self, binding: Binding, resource: str) -> bool:
        if binding.resource == f"projects/{self.project}":
            return True
        # A managed folder's name ends with a slash; what is below any other begins after one.
        below = binding.resource.removesuffix("/") + "/"
        return resource == binding.resource or resource.startswith(below)

    def _object_permissions(self, binding: Binding, bucket: str) -> Iterator[tuple[str, str]]:
        objects = f"{bucket_name(bucket)}/objects/"
        for permission in self.permissions(binding.role):
            if not permission.startswith(("storage.buckets.", "storage.objects.")):
                continue
            if binding.resource == f"projects/{self.project}":
                yield permission, ""
            elif binding.resource.startswith(objects):
                yield permission, binding.resource.removeprefix(objects)
            # To list is asked of the bucket or a managed folder, so that a condition on the names
            # of objects never holds.
            elif binding.resource == bucket_name(bucket) and not (
                binding.names and permission == "storage.objects.list"
            ):
                yield permission, binding.names.removeprefix(objects)


def _shown(binding: Binding, version: int) -> dict[str, Any]:
    plain = {"role": binding.role, "members": [binding.member]}
    if not binding.names:
        return plain
    if version < 3:
        return {**plain, "role": f"{binding.role}_withcond_0123456789abcdef"}
    expression = f'resource.name.startsWith("{binding.names}")'
    return {**plain, "condition": {"title": "names", "expression": expression}}


def bucket_name(bucket: str) -> str:
    """A bucket's full name; its objects and managed folders are below ``…/objects/``."""
    return f"projects/_/buckets/{bucket}"


def service_account_name(project: str, email: str) -> str:
    """A service account's full name."""
    return f"projects/{project}/serviceAccounts/{email}"


def write_policy(file: Path, policy: Policy) -> None:
    """Replace the file whole: it may be read at any moment."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps(dataclasses.asdict(policy)), encoding="utf-8")
    new.replace(file)


def read_policy(file: Path) -> Policy:
    """What write_policy has written."""
    found = json.loads(file.read_text(encoding="utf-8"))
    bindings = [Binding(**each) for each in found["bindings"]]
    return Policy(found["project"], bindings, found["custom_roles"])
