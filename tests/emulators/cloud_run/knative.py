"""The v1 (Knative) form of jobs, executions and tasks, made from the v2 form, and jobs back.

gcloud speaks it: https://cloud.google.com/run/docs/reference/rest/v1/namespaces.jobs.
"""

from __future__ import annotations

import re
from typing import Any

from tests.emulators.cloud_run.api_error import ApiError
from tests.emulators.cloud_run.names import location_of, short

Json = dict[str, Any]

_GROUP = "run.googleapis.com"
_API_VERSION = f"{_GROUP}/v1"
_STATUS = {"CONDITION_SUCCEEDED": "True", "CONDITION_FAILED": "False"}
_COUNTS = ("runningCount", "succeededCount", "failedCount", "cancelledCount", "retriedCount")
# v1's names of a container's fields that are the same in v2; what else it has is not done here.
_CONTAINER = ("name", "image", "command", "args", "env", "resources", "workingDir", "volumeMounts")
_ENVIRONMENT = f"{_GROUP}/execution-environment"


def v1_job(job: Json) -> Json:
    """A v2 job as v1 has it."""
    execution = job["template"]
    spec = {
        **{name: execution[name] for name in ("taskCount", "parallelism") if name in execution},
        "template": {"spec": _v1_task_spec(execution["template"])},
    }
    status: Json = {
        "observedGeneration": int(job.get("observedGeneration", 0)),
        "conditions": [_v1_condition(job["terminalCondition"])],
        "executionCount": job.get("executionCount", 0),
    }
    latest = job.get("latestCreatedExecution")
    if latest:
        names = {
            "name": "name",
            "createTime": "creationTimestamp",
            "completionTime": "completionTimestamp",
            "completionStatus": "completionStatus",
        }
        status["latestCreatedExecution"] = {
            v1: latest[v2] for v2, v1 in names.items() if v2 in latest
        }
    updated = {f"{_GROUP}/lastUpdatedTime": job["updateTime"]}
    return {
        **_head("Job", job, labels={**job.get("labels", {}), **updated}),
        "spec": {"template": {"metadata": {"annotations": {}}, "spec": spec}},
        "status": status,
    }


def v1_execution(execution: Json) -> Json:
    """A v2 execution as v1 has it."""
    return {
        **_head("Execution", execution, labels={f"{_GROUP}/job": execution["job"]}),
        "spec": {
            "parallelism": execution["parallelism"],
            "taskCount": execution["taskCount"],
            "template": {"spec": _v1_task_spec(execution["template"])},
        },
        "status": _v1_status(execution, *_COUNTS),
    }


def v1_task(task: Json) -> Json:
    """A v2 task as v1 has it."""
    return {
        **_head("Task", task, labels=task["labels"]),
        "spec": _v1_task_spec(task),
        "status": _v1_status(task, "index", "retried", "lastAttemptResult"),
    }


def v2_job(job: Json) -> Json:
    """The body of a v1 job as a v2 body."""
    metadata = job.get("metadata", {})
    template = job.get("spec", {}).get("template", {})
    execution = template.get("spec", {})
    task = execution.get("template", {}).get("spec", {})
    annotations = {
        **metadata.get("annotations", {}),
        **template.get("metadata", {}).get("annotations", {}),
    }
    v2_task: Json = {
        "containers": [_v2_container(each) for each in task.get("containers", [])],
    }
    if "maxRetries" in task:
        v2_task["maxRetries"] = task["maxRetries"]
    if "timeoutSeconds" in task:
        v2_task["timeout"] = f"{task['timeoutSeconds']}s"
    if "serviceAccountName" in task:
        v2_task["serviceAccount"] = task["serviceAccountName"]
    if "volumes" in task:
        raise _undone("spec.template.spec.template.spec.volumes")
    if annotations.get(_ENVIRONMENT):
        v2_task["executionEnvironment"] = (
            f"EXECUTION_ENVIRONMENT_{annotations[_ENVIRONMENT].upper()}"
        )
    body: Json = {
        "labels": _users(metadata.get("labels", {})),
        "annotations": _users(metadata.get("annotations", {})),
        "template": {"template": v2_task},
    }
    for name in ("taskCount", "parallelism"):
        if name in execution:
            body["template"][name] = execution[name]
    for name in ("client", "clientVersion"):
        key = f"{_GROUP}/{'client-name' if name == 'client' else 'client-version'}"
        if annotations.get(key):
            body[name] = annotations[key]
    return body


