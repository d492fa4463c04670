"""Cloud Run's services, which the stand-in shows to who may see them: it makes and runs none.

They are those of the GoogleProject.
"""

from __future__ import annotations

from tests.emulators.cloud_run import permissions
from tests.emulators.cloud_run.api_error import ApiError
from tests.emulators.cloud_run.discovery import Json, read_body
from tests.emulators.cloud_run.knobs import Knobs
from tests.emulators.cloud_run.rest_routes import Call, Handler
from tests.emulators.iam.project import GoogleProject


def service_handlers(knobs: Knobs, project: GoogleProject) -> dict[str, Handler]:
    """By the ids of the discovery document."""

    def get(call: Call) -> Json:
        permissions.check(knobs, "run.services.get", call.name)
        found = project.service(call.name)
        if found is None:
            raise ApiError("NOT_FOUND", f"Resource '{call.name.rpartition('/')[2]}' was not found.")
        return found

    def test_permissions(call: Call) -> Json:
        asked = read_body(call.body, "GoogleIamV1TestIamPermissionsRequest").get("permissions", [])
        held = permissions.allowed(knobs, asked, call.name) if project.service(call.name) else []
        return {"permissions": held} if held else {}

    services = "run.projects.locations.services"
    return {f"{services}.get": get, f"{services}.testIamPermissions": test_permissions}
