"""The deployments, on a real Prefect server with a real worker: jobs and nightly scenes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelling
from prefect_gcp.workers.cloud_run_v2 import CloudRunWorkerJobV2Configuration

from povstorm_client import Cluster, Job
from tests.chaos.prefect_server import chosen
from tests.e2e.google_cloud import (
    FLOW_IMAGE,
    ORCHESTRATOR,
    SUBMITTER,
    USER,
    GoogleCloud,
    google_cloud,
)
from tests.e2e.test_google_cloud import SLOW, make_job, pixels, wait_for
from tests.emulators.cloud_run.server import PROJECT, REGION
from tests.emulators.gcs.server import GcsServer
from tests.emulators.iam.policy import Binding, service_account_name

ROOT = Path(__file__).parents[2]
POOLS = {
    "povstorm-local": ("process", "local.json"),
    "povstorm-cloud-run": ("cloud-run-v2", "cloud-run.json"),
    # Push pools exist in Prefect Cloud only; the deployments of one are the same for any type.
    "povstorm-push": ("cloud-run-v2", "cloud-run.json"),
}
SCENE = """#version 3.7;
#include "colour.inc"
camera { location -4*z look_at 0 } light_source { -9*z rgb 1 }
sphere { <clock, 0, 0>, 1 pigment { Colour } finish { emission 0.5 } }
"""


def prefect(*words: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def make_pool(name: str, kind: str, template: str) -> None:
    """What `prefect work-pool create` makes, which tests/deploy types; no worker has been there.

    A process of the tests may come here twice, with the same server.
    """
    content = json.loads((ROOT / "deployments" / "pools" / template).read_text())
    pool = WorkPoolCreate(name=name, type=kind, base_job_template=content)
    with get_client(sync_client=True) as client:
        with contextlib.suppress(ObjectNotFound):
            client.delete_work_pool(name)
        client.create_work_pool(pool)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory, prefect_server: str) -> Iterator[GoogleCloud]:
    with (
        chosen(prefect_server),
        GcsServer() as gcs,
        google_cloud(tmp_path_factory.mktemp("cloud"), gcs) as cloud,
    ):
        yield cloud


@pytest.fixture(scope="module")
def deployed(cloud: GoogleCloud) -> str:
    """All deployments, made by the one command of docs/deploy.md; returns what it printed."""
    for name, (kind, template) in POOLS.items():
        make_pool(name, kind, template)
    return prefect(
        *("deploy", "--prefect-file", "deployments/prefect.yaml", "--all"),
        POVSTORM_FLOW_IMAGE=FLOW_IMAGE,
        POVSTORM_REGION=REGION,
        POVSTORM_ORCHESTRATOR=ORCHESTRATOR,
        POVSTORM_BUCKET=cloud.bucket,
    )


@contextmanager
def worker_of(pool: str, folder: Path, **environment: str) -> Iterator[None]:
    """A worker, in a folder that has nothing of povstorm."""
    command = [sys.executable, "-P", "-m", "prefect", "worker", "start", "--pool", pool]
    with (folder / "worker.txt").open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PREFECT_WORKER_QUERY_SECONDS": "1", **environment},
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def worker(deployed: str, tmp_path_factory) -> Iterator[None]:
    with worker_of("povstorm-local", tmp_path_factory.mktemp("worker")):
        yield


def run(deployment: str, **parameters: object) -> str:
    """Run a deployment to its end; returns the name of its final state."""
    ended = run_deployment(
        deployment, parameters=parameters, poll_interval=1, timeout=900, as_subflow=False
    )
    return ended.state.name


def test_one_command_makes_all_deployments(deployed: str):
    with get_client(sync_client=True) as client:
        found = {each.name: each for each in client.read_deployments()}

    assert set(found) == {
        *("cloud", "cloud-worker", "local"),
        *("nightly-cloud", "nightly-cloud-worker", "nightly-local"),
    }
    for name, deployment in found.items():
        assert deployment.pull_steps is None or deployment.pull_steps == []
        schema = deployment.parameter_openapi_schema["properties"]
        assert all(parameter.get("description") for parameter in schema.values()), name
        if name.startswith("nightly"):
            (schedule,) = deployment.schedules
            assert (schedule.schedule.cron, schedule.schedule.timezone) == (
                "0 2 * * *",
                "Europe/Berlin",
            )
            assert deployment.global_concurrency_limit.limit == 1
    assert found["cloud"].job_variables["image"] == FLOW_IMAGE
    assert found["nightly-cloud"].parameters["scene"].startswith("gs://povstorm-")


def test_a_job_in_the_bucket_is_rendered_by_a_worker(
    cloud: GoogleCloud, worker: None, tmp_path: Path
):
    local = make_job(Cluster.local(tmp_path), frames=4)
    local.run(show_progress=False)
    job = make_job(Cluster(f"gs://{cloud.bucket}"), frames=4)
    job.submit()

    state = run("render-job/local", job_uri=f"gs://{cloud.bucket}/jobs/{job.job_id}")

    assert state == "Completed"
    assert pixels(job.images()) == pixels(local.images())
    assert job.save_video(tmp_path / "video.mp4").is_file()


def test_a_client_submits_to_a_deployment_that_renders_on_cloud_run(
    cloud: GoogleCloud, worker: None, tmp_path: Path
):
    cluster = Cluster.from_terraform_outputs(cloud.outputs, deployment="render-job/local")
    job = make_job(cluster, frames=4)

    job.run(show_progress=False)

    assert len(job.images()) == 4
    assert len(cluster.executions(job.job_id)) == 1


def test_a_nightly_scene_renders_once_and_comes_from_the_cache_the_next_night(
    cloud: GoogleCloud, worker: None
):
    storage = Cluster(f"gs://{cloud.bucket}").storage
    storage.write("scenes/nightly/nightly.ini", b"Input_File_Name=nightly.pov\nFinal_Frame=3\n")
    storage.write("scenes/nightly/nightly.pov", SCENE.encode())
    storage.write("scenes/nightly/colour.inc", b"#declare Colour = pigment { rgb x }\n")
    storage.write("outputs.json", cloud.outputs.read_bytes())
    night = {
        "scene": f"gs://{cloud.bucket}/scenes/nightly/nightly.ini",
        "cluster": f"gs://{cloud.bucket}/outputs.json",
        "size": "64x48",
    }
    before = cloud.run.statistics()["calls"].get("jobs.run", 0)

    assert run("render-scene/nightly-local", **night) == "Completed"
    rendered = cloud.run.statistics()["calls"]["jobs.run"]
    assert run("render-scene/nightly-local", **night) == "Completed"

    assert rendered > before
    assert cloud.run.statistics()["calls"]["jobs.run"] == rendered
    jobs = sorted(
        {entry.key.split("/")[1] for entry in storage.list("jobs") if "/nightly-" in entry.key}
    )
    first, second = (Job.open(Cluster(f"gs://{cloud.bucket}"), job_id) for job_id in jobs)
    assert pixels(first.images()) == pixels(second.images())
    assert all(result.cache_hit for result in second.results())


def test_a_scene_that_is_not_there_fails_with_its_address(cloud: GoogleCloud, worker: None):
    assert run("render-scene/nightly-local", scene=f"gs://{cloud.bucket}/no/such.ini") == "Failed"


@pytest.mark.parametrize("how", ["by the client", "in the Prefect UI"])
def test_cancelling_stops_the_flow_and_its_executions(cloud: GoogleCloud, worker: None, how: str):
    cluster = Cluster.from_terraform_outputs(cloud.outputs, deployment="render-job/local")
    job = make_job(cluster, frames=40, scene=SLOW.replace("2e6", "2e7"))
    job.submit()
    flow = cluster.submit(job.job_id)
    wait_for(lambda: len(job.images()) >= 1)

    if how == "by the client":
        flow.stop()
    else:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(flow.flow_run_id, Cancelling())
        wait_for(lambda: flow.returncode is not None)

    wait_for(lambda: all(each.completed for each in cluster.executions(job.job_id)))
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(flow.flow_run_id).state.is_cancelled()
    assert job.state().phase == "cancelled"
    assert len(job.images()) < 40


def test_prefects_own_cloud_run_worker_starts_the_flow_as_a_cloud_run_job(
    cloud: GoogleCloud, deployed: str, tmp_path: Path
):
    job = make_job(Cluster.from_terraform_outputs(cloud.outputs), frames=4)
    job.submit()

    # As docs/deploy.md lets who starts the worker act as the submitter.
    account = service_account_name(PROJECT, SUBMITTER)
    acts = Binding(USER, "roles/iam.serviceAccountTokenCreator", account)
    cloud.project.policy = cloud.project.policy.plus(acts)
    login = str(cloud.granted.credentials(USER, SUBMITTER))
    with worker_of(
        "povstorm-cloud-run",
        tmp_path,
        GOOGLE_APPLICATION_CREDENTIALS=login,
        GOOGLE_CLOUD_PROJECT=PROJECT,
    ):
        uri = f"gs://{cloud.bucket}/jobs/{job.job_id}"
        assert run("render-job/cloud-worker", job_uri=uri) == "Completed"

    assert len(job.images()) == 4
    calls = cloud.run.statistics()["calls"]
    # The flow's own job is made, run, and deleted by the worker; the waves are the flow's.
    assert calls["jobs.create"] >= 1
    assert calls["jobs.delete"] == 1


def test_flows_join_the_network_that_the_pool_names(cloud: GoogleCloud, deployed: str):
    template = json.loads((ROOT / "deployments" / "pools" / "cloud-run.json").read_text())
    network = template["variables"]["properties"]["vpc_access"]["examples"][0]

    def job_body(**values: object) -> dict[str, Any]:
        configuration = asyncio.run(
            CloudRunWorkerJobV2Configuration.from_template_and_values(
                template, {"image": "flow:1", "region": "europe-west1", **values}
            )
        )
        configuration.prepare_for_flow_run(FlowRun(id=uuid4(), flow_id=uuid4(), name="night"))
        return configuration.job_body["template"]["template"]

    assert job_body(vpc_access=network)["vpcAccess"] == network
    assert "vpcAccess" not in job_body()


def test_a_push_pool_refers_to_credentials_that_can_be_read_anywhere(
    on_server: str, tmp_path: Path
):
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    key = {
        "type": "service_account",
        "project_id": "test-project",
        "client_email": "povstorm-submitter@test-project.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
        "private_key": private.decode(),
    }
    file = tmp_path / "key.json"
    file.write_text(json.dumps(key))
    made = subprocess.run(
        [sys.executable, "deployments/push_pool.py", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert made.returncode == 0, made.stderr
    file.unlink()

    async def resolved() -> CloudRunWorkerJobV2Configuration:
        async with get_client() as client:
            return await CloudRunWorkerJobV2Configuration.from_template_and_values(
                base_job_template=json.loads(made.stdout),
                values={"image": "image", "region": "europe-west1"},
                client=client,
            )

    configuration = asyncio.run(resolved())

    assert "PRIVATE KEY" not in made.stdout
    assert configuration.credentials.service_account_info.get_secret_value() == key
    assert configuration.prefect_api_key_secret.model_dump() == {
        "secret": "prefect-api-key",
        "version": "latest",
    }
