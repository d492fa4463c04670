"""Whether a region has room for what plans count on: the project's quota, by Cloud Quotas.

``povstorm doctor`` asks; plans and ``--dry-run`` go by the parallelism in the outputs file, which
terraform chooses by its variable region_quota.
"""

from __future__ import annotations

from dataclasses import dataclass

from povstorm_client.cloud_run.terraform_outputs import CloudRunJob, TerraformOutputs
from povstorm_client.doctor.check import Check
from povstorm_client.doctor.google_apis import GoogleApis, Json
from povstorm_client.errors import CloudError

# Their units are thousandths of a vCPU, and bytes.
_VCPUS, _MEMORY = "CpuAllocPerProjectRegion", "MemAllocPerProjectRegion"
# What new projects were seen to have, and where anybody may look.
NEW_PROJECT = (
    "a new project has about 20 vCPU and 40 GiB in a region; yours is in the console: IAM & Admin, "
    'Quotas, Cloud Run Admin API, "Total CPU allocation" and "Total memory allocation"'
)


@dataclass(frozen=True)
class KeptFree:
    """What of a region's quota terraform leaves to others than the render jobs, and to whom."""

    vcpus: float
    memory_gib: float
    whose: str

    def __str__(self) -> str:
        return f"{self.vcpus:g} vCPU and {self.memory_gib:g} GiB are {self.whose}"


# As terraform/locals.tf has it.
FLOW = KeptFree(1, 2, "the flow's")
FLOW_AND_SERVER = KeptFree(4.5, 4.25, "the flow's and the Prefect server's")


@dataclass(frozen=True)
class RegionQuota:
    """What the tasks of a region may have at once; None is no limit."""

    vcpus: float | None
    memory_gib: float | None

    def tasks(self, job: CloudRunJob, beside: KeptFree) -> int | None:
        """How many tasks of a render job have room; None for any number."""
        rooms = [
            max(0.0, have - kept) / need
            for have, kept, need in (
                (self.vcpus, beside.vcpus, job.vcpus),
                (self.memory_gib, beside.memory_gib, job.memory_mib / 1024),
            )
            if have is not None
        ]
        return int(min(rooms)) if rooms else None

    def __str__(self) -> str:
        vcpus = "any number of" if self.vcpus is None else f"{self.vcpus:g}"
        memory = "any" if self.memory_gib is None else f"{self.memory_gib:g} GiB of"
        return f"{vcpus} vCPU and {memory} memory"


def region_quota(apis: GoogleApis, outputs: TerraformOutputs) -> RegionQuota:
    """The project's quota in its region. Raises CloudError where Google does not tell it."""

    def limit(quota: str, unit: float) -> float | None:
        value = _value(_info(apis, outputs, quota), outputs.region)
        if value is None:
            raise CloudError(f"Google tells no {quota} of {outputs.region}", "refused")
        return None if value < 0 else value / unit

    return RegionQuota(limit(_VCPUS, 1000), limit(_MEMORY, 2**30))


def check_quota(apis: GoogleApis, outputs: TerraformOutputs, *, has_server: bool) -> Check:
    """The region has room for as many tasks as plans count on, beside what else runs there.

    has_server: whether terraform made a Prefect server.
    """
    quota, beside = region_quota(apis, outputs), FLOW_AND_SERVER if has_server else FLOW
    short = [
        f"{room} tasks of {job.name}, and plans count on {job.parallelism}"
        for job in outputs.render_jobs
        if (room := quota.tasks(job, beside)) is not None and room < job.parallelism
    ]
    more = [
        f"{job.parallelism} of {'any number' if room is None else room} tasks of {job.name}"
        for job in outputs.render_jobs
        if (room := quota.tasks(job, beside)) is None or room > job.parallelism
    ]
    finding = f"{outputs.region} allows {quota}, of which {beside}"
    if short:
        return Check(
            "quota",
            passed=False,
            finding=f"{finding}: room for {'; for '.join(short)}: tasks "
            "would wait, and times be longer than planned",
            remedy=_set_quota(quota),
        )
    if more:
        return Check(
            "quota",
            passed=True,
            finding=f"{finding}; plans use {', '.join(more)}",
            remedy=f"to use all of it: {_set_quota(quota)}",
        )
    return Check("quota", passed=True, finding=f"{finding}; plans use the rest")


def _set_quota(quota: RegionQuota) -> str:
    values = [
        f"{name} = {value:.0f}"
        for name, value in (("vcpus", quota.vcpus), ("memory_gib", quota.memory_gib))
        if value is not None
    ]
    return (
        f"set region_quota = {{ {', '.join(values)} }} in terraform.tfvars (and no parallelism in "
        "render_jobs), run `terraform apply`, and write the outputs file anew; to be given more: "
        "https://cloud.google.com/run/quotas#increase"
    )


def _info(apis: GoogleApis, outputs: TerraformOutputs, quota: str) -> Json:
    # https://cloud.google.com/docs/quotas/reference/rest/v1/projects.locations.services.quotaInfos
    path = (
        f"v1/projects/{outputs.project_id}/locations/global/services/run.googleapis.com/"
        f"quotaInfos/{quota}"
    )
    return apis.get("cloudquotas", path) or {}


def _value(info: Json, region: str) -> float | None:
    """Of a QuotaInfo, what is in force in a region: the most particular entry that covers it."""
    general: float | None = None
    for entry in info.get("dimensionsInfos", ()):
        details = entry.get("details", {})
        if "value" not in details:
            continue
        value, of = float(details["value"]), entry.get("dimensions", {}).get("region")
        if of == region:
            return value
        if of is None and region in entry.get("applicableLocations", [region]):
            general = value
    return general
