"""What Cloud Run asks of a job beyond the shapes of its fields, and the defaults that it fills in.

Sources: https://cloud.google.com/run/docs/configuring/jobs/memory-limits, …/jobs/cpu,
…/task-timeout, …/max-retries, https://cloud.google.com/run/quotas, and the descriptions in the
discovery document.
"""

from __future__ import annotations

import copy
import re
from typing import Any

from tests.emulators.cloud_run.api_error import ApiError, invalid

Json = dict[str, Any]

_MEMORY = re.compile(r"(\d+(?:\.\d+)?)([KMGT]i?|k)?")
_BYTES = {
    **{unit: 10 ** (3 * power) for power, unit in enumerate("kMGT", 1)},
    **{f"{unit}i": 2 ** (10 * power) for power, unit in enumerate("KMGT", 1)},
    "K": 1000,
    None: 1,
}
_MIB = 2**20
# CPUs → least and most memory in MiB.
_MEMORY_FOR_CPUS = {
    1: (128, 4096),
    2: (128, 8192),
    4: (2048, 16384),
    6: (4096, 24576),
    8: (4096, 32768),
}
_LEAST_SECOND_GENERATION_MIB = 512
_MOST_TIMEOUT_SECONDS = 168 * 3600
_MOST_RETRIES = 10
_MOST_VARIABLES = _MOST_ARGUMENTS = 1000
_MOST_VARIABLE_BYTES = 32768
_CONTAINER_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# https://cloud.google.com/resource-manager/docs/labels-overview#requirements
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_MOST_LABELS = 64
_SYSTEM = re.compile(
    r"([a-z0-9.-]+\.)?(run|cloud)\.googleapis\.com/|(serving|autoscaling)\.knative\.dev/"
)
_FIELDS = "template.template"


def checked_job(body: Json, *, most_tasks: int) -> Json:
    """The job with the service's defaults; ApiError for what Cloud Run refuses.

    body: as discovery.read_body gives it.
    """
    job = copy.deepcopy(body)
    execution = job.get("template")
    if not execution or not execution.get("template"):
        raise invalid(_FIELDS, "Required field not set: the task template.")
    task = execution["template"]
    for place, holder in (("", job), ("template.", execution)):
        _check_labels(holder.get("labels", {}), f"{place}labels")
        _check_annotations(holder.get("annotations", {}), f"{place}annotations")
    execution["taskCount"] = execution.get("taskCount") or 1
    check_task_count(execution["taskCount"], "template.taskCount", most_tasks)
    if execution.get("parallelism", 0) < 0:
        raise invalid("template.parallelism", "must not be negative")
    retries = task.setdefault("maxRetries", 3)
    if not 0 <= retries <= _MOST_RETRIES:
        raise invalid(f"{_FIELDS}.maxRetries", f"{retries}: must be 0 to {_MOST_RETRIES}")
    if seconds(task.setdefault("timeout", "600s")) == 0:
        task["timeout"] = "600s"
    check_timeout(task["timeout"], f"{_FIELDS}.timeout")
    if task.get("executionEnvironment", "EXECUTION_ENVIRONMENT_UNSPECIFIED").endswith("D"):
        task["executionEnvironment"] = "EXECUTION_ENVIRONMENT_GEN2"
    _check_containers(task)
    job.setdefault("launchStage", "GA")
    return job


def check_task_count(count: int, field: str, most: int) -> None:
    """Within the limit of an execution."""
    if not 1 <= count <= most:
        raise invalid(field, f"{count}: must be 1 to {most}")


def check_timeout(text: str, field: str) -> None:
    """Within what a task can run."""
    if not 1 <= seconds(text) <= _MOST_TIMEOUT_SECONDS:
        raise invalid(field, f"{text}: must be 1s to {_MOST_TIMEOUT_SECONDS}s")


def check_arguments(container: Json, field: str) -> None:
    """Arguments and variables of a container, in a job or in an override."""
    if len(container.get("args", [])) > _MOST_ARGUMENTS:
        raise invalid(f"{field}.args", f"at most {_MOST_ARGUMENTS} arguments")
    variables = container.get("env", [])
    if len(variables) > _MOST_VARIABLES:
        raise invalid(f"{field}.env", f"at most {_MOST_VARIABLES} environment variables")
    names = [variable.get("name", "") for variable in variables]
    for index, (name, variable) in enumerate(zip(names, variables, strict=True)):
        place = f"{field}.env[{index}]"
        if not name or "=" in name or len(name) > _MOST_VARIABLE_BYTES:
            raise invalid(f"{place}.name", f"'{name[:80]}' is no name of a variable")
        if names.count(name) > 1:
            raise invalid(f"{place}.name", f"Duplicate environment variable '{name}'.")
        if len(variable.get("value", "").encode()) > _MOST_VARIABLE_BYTES:
            raise invalid(f"{place}.value", f"longer than {_MOST_VARIABLE_BYTES} bytes")
        if "valueSource" in variable:
            if "value" in variable:
                raise invalid(place, "value and valueSource cannot both be set")
            if not variable["valueSource"].get("secretKeyRef", {}).get("secret"):
                raise invalid(f"{place}.valueSource.secretKeyRef.secret", "must be set")


