"""docs/deploy.md is typed, block after block: in each of its ways it renders."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from pathlib import Path
from typing import Any

import google.auth.transport.requests
import pytest
from prefect.client.orchestration import PrefectClient
from prefect_gcp.workers.cloud_run_v2 import CloudRunWorkerJobV2Configuration, CloudRunWorkerV2

from tests.chaos.prefect_server import PrefectServer
from tests.deploy.conftest import PROJECT, ROOT
from tests.deploy.typed_page import Shell, shell_blocks
from tests.e2e.granted_cloud import GrantedCloud
from tests.emulators.iam.tokens import token_of
from tests.terraform.terraform_command import Resource, resources_of

PAGE = ROOT / "docs" / "deploy.md"
SUBMITTER = f"serviceAccount:povstorm-submitter@{PROJECT}.iam.gserviceaccount.com"
API_KEY = "pnu_of_flows"


def blocks(start: str, end: str) -> list[str]:
    return shell_blocks(PAGE, start, end)


def applied(shell: Shell) -> list[Resource]:
    """The state of terraform in the checkout."""
    return resources_of(shell.type("tf show -json"))


@pytest.fixture(scope="module")
def cluster(shell: Shell, cloud: GrantedCloud) -> Shell:
    """The shell of who has typed all before the ways, and has rendered."""
    log_in, apply, act_as, *render = blocks("# From an empty", "## 2. Prefect")
    shell.type(log_in)
    shell.type(apply)
    cloud.apply(applied(shell))
    assert "FAILED" not in shell.type(act_as)
    shell.type("\n".join(render))
    (variables,) = blocks("## 2. Prefect", "**(a) Prefect Cloud")
    shell.type(variables)
    return shell


def test_the_flow_in_ones_terminal_renders_on_cloud_run(cluster: Shell, cloud: GrantedCloud):
    assert cloud.run.statistics()["calls"]["jobs.run"] >= 1


def type_with_job_id(shell: Shell, block: str) -> None:
    """Type a block in which JOB_ID is what its first command prints; it has to fetch 3 frames."""
    first, rest = re.split(r"\n(?=[^\n]*JOB_ID)", block, maxsplit=1)
    told = re.search(r"^job +(\S+)", shell.type(first), re.MULTILINE)
    assert told is not None
    shell.type(rest.replace("JOB_ID", told[1]))
    saved = shell.folder / "spiral_render"
    assert len(list(saved.glob("frames/*.png"))) == 3
    shutil.rmtree(saved)


def resolved(
    server: PrefectServer, pool: str, deployment: str
) -> tuple[CloudRunWorkerJobV2Configuration, dict[str, Any]]:
    """How a flow run of the deployment will be started, and the pool's template."""

    async def read() -> tuple[CloudRunWorkerJobV2Configuration, dict[str, Any]]:
        async with PrefectClient(server.url) as client:
            found = await client.read_work_pool(pool)
            values = (await client.read_deployment_by_name(deployment)).job_variables
            return await CloudRunWorkerJobV2Configuration.from_template_and_values(
                base_job_template=found.base_job_template, values=values, client=client
            ), found.base_job_template

    return asyncio.run(read())


def test_way_c_a_worker_on_ones_own_machine(shell: Shell):
    start, run = blocks("**(c) A process pool.**", "Whether scenes are contained")

    shell.type(start)
    type_with_job_id(shell, run)


def test_way_a_a_push_pool_starts_flows_by_the_key_in_its_block_alone(
    cluster: Shell, cloud: GrantedCloud, server: PrefectServer, tmp_path: Path
):
    pool, secret = blocks("**(a) Prefect Cloud with a push pool.**", "**(b) Your own")
    (job,) = blocks("A job for a deployment", "Cancel it with")

    cluster.forget("PREFECT_API_URL")
    cluster.type(pool)
    cluster.type(secret, answer=f"{API_KEY}\n")

    configuration, template = resolved(server, "povstorm-push", "render-job/cloud")
    # Prefect Cloud stores what it is given, and can read nothing that lies here.
    assert "PRIVATE KEY" not in json.dumps(template)
    assert not list(cluster.folder.rglob("key.json"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cloud.environment.items():
            patch.setenv(name, value)
        credentials = configuration.credentials.get_credentials_from_service_account()
        credentials.refresh(google.auth.transport.requests.Request())
    assert credentials.token == token_of(SUBMITTER)
    reference = configuration.prefect_api_key_secret.model_dump()
    assert reference == {"secret": "prefect-api-key", "version": "latest"}
    assert cloud.project.secret("prefect-api-key") == API_KEY
    # In Prefect Cloud's place: a worker that nobody has logged in to Google.
    nowhere = {"HOME": str(tmp_path), "CLOUDSDK_CONFIG": str(tmp_path / "gcloud")}
    cluster.leave_running(
        f"prefect worker start --pool povstorm-push --type {CloudRunWorkerV2.type}", **nowhere
    )
    type_with_job_id(cluster, job)


def test_way_b_a_worker_that_makes_cloud_run_jobs(cluster: Shell):
    pool, worker = blocks("**(b) Your own Prefect server", "With `prefect_server = true`")
    (job,) = blocks("A job for a deployment", "Cancel it with")

    cluster.type(pool)
    cluster.type(worker)
    type_with_job_id(cluster, job.replace("render-job/cloud ", "render-job/cloud-worker "))
