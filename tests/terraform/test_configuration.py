"""terraform/ is valid, formatted, makes what it should, and makes it once."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from povstorm_client.storage import layout
from povstorm_client.version import povstorm_version
from tests.emulators.cloud_run.job_checks import checked_job
from tests.terraform.cloud_run_jobs import render_job_bodies
from tests.terraform.stub_provider import StubProvider
from tests.terraform.terraform_command import (
    CONFIGURATION,
    EVERYTHING,
    Terraform,
    applied,
    google_schema,
)


def test_it_is_valid(terraform: Terraform):
    assert "The configuration is valid" in terraform.must("validate").text


def test_it_is_formatted(provider: StubProvider):
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-diff", "-recursive", str(CONFIGURATION)],
        env={key: value for key, value in os.environ.items() if not key.startswith("TF_")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_its_own_assertions_hold(terraform: Terraform):
    done = terraform.must("test")

    assert "0 failed" in done.text
    assert "skip" not in done.text


def test_a_second_apply_has_nothing_to_do(cluster: Terraform, whole_cluster: Terraform):
    for made in (cluster, whole_cluster):
        assert made.run("plan", "-detailed-exitcode").status == 0


def test_terraform_has_the_schema_that_was_generated(terraform: Terraform):
    served = json.loads(terraform.must("providers", "schema", "-json").output)
    schemas = served["provider_schemas"].items()
    (google,) = [schema for name, schema in schemas if name.endswith("/hashicorp/google")]
    generated = google_schema()

    for kind in ("resource_schemas", "data_source_schemas"):
        assert set(google[kind]) == set(generated[kind])
        for name, schema in generated[kind].items():
            assert _comparable(google[kind][name]["block"]) == _comparable(schema["block"]), name


def test_the_schema_is_the_google_providers():
    """Facts of its documentation, one of each kind that the generator reads."""
    schemas = google_schema()["resource_schemas"]
    bucket = schemas["google_storage_bucket"]["block"]
    job = schemas["google_cloud_run_v2_job"]["block"]
    containers = job["block_types"]["template"]["block"]["block_types"]["template"]["block"]
    limits = containers["block_types"]["containers"]["block"]["block_types"]["resources"]["block"]

    assert bucket["attributes"]["location"] == {"type": "string", "required": True}
    assert bucket["attributes"]["self_link"] == {"type": "string", "computed": True}
    assert bucket["attributes"]["labels"] == {"type": ["map", "string"], "optional": True}
    assert bucket["block_types"]["soft_delete_policy"]["max_items"] == 1
    assert job["block_types"]["template"]["min_items"] == 1
    assert job["block_types"]["timeouts"]["nesting_mode"] == "single"
    assert limits["attributes"]["limits"]["type"] == ["map", "string"]
    assert schemas["google_project_iam_custom_role"]["block"]["attributes"]["permissions"] == {
        "type": ["set", "string"],
        "required": True,
    }


def test_every_resource_that_can_has_the_labels(whole_cluster: Terraform):
    wanted = {"app": "povstorm", **EVERYTHING["labels"]}
    labelled = 0
    for each in whole_cluster.resources():
        for name in ("effective_labels", "user_labels"):
            # A notification channel's "labels" are its address; its labels are user_labels.
            if name in each.values:
                assert wanted.items() <= (each.values[name] or {}).items(), each.address
                labelled += 1
    assert labelled >= 9


def test_executions_have_the_labels_too(cluster: Terraform):
    for job in render_job_bodies(cluster.resources()).values():
        assert job["template"]["labels"] == {"app": "povstorm"}


def test_cloud_run_takes_the_render_jobs(cluster: Terraform):
    """What the provider would send is what the Cloud Run stand-in lets pass: memory strings too."""
    jobs = render_job_bodies(cluster.resources())

    assert set(jobs) == {"povstorm-render-2g", "povstorm-render-8g"}
    for body in jobs.values():
        assert checked_job(body, most_tasks=10_000)


def test_cloud_runs_own_parallelism_is_left_alone(terraform: Terraform):
    """An execution with fewer tasks than its job's parallelism is refused."""
    plan = terraform.configuration / "plan"
    terraform.must("plan", f"-out={plan}")
    configuration = json.loads(terraform.must("show", "-json", str(plan)).output)["configuration"]
    (job,) = [
        each["expressions"]
        for each in configuration["root_module"]["resources"]
        if each["type"] == "google_cloud_run_v2_job"
    ]

    assert "task_count" in job["template"][0]
    assert "parallelism" not in job["template"][0]


@pytest.mark.parametrize(
    "limits",
    [
        {"vcpus": vcpus, "memory_mib": memory}
        for vcpus, least, most in [
            (1, 512, 4096),
            (2, 512, 8192),
            (4, 2048, 16384),
            (6, 4096, 24576),
            (8, 4096, 32768),
        ]
        for memory in (least, most)
    ],
    ids=str,
)
def test_cloud_run_takes_the_outermost_sizes_that_are_allowed(limits: dict[str, int]):
    container = {
        "image": "image",
        "resources": {
            "limits": {"cpu": str(limits["vcpus"]), "memory": f"{limits['memory_mib']}Mi"}
        },
    }
    assert checked_job({"template": {"template": {"containers": [container]}}}, most_tasks=1)


