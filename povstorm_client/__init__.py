"""What users import: Cluster, Job, WorkUnit, RenderSettings, what they give back, and the errors.

A name is imported when it is first used: a render container needs few of the modules, and pays
for each at its start.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from povstorm_client.cloud_run.api import ExecutionState
    from povstorm_client.cloud_run.terraform_outputs import CloudRunJob, TerraformOutputs
    from povstorm_client.cluster import Cluster
    from povstorm_client.doctor.check import Check
    from povstorm_client.errors import (
        AccessError,
        CloudError,
        FieldError,
        InputError,
        JobError,
        PovstormError,
        RecordError,
        RenderError,
        StorageError,
        ToolError,
        VideoError,
    )
    from povstorm_client.frames.job_settings import JobSettings
    from povstorm_client.frames.render_settings import RenderSettings
    from povstorm_client.frames.result import FrameResult, FrameStatistics
    from povstorm_client.frames.shared_use import SharedUse
    from povstorm_client.frames.work_unit import WorkUnit
    from povstorm_client.job import Job
    from povstorm_client.jobs.state import JobState
    from povstorm_client.jobs.statistics import FrameLine, JobStatistics, Percentiles
    from povstorm_client.jobs.summary import JobSummary
else:
    _HOMES = {
        "AccessError": "povstorm_client.errors",
        "Check": "povstorm_client.doctor.check",
        "CloudError": "povstorm_client.errors",
        "CloudRunJob": "povstorm_client.cloud_run.terraform_outputs",
        "Cluster": "povstorm_client.cluster",
        "ExecutionState": "povstorm_client.cloud_run.api",
        "FieldError": "povstorm_client.errors",
        "FrameLine": "povstorm_client.jobs.statistics",
        "FrameResult": "povstorm_client.frames.result",
        "FrameStatistics": "povstorm_client.frames.result",
        "InputError": "povstorm_client.errors",
        "Job": "povstorm_client.job",
        "JobError": "povstorm_client.errors",
        "JobSettings": "povstorm_client.frames.job_settings",
        "JobState": "povstorm_client.jobs.state",
        "JobStatistics": "povstorm_client.jobs.statistics",
        "JobSummary": "povstorm_client.jobs.summary",
        "Percentiles": "povstorm_client.jobs.statistics",
        "PovstormError": "povstorm_client.errors",
        "RecordError": "povstorm_client.errors",
        "RenderError": "povstorm_client.errors",
        "RenderSettings": "povstorm_client.frames.render_settings",
        "SharedUse": "povstorm_client.frames.shared_use",
        "StorageError": "povstorm_client.errors",
        "TerraformOutputs": "povstorm_client.cloud_run.terraform_outputs",
        "ToolError": "povstorm_client.errors",
        "VideoError": "povstorm_client.errors",
        "WorkUnit": "povstorm_client.frames.work_unit",
    }

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(import_module(_HOMES[name]), name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOMES})


__all__ = [
    "AccessError",
    "Check",
    "CloudError",
    "CloudRunJob",
    "Cluster",
    "ExecutionState",
    "FieldError",
    "FrameLine",
    "FrameResult",
    "FrameStatistics",
    "InputError",
    "Job",
    "JobError",
    "JobSettings",
    "JobState",
    "JobStatistics",
    "JobSummary",
    "Percentiles",
    "PovstormError",
    "RecordError",
    "RenderError",
    "RenderSettings",
    "SharedUse",
    "StorageError",
    "TerraformOutputs",
    "ToolError",
    "VideoError",
    "WorkUnit",
]
