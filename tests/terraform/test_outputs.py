"""The outputs are exactly what Cluster reads: neither can change without the other."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from povstorm_client import Cluster
from povstorm_client.cloud_run.terraform_outputs import (
    CloudRunJob,
    TerraformOutputs,
    read_terraform_outputs,
)
from povstorm_client.doctor.quota_check import FLOW, FLOW_AND_SERVER, RegionQuota
from tests.emulators.cloud_run.job_checks import cpus, memory_mib
from tests.terraform.stub_provider import StubProvider
from tests.terraform.terraform_command import EVERYTHING, Terraform, applied, apply_and_output


def test_the_outputs_are_those_that_are_read(cluster: Terraform):
    written = json.loads(cluster.write_outputs().read_text())

    assert set(written) == {field.name for field in fields(TerraformOutputs)}
    for job in written["render_jobs"]["value"]:
        assert set(job) == {field.name for field in fields(CloudRunJob)}
    assert not any(output["sensitive"] for output in written.values())


def test_they_are_read_as_they_are_written(cluster: Terraform):
    file = cluster.write_outputs()
    written = {name: output["value"] for name, output in json.loads(file.read_text()).items()}

    read = read_terraform_outputs(file)

    for name, value in written.items():
        if name != "render_jobs":
            assert getattr(read, name) == value
    assert read.render_jobs == tuple(CloudRunJob(**job) for job in written["render_jobs"])
    assert read.renderer_service_account == (
        "povstorm-renderer@povstorm-test.iam.gserviceaccount.com"
    )


def test_a_cluster_is_made_of_the_file(tmp_path: Path, provider: StubProvider):
    sizes = {
        "4k": {"vcpus": 4, "memory_mib": 16384, "parallelism": 5},
        "hd": {"vcpus": 1, "memory_mib": 1024},
    }
    file = apply_and_output(
        {"bucket_name": "our-frames", "region": "us-central1", "render_jobs": sizes}, tmp_path
    )

    cluster = Cluster.from_terraform_outputs(file)

    assert cluster.storage_uri == "gs://our-frames"
    fleet = cluster.fleet()
    assert fleet is not None
    assert [fleet.job_path(job) for job in fleet.jobs] == [
        "projects/povstorm-test/locations/us-central1/jobs/povstorm-render-hd",
        "projects/povstorm-test/locations/us-central1/jobs/povstorm-render-4k",
    ]


def test_as_many_tasks_run_at_once_as_a_new_project_may_have_beside_a_flow(cluster: Terraform):
    jobs = json.loads(cluster.write_outputs().read_text())["render_jobs"]["value"]

    assert {job["name"]: job["parallelism"] for job in jobs} == {
        "povstorm-render-2g": 19,  # of 20 vCPU and 40 GiB in a region
        "povstorm-render-8g": 4,
    }


POOL = Path(__file__).parents[2] / "deployments" / "pools" / "cloud-run.json"


@pytest.mark.parametrize("has_server", [False, True], ids=["a flow", "a flow and Prefect's server"])
def test_what_else_runs_in_the_region_has_its_room_and_render_tasks_have_the_rest(
    request: pytest.FixtureRequest, has_server: bool
):
    made = request.getfixturevalue("whole_cluster" if has_server else "cluster")
    flow = json.loads(POOL.read_text(encoding="utf-8"))["variables"]["properties"]
    running = [{name: flow[name]["default"] for name in ("cpu", "memory")}]
    running += [
        container["resources"][0]["limits"]
        for each in made.resources()
        if each.type in ("google_cloud_run_v2_service", "google_cloud_run_v2_worker_pool")
        for container in each.values["template"][0]["containers"]
    ]
    whole = {"containers": [{"resources": {"limits": each}} for each in running]}

    beside = FLOW_AND_SERVER if has_server else FLOW
    assert (cpus(whole), memory_mib(whole) / 1024) == (beside.vcpus, beside.memory_gib)
    outputs = read_terraform_outputs(made.write_outputs())
    rooms = [RegionQuota(20, 40).tasks(job, beside) for job in outputs.render_jobs]
    assert [job.parallelism for job in outputs.render_jobs] == rooms


def test_a_larger_quota_is_used_and_a_given_parallelism_is_kept(
    tmp_path: Path, provider: StubProvider
):
    sizes = {
        "8g": {"vcpus": 2, "memory_mib": 8192},
        "32g": {"vcpus": 8, "memory_mib": 32768, "parallelism": 7},
    }
    file = apply_and_output(
        {"render_jobs": sizes, "region_quota": {"vcpus": 200, "memory_gib": 400}}, tmp_path
    )
    assert [job.parallelism for job in read_terraform_outputs(file).render_jobs] == [49, 7]


def test_the_database_can_be_given_up(
    whole_cluster: Terraform, tmp_path: Path, provider: StubProvider
):
    (protected,) = [
        each for each in whole_cluster.resources() if each.type == "google_sql_database_instance"
    ]
    unprotected = applied({**EVERYTHING, "prefect_database_protection": False}, tmp_path, provider)
    (free,) = [
        each for each in unprotected.resources() if each.type == "google_sql_database_instance"
    ]

    assert protected.values["deletion_protection"] is True
    assert free.values["deletion_protection"] is False
