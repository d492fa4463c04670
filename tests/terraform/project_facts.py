"""What of a terraform state Google's APIs show: services, alerts, metrics, the database.

And what Google refuses to make as things are: without its API, its image or its secret.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.emulators.iam.project import GoogleProject
from tests.terraform.stub_provider import RefusedError
from tests.terraform.terraform_command import Resource

Json = dict[str, Any]

# By the beginnings of the resources' types.
_APIS = {
    "google_artifact_registry_": "artifactregistry",
    "google_billing_": "billingbudgets",
    "google_cloud_run_v2_": "run",
    "google_compute_": "compute",
    "google_logging_": "logging",
    "google_monitoring_": "monitoring",
    "google_project_iam_custom_role": "iam",
    "google_project_iam_member": "cloudresourcemanager",
    "google_secret_manager_": "secretmanager",
    "google_service_account": "iam",
    "google_service_networking_": "servicenetworking",
    "google_sql_": "sqladmin",
    "google_storage_": "storage",
}


def check_made(project: GoogleProject, kind: str, values: Json) -> None:
    """RefusedError unless Google would make a resource with what is there."""
    if kind == "google_project_service":
        return
    (api,) = [f"{api}.googleapis.com" for name, api in _APIS.items() if kind.startswith(name)]
    if not project.is_enabled(api):
        raise RefusedError(
            f"Error 403: {api} has not been used in project {project.policy.project} before or it "
            "is disabled."
        )
    for image in _images(kind, values):
        if "-docker.pkg.dev/" in image and not project.has_image(image):
            raise RefusedError(f"Error code 5, message: Image '{image}' not found.")
    if kind.startswith("google_secret_manager_") and project.secret(values["secret_id"]) is None:
        raise RefusedError(f"Error 404: Secret [{values['secret_id']}] not found.")


def _images(kind: str, values: Json) -> Iterator[str]:
    if kind.startswith("google_cloud_run_v2_") and "template" in values:
        for template in values["template"]:
            # A job's task has a template of its own.
            for task in template.get("template", [template]):
                yield from (each["image"] for each in task["containers"])


def services(resources: list[Resource]) -> dict[str, Json]:
    """The state's Cloud Run services by their full names, as the Admin API shows them."""
    return {
        f"projects/{each.values['project']}/locations/{each.values['location']}/services/"
        f"{each.values['name']}": _service(each.values)
        for each in resources
        if each.type == "google_cloud_run_v2_service"
    }


def _service(values: Json) -> Json:
    (template,) = values["template"]
    (scaling,) = template["scaling"]
    return {
        "uri": values["uri"],
        "template": {
            "scaling": {"maxInstanceCount": scaling["max_instance_count"]},
            "containers": [
                {
                    "image": each["image"],
                    "args": each["args"] or [],
                    "env": [_variable(variable) for variable in each["env"]],
                }
                for each in template["containers"]
            ],
        },
    }


def _variable(variable: Json) -> Json:
    for source in variable["value_source"]:
        (reference,) = source["secret_key_ref"]
        kept = {name: reference[name] for name in ("secret", "version")}
        return {"name": variable["name"], "valueSource": {"secretKeyRef": kept}}
    return {"name": variable["name"], "value": variable["value"]}


def answers(project: str, resources: list[Resource]) -> dict[str, Json]:
    """What ProjectApis answers beside policies, images and keys; the quota is a new project's."""
    quotas = f"cloudquotas/v1/projects/{project}/locations/global/services/run.googleapis.com"
    found = {
        f"{quotas}/quotaInfos/CpuAllocPerProjectRegion": quota(20_000),
        f"{quotas}/quotaInfos/MemAllocPerProjectRegion": quota(40 * 2**30),
        f"monitoring/v3/projects/{project}/alertPolicies": {
            "alertPolicies": [
                {
                    "displayName": each.values["display_name"],
                    "enabled": each.values["enabled"] is not False,
                    "notificationChannels": each.values["notification_channels"] or [],
                }
                for each in resources
                if each.type == "google_monitoring_alert_policy"
            ]
        },
    }
    for each in resources:
        if each.type == "google_logging_metric":
            path = f"logging/v2/projects/{project}/metrics/{each.values['name']}"
            found[path] = {"filter": each.values["filter"]}
        if each.type == "google_sql_database_instance":
            path = f"sqladmin/v1/projects/{project}/instances/{each.values['name']}"
            (settings,) = each.values["settings"]
            protected = bool(settings.get("deletion_protection_enabled"))
            found[path] = {"settings": {"deletionProtectionEnabled": protected}}
    return found


def quota(default: int, **of_region: int) -> Json:
    """A QuotaInfo, as https://cloud.google.com/docs/quotas/reference/rest/v1 has it."""
    infos = [
        {
            "dimensions": {"region": region.replace("_", "-")},
            "details": {"value": str(value)},
            "applicableLocations": [region.replace("_", "-")],
        }
        for region, value in of_region.items()
    ]
    everywhere = ["europe-west1", "us-central1"]
    general = {"details": {"value": str(default)}, "applicableLocations": everywhere}
    return {"quotaId": "…", "dimensions": ["region"], "dimensionsInfos": [general, *infos]}
