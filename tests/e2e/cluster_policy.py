"""The IAM policy that terraform makes of a cluster, for tests that run without terraform.

tests/terraform/test_access.py compares it, grant by grant, with that of an applied state.
"""

from __future__ import annotations

from collections.abc import Sequence

from povstorm_client.cloud_run.terraform_outputs import TerraformOutputs
from tests.emulators.iam.policy import Binding, Policy, bucket_name, service_account_name


def cluster_policy(outputs: TerraformOutputs, users: Sequence[str]) -> Policy:
    """What each account of the cluster, and each of the users (``user:…``), may do."""
    project = f"projects/{outputs.project_id}"
    region = f"{project}/locations/{outputs.region}"
    bucket = bucket_name(outputs.bucket)
    renderer_role = f"{project}/roles/povstormRenderer"
    renderer_account, orchestrator_account = (
        service_account_name(outputs.project_id, email)
        for email in (outputs.renderer_service_account, outputs.orchestrator_service_account)
    )
    renderer, orchestrator, submitter = (
        f"serviceAccount:{email}"
        for email in (
            outputs.renderer_service_account,
            outputs.orchestrator_service_account,
            outputs.submitter_service_account,
        )
    )
    return Policy(
        outputs.project_id,
        [
            Binding(renderer, renderer_role, bucket, f"{bucket}/objects/jobs/"),
            Binding(renderer, "roles/storage.objectViewer", f"{bucket}/objects/shared/"),
            Binding(orchestrator, "roles/storage.objectUser", bucket),
            *(
                Binding(orchestrator, role, f"{region}/jobs/{job.name}")
                for job in outputs.render_jobs
                for role in ("roles/run.jobsExecutorWithOverrides", "roles/run.viewer")
            ),
            Binding(orchestrator, "roles/iam.serviceAccountUser", renderer_account),
            Binding(submitter, "roles/run.developer", project),
            Binding(submitter, "roles/artifactregistry.reader", f"{region}/repositories/povstorm"),
            Binding(submitter, "roles/iam.serviceAccountUser", orchestrator_account),
            *(
                Binding(user, "roles/iam.serviceAccountTokenCreator", orchestrator_account)
                for user in users
            ),
        ],
        {renderer_role: ["storage.objects.create", "storage.objects.get"]},
    )