def cpus(template: Json) -> float:
    """Of an instance."""
    return sum(_cpus(each["resources"]["limits"]["cpu"], "cpu") for each in template["containers"])


def memory_mib(template: Json) -> int:
    """Of an instance."""
    return sum(
        _bytes(each["resources"]["limits"]["memory"], "memory") // _MIB
        for each in template["containers"]
    )


def seconds(duration: str) -> float:
    """Of a duration such as ``600s``."""
    return float(duration.removesuffix("s"))


def _check_containers(task: Json) -> None:
    containers = task.get("containers", [])
    if not containers:
        raise invalid(f"{_FIELDS}.containers", "Required field not set: a container.")
    names = [each["name"] for each in containers if each.get("name")]
    if len(names) != len(set(names)):
        raise invalid(f"{_FIELDS}.containers", f"the containers' names {names} must differ")
    for index, container in enumerate(containers):
        field = f"{_FIELDS}.containers[{index}]"
        if not container.get("image"):
            raise invalid(f"{field}.image", "Required field not set: the image.")
        if container.get("name") and not _CONTAINER_NAME.fullmatch(container["name"]):
            raise invalid(f"{field}.name", f"'{container['name']}' is no DNS label")
        check_arguments(container, field)
        limits = container.setdefault("resources", {}).setdefault("limits", {})
        for name in limits:
            if name not in ("cpu", "memory", "nvidia.com/gpu"):
                raise invalid(f"{field}.resources.limits", f"Unsupported resource '{name}'.")
        limits.setdefault("cpu", "1000m")
        limits.setdefault("memory", "512Mi")
        _check_resources(limits, f"{field}.resources.limits")
    if len(containers) > 1:
        raise ApiError("UNIMPLEMENTED", f"{_FIELDS}.containers: the stand-in runs one container")


def _check_resources(limits: Json, field: str) -> None:
    count = _cpus(limits["cpu"], f"{field}.cpu")
    size = _bytes(limits["memory"], f"{field}.memory") / _MIB
    if count < 1:
        raise invalid(
            f"{field}.cpu",
            "Invalid value specified for cpu. Total cpu < 1 is not supported with gen2 execution "
            "environment with cpu always allocated (unthrottled).",
        )
    if count not in _MEMORY_FOR_CPUS:
        raise invalid(
            f"{field}.cpu",
            f"Invalid value specified for cpu. {limits['cpu']} is not 1, 2, 4, 6, 8.",
        )
    least, most = _MEMORY_FOR_CPUS[int(count)]
    if not least <= size <= most:
        raise invalid(
            f"{field}.memory",
            f"Invalid value specified for container memory. For {count:.1f} CPU, memory must be "
            f"between {_quantity(least)} and {_quantity(most)} inclusive.",
        )
    if size < _LEAST_SECOND_GENERATION_MIB:
        raise invalid(
            f"{field}.memory",
            "Invalid value specified for memory. Total memory < 512 Mi is not supported with gen2 "
            "execution environment.",
        )


def _quantity(mib: int) -> str:
    return f"{mib // 1024}Gi" if mib >= 1024 else f"{mib}Mi"


def _bytes(text: str, field: str) -> int:
    match = _MEMORY.fullmatch(text)
    if match is None:
        raise invalid(field, f"'{text}': Could not parse Quantity, such as 512Mi or 2Gi")
    return int(float(match[1]) * _BYTES[match[2]])


def _cpus(text: str, field: str) -> float:
    number = text.removesuffix("m")
    if not re.fullmatch(r"\d+(\.\d+)?", number):
        raise invalid(field, f"'{text}': Could not parse Quantity, such as 1 or 2000m")
    return float(number) / (1000 if text.endswith("m") else 1)


def _check_labels(labels: Json, field: str) -> None:
    if len(labels) > _MOST_LABELS:
        raise invalid(field, f"at most {_MOST_LABELS} labels")
    for key, value in labels.items():
        if _SYSTEM.match(key):
            raise invalid(field, f"'{key}': labels of the system's namespaces are not supported")
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            raise invalid(field, f"'{key}={value}' is no label: lowercase letters, digits, _ and -")


def _check_annotations(annotations: Json, field: str) -> None:
    for key in annotations:
        if _SYSTEM.match(key):
            raise invalid(field, f"'{key}': annotations of the system's namespaces are refused")