def v2_run(request: Json) -> Json:
    """The body of a v1 run call as a v2 body."""
    overrides = dict(request.get("overrides", {}))
    if "timeoutSeconds" in overrides:
        overrides["timeout"] = f"{overrides.pop('timeoutSeconds')}s"
    return {"overrides": overrides} if overrides else {}


def _head(kind: str, resource: Json, labels: Json) -> Json:
    location = location_of(resource["name"])
    plural = f"{kind.lower()}s"
    own = {
        name: value
        for name, value in {
            f"{_GROUP}/creator": resource.get("creator", ""),
            f"{_GROUP}/lastModifier": resource.get("lastModifier", ""),
            f"{_GROUP}/client-name": resource.get("client", ""),
            f"{_GROUP}/client-version": resource.get("clientVersion", ""),
        }.items()
        if value
    }
    return {
        "apiVersion": _API_VERSION,
        "kind": kind,
        "metadata": {
            "name": short(resource["name"]),
            "namespace": location.project,
            "selfLink": f"/apis/{_API_VERSION}/namespaces/{location.project}/{plural}/"
            f"{short(resource['name'])}",
            "uid": resource.get("uid", ""),
            "resourceVersion": resource["etag"].strip('"'),
            "generation": int(resource["generation"]),
            "creationTimestamp": resource["createTime"],
            "labels": {"cloud.googleapis.com/location": location.region, **labels},
            "annotations": {**resource.get("annotations", {}), **own},
        },
    }


def _v1_status(resource: Json, *names: str) -> Json:
    same = ("startTime", "completionTime", "logUri", *names)
    return {
        "observedGeneration": int(resource["observedGeneration"]),
        "conditions": [_v1_condition(each) for each in resource["conditions"]],
        **{name: resource[name] for name in same if name in resource},
    }


def _v1_condition(condition: Json) -> Json:
    converted = {
        "type": condition["type"],
        "status": _STATUS.get(condition["state"], "Unknown"),
        "lastTransitionTime": condition["lastTransitionTime"],
    }
    if "message" in condition:
        converted["message"] = condition["message"]
    if "executionReason" in condition:
        words = condition["executionReason"].split("_")
        converted["reason"] = "".join(word.capitalize() for word in words)
    return converted


def _v1_task_spec(task: Json) -> Json:
    spec: Json = {
        "containers": task["containers"],
        "timeoutSeconds": task["timeout"].removesuffix("s"),
    }
    if "maxRetries" in task:
        spec["maxRetries"] = task["maxRetries"]
    if "serviceAccount" in task:
        spec["serviceAccountName"] = task["serviceAccount"]
    return spec


def _v2_container(container: Json) -> Json:
    for name in container:
        if name not in _CONTAINER:
            raise _undone(f"spec.template.spec.template.spec.containers.{name}")
    for variable in container.get("env", []):
        if "valueFrom" in variable:
            raise _undone("spec.template.spec.template.spec.containers.env.valueFrom")
    resources = dict(container.get("resources", {}))
    if resources.pop("requests", None):  # gcloud sends them empty
        raise _undone("spec.template.spec.template.spec.containers.resources.requests")
    return {**container, "resources": resources}


def _users(map_: Json) -> Json:
    """Without the system's own keys, which have fields in v2."""
    return {
        key: value
        for key, value in map_.items()
        if not re.match(r"([a-z0-9.-]+\.)?(run|cloud)\.googleapis\.com/", key)
    }


def _undone(field: str) -> ApiError:
    return ApiError("UNIMPLEMENTED", f"{field}: the stand-in does not have this in its v1 form")
