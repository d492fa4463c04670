"""Placeholder."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RenderJob:
    """One size."""

    name: str
    vcpus: float
    memory_mib: int
    parallelism: int
    max_retries: int
    task_timeout_seconds: int


@dataclass(frozen=True)
class TerraformOutputs:
    """x."""

    project_id: str
    region: str
    bucket: str
    render_image: str
    renderer_service_account: str
    orchestrator_service_account: str
    submitter_service_account: str
    render_jobs: tuple[RenderJob, ...]


def read_terraform_outputs(path: object) -> TerraformOutputs:
    """X."""
    raise NotImplementedError
