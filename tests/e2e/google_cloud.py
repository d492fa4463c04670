"""A Google Cloud for tests: a cluster that povstorm uses as it would at Google, without terraform.

Every caller has a token of its own: the client program and flows are a person who acts as the
orchestrator, containers are the account that their job runs as. What terraform does not grant is
refused. The outputs file is what ``terraform output -json`` would print.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from povstorm_client.cloud_run.api import EMULATOR_VARIABLE
from povstorm_client.cloud_run.terraform_outputs import read_terraform_outputs
from povstorm_client.launch.orphans import kill_all_about
from povstorm_client.version import povstorm_version
from tests.e2e.cluster_policy import cluster_policy
from tests.e2e.granted_cloud import GrantedCloud
from tests.emulators.cloud_run.server import ENTRYPOINT, PROJECT, REGION, CloudRunServer
from tests.emulators.gcs.proxy import GcsProxy
from tests.emulators.gcs.server import GcsServer
from tests.emulators.iam.project import GoogleProject
from tests.emulators.iam.tokens import token_of

# In the cloud's folder: what its servers share, and their certificate.
SERVERS = "google"
SIZES = {"render-512m": 512, "render-2g": 2048}
IMAGE = f"{REGION}-docker.pkg.dev/{PROJECT}/povstorm/render:{povstorm_version()}"
FLOW_IMAGE = IMAGE.replace("/render:", "/flow:")
RENDERER, ORCHESTRATOR, SUBMITTER = (
    f"{who}@{PROJECT}.iam.gserviceaccount.com" for who in ("renderer", "orchestrator", "submitter")
)
USER = "user:ann@example.com"
_OWNER = "user:owner@example.com"
# Containers need a moment to start, not all the same; executions are listed in any order.
_STRICT = {"list_order": "any", "startup_seconds": 0.2, "startup_jitter": 1.0}


@dataclass(frozen=True)
class GoogleCloud:
    """What is at Google. outputs: the file that names it. storage: everybody's way to the bucket.

    project: the policy, which a test may change. granted: the servers.
    """

    outputs: Path
    bucket: str
    granted: GrantedCloud

    @property
    def run(self) -> CloudRunServer:
        return self.granted.run

    @property
    def storage(self) -> GcsProxy:
        return self.granted.storage

    @property
    def project(self) -> GoogleProject:
        return self.granted.project

    def storage_calls(self, email: str) -> Counter[str]:
        """What an account has asked of the bucket, by kind."""
        return self.storage.calls_by[email]


@contextmanager
def google_cloud(
    folder: Path,
    gcs: GcsServer,
    command: tuple[str, ...] = ENTRYPOINT,
    containers_environment: Mapping[str, str] | None = None,
    **knobs: Any,
) -> Iterator[GoogleCloud]:
    """A cloud with an empty bucket and two render jobs; the environment points to it.

    containers_environment: further variables of the containers. knobs: of the Cloud Run stand-in;
    executions are listed in any order.
    """
    bucket = gcs.make_bucket()
    outputs = folder / "outputs.json"
    outputs.write_text(json.dumps(terraform_outputs(bucket)))
    policy = cluster_policy(read_terraform_outputs(outputs), [USER])
    servers = folder / SERVERS
    servers.mkdir()
    with (
        GrantedCloud(
            servers,
            PROJECT,
            _OWNER,
            command,
            gcs=gcs,
            containers_environment=containers_environment,
            **{**_STRICT, **knobs},
        ) as granted,
        pytest.MonkeyPatch.context() as patch,
    ):
        granted.grant(policy, bucket, [RENDERER, ORCHESTRATOR, SUBMITTER])
        for image in (IMAGE, FLOW_IMAGE):
            granted.project.push_image(image)
        for name, memory in SIZES.items():
            granted.run.create_job(
                name,
                memory=f"{memory}Mi",
                image=IMAGE,
                token=token_of(_OWNER),
                serviceAccount=RENDERER,
            )
        for emulator in ("STORAGE_EMULATOR_HOST", EMULATOR_VARIABLE):
            patch.delenv(emulator, raising=False)
        login = {"GOOGLE_APPLICATION_CREDENTIALS": str(granted.credentials(USER, ORCHESTRATOR))}
        for name, value in {**granted.environment, **login}.items():
            patch.setenv(name, value)
        try:
            yield GoogleCloud(outputs, bucket, granted)
        finally:
            # pytest shows it where the test has failed.
            print("\n".join(_troubles(granted.project, gcs, bucket)))
            # Who still tells Prefect of a job would ask for the bucket in vain, for minutes.
            kill_all_about(bucket)


def _troubles(project: GoogleProject, gcs: GcsServer, bucket: str) -> list[str]:
    """What did not go well by itself: of containers, and of frames the attempts that failed."""
    attempts = [name for name in gcs.names(bucket, "jobs/") if "/attempts/" in name]
    failed = [f"{name}: {json.loads(gcs.read(bucket, name))['error']}" for name in attempts]
    return ["did not go well:", *project.container_troubles(), *failed]


def terraform_outputs(bucket: str) -> dict[str, Any]:
    """What ``terraform output -json`` says of the cloud."""
    values = {
        "project_id": PROJECT,
        "region": REGION,
        "bucket": bucket,
        "render_image": IMAGE,
        "renderer_service_account": RENDERER,
        "orchestrator_service_account": ORCHESTRATOR,
        "submitter_service_account": SUBMITTER,
        "render_jobs": [
            {
                "name": name,
                "vcpus": 1,
                "memory_mib": memory,
                "parallelism": 4,
                "max_retries": 0,
                "task_timeout_seconds": 600,
            }
            for name, memory in SIZES.items()
        ],
    }
    return {
        name: {"sensitive": False, "type": "dynamic", "value": value}
        for name, value in values.items()
    }
