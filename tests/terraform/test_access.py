"""The service accounts may do what povstorm does as them, and nothing more."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from povstorm_client.cloud_run.terraform_outputs import read_terraform_outputs
from povstorm_client.storage import layout
from tests.e2e.cluster_policy import cluster_policy
from tests.emulators.gcs.proxy import Grant
from tests.emulators.iam.policy import service_account_name
from tests.terraform.access import may, object_grants, policy_of
from tests.terraform.stub_provider import StubProvider
from tests.terraform.terraform_command import Terraform, applied

ACCOUNT = "serviceAccount:povstorm-{}@povstorm-test.iam.gserviceaccount.com"
SHARED = f"{layout.shared('abc')}/textures/wood.png"
WAVE = layout.wave("some-job", "some-wave")


@functools.cache
def access(terraform: Terraform, who: str) -> list[Grant]:
    return object_grants(terraform.resources(), ACCOUNT.format(who))


def test_the_renderer_may_do_what_render_image_does(cluster: Terraform):
    renderer = access(cluster, "renderer")

    assert may(renderer, "get", layout.wave_share(WAVE, 0))
    assert may(renderer, "list", f"{layout.shared('abc')}/")
    assert may(renderer, "get", SHARED)
    for written in (
        f"{layout.output('some-job')}/frame_01.png",
        layout.log("some-job", "unit"),
        layout.result("some-job", "unit"),
    ):
        assert may(renderer, "create", written)


def test_every_test_on_google_cloud_runs_with_exactly_these_grants(
    tmp_path: Path, provider: StubProvider
):
    user = "user:ann@example.com"
    made = applied({"users": [user]}, tmp_path, provider)

    granted = policy_of(made.resources())
    of_tests = cluster_policy(read_terraform_outputs(made.write_outputs()), [user])

    assert set(granted.bindings) == set(of_tests.bindings)
    assert granted.custom_roles == of_tests.custom_roles


@pytest.mark.parametrize(
    ("verb", "key"),
    [
        ("create", SHARED),
        ("delete", SHARED),
        ("create", layout.blob("abc")),
        ("get", layout.blob("abc")),
        ("get", f"{layout.RESULT_CACHE}/key"),
        ("create", f"{layout.RESULT_CACHE}/key"),
        ("create", layout.estimate("abc")),
        ("get", "scenes/nightly/nightly.ini"),
        ("get", "outputs.json"),
        ("get", "jobs"),
        ("delete", layout.result("some-job", "unit")),
        ("update", layout.result("some-job", "unit")),
        ("list", layout.results("some-job")),
        ("list", ""),
    ],
)
def test_the_renderer_may_do_nothing_else(cluster: Terraform, verb: str, key: str):
    assert not may(access(cluster, "renderer"), verb, key)


def test_a_renderer_that_cloud_run_retries_may_look_for_and_replace_what_it_left(
    tmp_path: Path, provider: StubProvider
):
    sizes = {"2g": {"vcpus": 1, "memory_mib": 2048, "max_retries": 1}}
    retried = access(applied({"render_jobs": sizes}, tmp_path, provider), "renderer")

    # Without being allowed to list, who asks for an object that is not there is told 403, not 404.
    assert may(retried, "list", layout.results("some-job"))
    assert may(retried, "delete", layout.log("some-job", "unit"))
    assert not may(retried, "delete", SHARED)
    assert not may(retried, "list", f"{layout.RESULT_CACHE}/")


@pytest.mark.parametrize("verb", ["get", "list", "create", "delete"])
def test_the_orchestrator_uses_the_whole_bucket(cluster: Terraform, verb: str):
    for key in (SHARED, layout.blob("abc"), f"{layout.RESULT_CACHE}/key", "scenes/a.ini"):
        assert may(access(cluster, "orchestrator"), verb, key)


@pytest.mark.parametrize("who", ["submitter", "prefect", "prefect-people"])
def test_others_reach_no_object(whole_cluster: Terraform, who: str):
    assert not may(access(whole_cluster, who), "get", SHARED)
    assert not may(access(whole_cluster, who), "list", "")


def test_every_grant_is_known(whole_cluster: Terraform):
    """What an account may do is in this list: a new grant is a decision."""
    grants = {
        (
            each.values["member"].partition("@")[0].removeprefix("serviceAccount:povstorm-"),
            each.values["role"],
            each.type.removeprefix("google_").removesuffix("_iam_member"),
        )
        for each in whole_cluster.resources()
        if each.type.endswith("_iam_member")
    }

    assert grants == {
        ("renderer", "projects/povstorm-test/roles/povstormRenderer", "storage_bucket"),
        ("renderer", "roles/storage.objectViewer", "storage_managed_folder"),
        ("orchestrator", "roles/storage.objectUser", "storage_bucket"),
        ("orchestrator", "roles/run.jobsExecutorWithOverrides", "cloud_run_v2_job"),
        ("orchestrator", "roles/run.viewer", "cloud_run_v2_job"),
        ("orchestrator", "roles/iam.serviceAccountUser", "service_account"),
        ("submitter", "roles/run.developer", "project"),
        ("submitter", "roles/iam.serviceAccountUser", "service_account"),
        ("submitter", "roles/artifactregistry.reader", "artifact_registry_repository"),
        ("orchestrator", "roles/secretmanager.secretAccessor", "secret_manager_secret"),
        ("submitter", "roles/secretmanager.secretAccessor", "secret_manager_secret"),
        ("prefect", "roles/secretmanager.secretAccessor", "secret_manager_secret"),
        ("prefect-people", "roles/secretmanager.secretAccessor", "secret_manager_secret"),
        ("prefect", "roles/cloudsql.client", "project"),
        ("prefect", "roles/cloudsql.instanceUser", "project"),
        ("user:ann", "roles/iam.serviceAccountTokenCreator", "service_account"),
        ("user:ann", "roles/secretmanager.secretAccessor", "secret_manager_secret"),
        ("user:ann", "roles/run.invoker", "cloud_run_v2_service"),
        ("user:ann", "roles/run.viewer", "cloud_run_v2_service"),
    }


def test_who_runs_jobs_as_the_renderer_can_make_or_change_nothing_that_runs_as_it(
    whole_cluster: Terraform,
):
    policy = policy_of(whole_cluster.resources())
    project = f"projects/{policy.project}"
    renderer = ACCOUNT.format("renderer").removeprefix("serviceAccount:")
    account = service_account_name(policy.project, renderer)
    jobs = [
        f"{project}/locations/{each.values['location']}/jobs/{each.values['name']}"
        for each in whole_cluster.resources()
        if each.type == "google_cloud_run_v2_job"
    ]
    may_act = {
        each.member
        for each in policy.bindings
        if policy.allows(each.member, "iam.serviceAccounts.actAs", account)
    }

    assert may_act == {ACCOUNT.format("orchestrator")}
    assert jobs
    for what in ("jobs", "services", "workerpools"):
        for verb in ("create", "update", "setIamPolicy"):
            for resource in (project, *jobs):
                permission = f"run.{what}.{verb}"
                assert not policy.allows(ACCOUNT.format("orchestrator"), permission, resource)
    for permission in ("getAccessToken", "signBlob", "signJwt", "getOpenIdToken"):
        assert not policy.allows(
            ACCOUNT.format("orchestrator"), f"iam.serviceAccounts.{permission}", account
        )


def test_what_each_granted_role_permits_is_known(whole_cluster: Terraform):
    """A role that the stand-ins' table does not have could permit anything."""
    policy = policy_of(whole_cluster.resources())

    for binding in policy.bindings:
        assert policy.permissions(binding.role), binding


def test_no_key_is_made_and_nothing_secret_is_in_the_state(whole_cluster: Terraform):
    for each in whole_cluster.resources():
        assert "key" not in each.type
        assert each.values.get("password") is None
