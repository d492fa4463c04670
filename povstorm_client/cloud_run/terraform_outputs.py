"""TerraformOutputs: the file of ``terraform output -json``, checked; Cluster reads it.

Each output has its type here and in terraform/outputs.tf; a test compares the two.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from povstorm_client.errors import InputError
from povstorm_client.storage.records import Name

# https://cloud.google.com/resource-manager/docs/creating-managing-projects and
# https://cloud.google.com/storage/docs/buckets#naming.
_PATTERNS = {
    "project_id": re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]"),
    "region": re.compile(r"[a-z]+-[a-z]+[0-9]+"),
    "bucket": re.compile(r"(?!goog)(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]"),
    "render_image": re.compile(r"\S+/\S+[:@]\S+"),
    "renderer_service_account": re.compile(r"\S+@\S+"),
    "orchestrator_service_account": re.compile(r"\S+@\S+"),
    "submitter_service_account": re.compile(r"\S+@\S+"),
}
# Cloud Run's names of jobs, and least and most of each number of a job. Which memory goes with how
# many CPUs is for Cloud Run to say: https://cloud.google.com/run/docs/configuring/jobs/cpu,
# …/jobs/memory-limits, …/jobs/parallelism, …/max-retries, …/task-timeout.
_JOB_NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_RANGES = {
    "vcpus": (1, 8),
    "memory_mib": (512, 32_768),
    "parallelism": (1, 10_000),
    "max_retries": (0, 10),
    "task_timeout_seconds": (1, 168 * 3600),
}


@dataclass(frozen=True)
class CloudRunJob:
    """A Cloud Run job that renders, of one size: overrides cannot change a job's memory.

    parallelism: tasks of it that run at once, at most. max_retries: of a lost task, by Cloud Run
    itself.
    """

    name: Name
    vcpus: Annotated[float, Meta(gt=0, le=1000)]
    memory_mib: Annotated[int, Meta(gt=0, le=2**30)]
    parallelism: Annotated[int, Meta(gt=0, le=2**30)]
    max_retries: Annotated[int, Meta(ge=0, le=1000)]
    task_timeout_seconds: Annotated[int, Meta(gt=0, le=2**30)]


@dataclass(frozen=True)
class TerraformOutputs:
    """Names and ids of the terraform-managed resources.

    bucket: its name alone. render_image: with its tag. render_jobs: ascending by memory.
    """

    project_id: str
    region: str
    bucket: str
    render_image: str
    renderer_service_account: str
    orchestrator_service_account: str
    submitter_service_account: str
    render_jobs: tuple[CloudRunJob, ...]


def read_terraform_outputs(path: Path) -> TerraformOutputs:
    """The outputs in a file; further ones, of your own, are left alone.

    Raises InputError for a file that is not ``terraform output -json``, and for each output that
    is missing or is not what it should be.
    """
    outputs = _read(path)
    values: dict[str, Any] = {}
    for name, pattern in _PATTERNS.items():
        value = _value(outputs, name, path)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise InputError(f"{path}: the output {name} is {value!r}, which is no {_words(name)}")
        values[name] = value
    jobs = _value(outputs, "render_jobs", path)
    if not isinstance(jobs, list) or not jobs:
        raise InputError(f"{path}: the output render_jobs is {jobs!r}, not a list of render jobs")
    found = [_render_job(job, index, path) for index, job in enumerate(jobs)]
    names = [job.name for job in found]
    if len(set(names)) < len(names):
        raise InputError(f"{path}: the output render_jobs has a name twice: {', '.join(names)}")
    return TerraformOutputs(
        **values, render_jobs=tuple(sorted(found, key=lambda job: job.memory_mib))
    )


def _read(path: Path) -> dict[str, Any]:
    again = "write it with `terraform output -json > outputs.json`"
    try:
        outputs = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(
            f"the outputs file {path} cannot be read ({error.strerror}): {again}"
        ) from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}): {again}") from error
    if not isinstance(outputs, dict) or "format_version" in outputs:
        raise InputError(f"{path} is not the output of `terraform output -json`: {again}")
    if not outputs:
        raise InputError(f"{path} has no outputs: run `terraform apply` first, then {again}")
    return outputs


def _value(outputs: dict[str, Any], name: str, path: Path) -> Any:  # noqa: ANN401 - JSON
    if name not in outputs:
        raise InputError(
            f"{path} has no output {name}: run `terraform apply` with the terraform/ of this "
            "version of povstorm, and write the file anew"
        )
    output = outputs[name]
    if not isinstance(output, dict) or "value" not in output:
        raise InputError(f"{path}: the output {name} has no value: give terraform output -json")
    return output["value"]


def _render_job(job: Any, index: int, path: Path) -> CloudRunJob:  # noqa: ANN401 - JSON
    place = f"{path}: render_jobs[{index}]"
    if not isinstance(job, dict):
        raise InputError(f"{place} is {job!r}, not an object")
    missing = [field.name for field in fields(CloudRunJob) if field.name not in job]
    if missing:
        raise InputError(f"{place} has no {', '.join(missing)}: run `terraform apply` again")
    if not isinstance(job["name"], str) or not _JOB_NAME.fullmatch(job["name"]):
        raise InputError(f"{place}.name is {job['name']!r}, which is no name of a job")
    for name, (least, most) in _RANGES.items():
        value = job[name]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        # Asked this way round, NaN is out of range too.
        if not is_number or not least <= value <= most or (name != "vcpus" and value % 1):
            raise InputError(f"{place}.{name} is {value!r}: a number from {least} to {most}")
    numbers = {name: job[name] if name == "vcpus" else int(job[name]) for name in _RANGES}
    return CloudRunJob(name=job["name"], **numbers)


def _words(name: str) -> str:
    return name.replace("_", " ").replace("project id", "project's id")
