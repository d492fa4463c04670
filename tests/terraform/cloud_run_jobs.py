"""A state's Cloud Run jobs as the provider sends them to the Cloud Run Admin API."""

from __future__ import annotations

from typing import Any

from tests.terraform.terraform_command import Resource


def render_job_bodies(resources: list[Resource]) -> dict[str, dict[str, Any]]:
    """Name → the body of the call that makes the job; what terraform leaves out is left out."""
    return {
        each.values["name"]: _body(each.values)
        for each in resources
        if each.type == "google_cloud_run_v2_job"
    }


def _body(job: dict[str, Any]) -> dict[str, Any]:
    (execution,) = job["template"]
    (task,) = execution["template"]
    return {
        "labels": job["effective_labels"],
        "template": {
            "labels": execution["labels"],
            "taskCount": execution["task_count"],
            "template": {
                "maxRetries": task["max_retries"],
                "timeout": task["timeout"],
                "serviceAccount": task["service_account"],
                "executionEnvironment": task["execution_environment"],
                "containers": [
                    {
                        "image": each["image"],
                        "resources": {"limits": each["resources"][0]["limits"]},
                    }
                    for each in task["containers"]
                ],
            },
        },
    }
