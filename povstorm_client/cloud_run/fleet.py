"""CloudRunFleet: the Cloud Run jobs that a job's frames may use, and how; kept in its manifest.

Cluster makes it from the terraform outputs, the flow's CloudRunRenderer works with it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from msgspec import Meta

from povstorm_client.cloud_run.terraform_outputs import CloudRunJob
from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.storage.records import Name


@dataclass(frozen=True)
class CloudRunFleet:
    """Where frames are rendered on Cloud Run.

    jobs: one for each size of memory, ascending. lean, max_usd, seconds_per_frame: what of the
    job's settings is stored here; lean is the stored name of their prefer.

    Raises InputError for values that cannot be meant.
    """

    project_id: Name
    region: Name
    jobs: Annotated[tuple[CloudRunJob, ...], Meta(min_length=1)]
    lean: str = "balanced"
    max_usd: float | None = None
    seconds_per_frame: float | None = None

    def __post_init__(self) -> None:
        # Building them checks them, also where a manifest is read: JobSettings alone has bounds.
        JobSettings(**self.stored_settings())

    @property
    def prefer(self) -> str:
        """What plans of waves prefer, as JobSettings.prefer."""
        return self.lean

    def stored_settings(self) -> dict[str, Any]:
        """What of a JobSettings is stored here, by its fields."""
        return {
            "prefer": self.prefer,
            "max_usd": self.max_usd,
            "seconds_per_frame": self.seconds_per_frame,
        }

    def job_path(self, job: CloudRunJob) -> str:
        """The job's full name in the Admin API."""
        return f"projects/{self.project_id}/locations/{self.region}/jobs/{job.name}"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)
