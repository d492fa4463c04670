"""What the stand-in for gcloud prints when Google refuses what was typed."""

from __future__ import annotations

from tests.emulators.iam.project import GoogleProject
from tests.emulators.iam.tokens import email_of


class RefusedError(Exception):
    """What gcloud prints after ``ERROR:``."""


def need(project: GoogleProject, member: str, permission: str, resource: str) -> None:
    """RefusedError unless the member has the permission on the resource."""
    if not project.policy.allows(member, permission, resource):
        raise RefusedError(
            f"[{email_of(member)}] PERMISSION_DENIED: Permission '{permission}' denied on resource "
            f"'{resource}' (or it may not exist)."
        )