def test_each_prefix_that_povstorm_writes_has_an_age(cluster: Terraform):
    (bucket,) = _of_type(cluster, "google_storage_bucket")
    ages = {
        rule["condition"][0]["matches_prefix"][0]: rule["condition"][0]["age"]
        for rule in bucket["lifecycle_rule"]
    }
    written = {
        key.partition("/")[0] + "/"
        for key in (
            layout.blob("x"),
            layout.shared("x"),
            layout.job("x"),
            layout.estimate("x"),
            f"{layout.RESULT_CACHE}/x",
        )
    }
    assert set(ages) == written
    assert ages[f"{layout.RESULT_CACHE}/"] < ages[f"{layout.JOBS}/"]


def test_apply_builds_both_images_before_it_makes_the_render_jobs(
    terraform: Terraform, tmp_path: Path
):
    programs = _fake_gcloud(tmp_path, 'printf \'%s\\n\' "$@" > "$CALLED"')
    called = tmp_path / "called"
    terraform.write_variables({"build_images": True})

    done = terraform.must("apply", environment={"PATH": programs, "CALLED": str(called)})

    arguments = called.read_text().splitlines()
    image = f"europe-west1-docker.pkg.dev/povstorm-test/povstorm/{{}}:{povstorm_version()}"
    assert arguments[:2] == ["builds", "submit"]
    assert arguments[-1] == "."
    assert "--config=terraform/build_images.yaml" in arguments
    names = f"_RENDER_IMAGE={image.format('render')},_FLOW_IMAGE={image.format('flow')}"
    assert f"--substitutions={names}" in arguments
    built = done.text.index("terraform_data.images[0]: Creation complete")
    assert built < done.text.index('google_cloud_run_v2_job.render["2g"]: Creating')


def test_the_prefect_servers_database_is_deleted_by_two_applies_only(
    tmp_path: Path, provider: StubProvider
):
    made = applied({"prefect_server": True}, tmp_path, provider)

    at_once = made.run("apply", "-var=prefect_server=false")
    made.must("apply", "-var=prefect_database_protection=false")
    made.must("apply", "-var=prefect_server=false")

    assert at_once.status == 1
    assert "cannot destroy google_sql_database_instance: deletion_protection" in at_once.text
    assert not [each for each in made.resources() if "prefect" in each.address]


def test_the_login_of_the_prefect_server_is_a_secret_and_in_no_state(whole_cluster: Terraform):
    containers = {
        each.values["name"]: each.values["template"][0]["containers"][0]
        for each in whole_cluster.resources()
        if each.type in ("google_cloud_run_v2_service", "google_cloud_run_v2_worker_pool")
    }

    logins = {
        name: variable
        for name, container in containers.items()
        for variable in container["env"]
        if variable["name"].endswith("API_AUTH_STRING")
    }
    assert set(logins) == {
        "povstorm-prefect-internal",
        "povstorm-prefect",
        "povstorm-prefect-worker",
    }
    for variable in logins.values():
        assert not variable["value"]
        (source,) = variable["value_source"]
        reference = source["secret_key_ref"][0]
        assert reference == {"secret": "povstorm-prefect-login", "version": "latest"}


def test_without_images_no_render_job_is_made(terraform: Terraform, tmp_path: Path):
    terraform.write_variables({"build_images": True})

    done = terraform.run("apply", environment={"PATH": _fake_gcloud(tmp_path, "exit 3")})

    assert done.status == 1
    assert "exit status 3" in done.text
    assert not _of_type(terraform, "google_cloud_run_v2_job")


def test_a_wrong_variable_is_refused_in_words(terraform: Terraform):
    terraform.write_variables({"render_jobs": {"big": {"vcpus": 1, "memory_mib": 8192}}})

    done = terraform.run("plan")

    assert done.status == 1
    assert "1 vCPU has 512 to 4096 MiB" in " ".join(done.text.replace("│", " ").split())


def _of_type(terraform: Terraform, type_: str) -> list[dict[str, Any]]:
    return [each.values for each in terraform.resources() if each.type == type_]


def _fake_gcloud(folder: Path, script: str) -> str:
    """A PATH on which gcloud is that shell script."""
    programs = folder / "programs"
    programs.mkdir()
    gcloud = programs / "gcloud"
    gcloud.write_text(f"#!/bin/sh\n{script}\n")
    gcloud.chmod(0o755)
    return f"{programs}:{os.environ['PATH']}"


def _comparable(block: dict[str, Any]) -> dict[str, Any]:
    """A block without what the one or the other form leaves out."""
    return {
        "attributes": {
            name: {
                "type": attribute["type"],
                **{
                    flag: True
                    for flag in ("required", "optional", "computed")
                    if attribute.get(flag)
                },
            }
            for name, attribute in block.get("attributes", {}).items()
        },
        "block_types": {
            name: {
                "nesting_mode": nested["nesting_mode"],
                "min_items": nested.get("min_items", 0),
                "max_items": nested.get("max_items", 0),
                "block": _comparable(nested["block"]),
            }
            for name, nested in block.get("block_types", {}).items()
        },
    }
