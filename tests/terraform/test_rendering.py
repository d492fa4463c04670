"""A cluster made by terraform renders: with its outputs, its render jobs and exactly its grants.

Terraform runs on the stub provider. The stand-ins have what it made, and refuse who was not granted
a thing; the clients log in as people and containers do.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from google.api_core.exceptions import Forbidden, PreconditionFailed
from google.cloud.storage import Bucket, Client
from google.oauth2.credentials import Credentials

from povstorm_client import (
    CloudError,
    Cluster,
    Job,
    RenderSettings,
    StorageError,
    WorkUnit,
)
from povstorm_client.cloud_run.terraform_outputs import TerraformOutputs, read_terraform_outputs
from povstorm_client.storage import layout
from tests.conftest import SPHERE
from tests.e2e.granted_cloud import GrantedCloud
from tests.emulators.cloud_run.server import PROJECT, REGION
from tests.emulators.iam.policy import Binding
from tests.emulators.iam.tokens import token_of
from tests.terraform.stub_provider import StubProvider
from tests.terraform.terraform_command import Terraform, applied

OWNER = "user:ann@example.com"
SUBMITTER = f"serviceAccount:povstorm-submitter@{PROJECT}.iam.gserviceaccount.com"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, provider: StubProvider) -> Terraform:
    variables = {"project_id": PROJECT, "region": REGION, "users": [OWNER]}
    return applied(variables, tmp_path_factory.mktemp("made"), provider)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, made: Terraform) -> Iterator[GrantedCloud]:
    folder = tmp_path_factory.mktemp("cloud")
    with GrantedCloud(folder, PROJECT, OWNER) as cloud, pytest.MonkeyPatch.context() as patch:
        rendering = read_terraform_outputs(made.write_outputs())
        # build_images = false: they were pushed before.
        for image in (rendering.render_image, flow_image(rendering)):
            cloud.project.push_image(image)
        cloud.apply(made.resources())
        for name, value in cloud.environment.items():
            patch.setenv(name, value)
        yield cloud


@pytest.fixture
def cloud(project: GrantedCloud) -> Iterator[GrantedCloud]:
    """The project with the grants of terraform, whatever a test does to them."""
    granted = project.project.policy
    yield project
    project.project.policy = granted


@pytest.fixture
def outputs(
    made: Terraform, cloud: GrantedCloud, monkeypatch: pytest.MonkeyPatch
) -> TerraformOutputs:
    """The outputs; the owner acts as the orchestrator, as docs/deploy.md has it."""
    found = read_terraform_outputs(made.write_outputs())
    credentials = cloud.credentials(OWNER, found.orchestrator_service_account)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(credentials))
    return found


@pytest.mark.skipif(shutil.which("povray") is None, reason="there is no POV-Ray here")
def test_a_cluster_made_by_terraform_renders(
    tmp_path: Path, made: Terraform, cloud: GrantedCloud, outputs: TerraformOutputs
):
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "colour.inc").write_text("#declare Colour = rgb x;\n")
    job = Job(Cluster.from_terraform_outputs(made.write_outputs()), "sphere", retries=0)
    job.add_shared_resources(shared)
    settings = RenderSettings(scene="sphere.pov", width=64, height=48, final_frame=2)
    for frame in (1, 2):
        unit = WorkUnit(settings, frame=frame)
        unit.add_inline_resource("sphere.pov", '#include "shared/colour.inc"\n' + SPHERE)
        job.add_work_unit(unit)

    job.run(show_progress=False)

    assert sorted(job.images()) == [1, 2]
    hosts = {result.host for result in job.results()}
    assert all(host.startswith("povstorm-render-2g-") for host in hosts)


def call(cloud: GrantedCloud, member: str, verb: str, path: str, **options: Any) -> tuple[int, str]:
    """A call of the Admin API; its status and its refusal's message."""
    answer = requests.request(
        verb,
        f"{cloud.run.rest_url}/v2/projects/{PROJECT}/locations/{REGION}/{path}",
        headers={"Authorization": f"Bearer {token_of(member)}"},
        timeout=30,
        **options,
    )
    return answer.status_code, answer.json().get("error", {}).get("message", "")


def flow_job(account: str, image: str) -> dict[str, Any]:
    """What Prefect's worker makes for a flow run."""
    limits = {"cpu": "1000m", "memory": "2Gi"}
    container = {"image": image, "resources": {"limits": limits}}
    return {"template": {"template": {"serviceAccount": account, "containers": [container]}}}


def test_the_submitter_makes_runs_and_deletes_jobs_of_flows(
    cloud: GrantedCloud, outputs: TerraformOutputs
):
    job = flow_job(outputs.orchestrator_service_account, flow_image(outputs))

    made = call(cloud, SUBMITTER, "POST", "jobs?jobId=flow", json=job)
    run = call(cloud, SUBMITTER, "POST", "jobs/flow:run", json={})
    read = call(cloud, SUBMITTER, "GET", "jobs/flow/executions")
    deleted = call(cloud, SUBMITTER, "DELETE", "jobs/flow")

    assert [made[0], run[0], read[0], deleted[0]] == [200] * 4, (made, run, read, deleted)


def test_the_submitter_makes_no_job_as_another_account_or_of_an_image_that_it_cannot_read(
    cloud: GrantedCloud, outputs: TerraformOutputs
):
    orchestrator, renderer = (
        outputs.orchestrator_service_account,
        outputs.renderer_service_account,
    )
    elsewhere = flow_image(outputs).replace("/povstorm/", "/others/")

    as_another = call(
        cloud,
        SUBMITTER,
        "POST",
        "jobs?jobId=a",
        json=flow_job(renderer, flow_image(outputs)),
    )
    unreadable = call(
        cloud, SUBMITTER, "POST", "jobs?jobId=b", json=flow_job(orchestrator, elsewhere)
    )

    assert as_another == (
        403,
        f"Permission 'iam.serviceaccounts.actAs' denied on service account {renderer} (or it may "
        "not exist).",
    )
    assert unreadable[0] == 403
    assert 'Permission "artifactregistry.repositories.downloadArtifacts" denied' in unreadable[1]


def test_who_may_run_jobs_runs_none_as_an_account_that_he_may_not_act_as(
    cloud: GrantedCloud, outputs: TerraformOutputs
):
    run = call(cloud, SUBMITTER, "POST", "jobs/povstorm-render-2g:run", json={})

    assert run[0] == 403
    assert f"actAs' denied on service account {outputs.renderer_service_account}" in run[1]


def test_a_job_takes_no_secret_that_its_account_cannot_read(
    cloud: GrantedCloud, outputs: TerraformOutputs
):
    job = flow_job(outputs.orchestrator_service_account, flow_image(outputs))
    reference = {"secretKeyRef": {"secret": "prefect-api-key", "version": "latest"}}
    job["template"]["template"]["containers"][0]["env"] = [
        {"name": "PREFECT_API_KEY", "valueSource": reference}
    ]
    cloud.project.add_secret("prefect-api-key", "pnu_1")
    orchestrator = f"serviceAccount:{outputs.orchestrator_service_account}"

    refused = call(cloud, SUBMITTER, "POST", "jobs?jobId=a", json=job)
    secret = f"projects/{PROJECT}/secrets/prefect-api-key"
    role = "roles/secretmanager.secretAccessor"
    cloud.project.policy = cloud.project.policy.plus(Binding(orchestrator, role, secret))
    taken = call(cloud, SUBMITTER, "POST", "jobs?jobId=a", json=job)

    assert refused[0] == 400
    assert f"for Revision service account {outputs.orchestrator_service_account}" in refused[1]
    assert taken[0] == 200


@pytest.mark.parametrize(
    ("verb", "path", "permission"),
    [
        ("POST", "jobs?jobId=another", "run.jobs.create"),
        ("PATCH", "jobs/povstorm-render-2g", "run.jobs.update"),
        ("DELETE", "jobs/povstorm-render-2g", "run.jobs.delete"),
        ("GET", "jobs", "run.jobs.list"),
    ],
)
def test_the_orchestrator_has_no_other_image_run_as_the_renderer(
    cloud: GrantedCloud, outputs: TerraformOutputs, verb: str, path: str, permission: str
):
    orchestrator = f"serviceAccount:{outputs.orchestrator_service_account}"
    body = flow_job(outputs.renderer_service_account, "debian")

    status, message = call(cloud, orchestrator, verb, path, json=body if verb != "GET" else None)

    assert status == 403
    assert message.startswith(f"Permission '{permission}' denied on resource 'projects/")


def test_the_renderer_starts_and_sees_no_execution(cloud: GrantedCloud, outputs: TerraformOutputs):
    renderer = f"serviceAccount:{outputs.renderer_service_account}"

    run = call(cloud, renderer, "POST", "jobs/povstorm-render-2g:run", json={})
    seen = call(cloud, renderer, "GET", "jobs/povstorm-render-2g/executions")

    assert run[0] == seen[0] == 403
    assert "'run.jobs.run' denied" in run[1]
    assert "'run.executions.list' denied" in seen[1]


def test_a_renderer_s_token_adds_objects_to_jobs_and_changes_nothing_else(
    cloud: GrantedCloud, outputs: TerraformOutputs
):
    """docs/security.md says what is left to who takes a container over; this is all of it."""
    renderer = f"serviceAccount:{outputs.renderer_service_account}"
    owner = bucket_as(OWNER, outputs)
    taken = layout.result("a-job", "unit")
    others = [layout.blob("abc"), f"{layout.RESULT_CACHE}/key", "scenes/a.ini", "outputs.json"]
    for key in (taken, layout.log("a-job", "unit"), f"{layout.shared('abc')}/a.inc", *others):
        owner.blob(key).upload_from_string("first")
    bucket = bucket_as(renderer, outputs)
    blob = bucket.blob

    # What is left: new objects in any job, whatever job the container renders.
    for key in (layout.result("another-job", "unit"), f"{layout.output('another-job')}/a.png"):
        blob(key).upload_from_string("forged", if_generation_match=0)
    assert blob(taken).download_as_bytes() == b"first"
    assert blob(f"{layout.shared('abc')}/a.inc").download_as_bytes() == b"first"

    refused = [
        *(
            partial(blob(taken).upload_from_string, "forged", if_generation_match=n)
            for n in (None, 0)
        ),
        blob(taken).delete,
        blob(taken).patch,
        partial(bucket.copy_blob, blob(layout.log("a-job", "unit")), bucket, taken),
        partial(bucket.copy_blob, blob(taken), bucket, f"{layout.RESULT_CACHE}/new"),
        *(blob(key).download_as_bytes for key in others),
        *(
            partial(blob(key).upload_from_string, "forged", if_generation_match=0)
            for key in ("new", "scenes/new.ini", f"{layout.shared('abc')}/b.inc", layout.blob("b"))
        ),
        *(
            partial(list, bucket.list_blobs(prefix=prefix))
            for prefix in ("", "jobs/", "jobs/a-job/")
        ),
        bucket.delete,
    ]
    for each in refused:
        with pytest.raises((Forbidden, PreconditionFailed)):
            each()
    assert owner.blob(taken).download_as_bytes() == b"first"


def bucket_as(member: str, outputs: TerraformOutputs) -> Bucket:
    """The cluster's bucket for who has the member's token."""
    credentials = Credentials(token_of(member))  # type: ignore[no-untyped-call]
    return Client(project=None, credentials=credentials).bucket(outputs.bucket)


def test_that_a_render_job_is_not_there_is_told_with_the_remedy_too(
    made: Terraform, cloud: GrantedCloud, outputs: TerraformOutputs
):
    cluster = Cluster.from_terraform_outputs(made.write_outputs())
    elsewhere = f"projects/{PROJECT}/locations/{REGION}/jobs/elsewhere"

    with pytest.raises(CloudError, match=r"or there is no such job: .*Run `terraform apply`"):
        cluster.cloud_run_api.image(elsewhere)


def test_who_has_no_token_is_nobody(cloud: GrantedCloud):
    jobs = f"v2/projects/{PROJECT}/locations/{REGION}/jobs"
    for url in (
        f"{cloud.run.rest_url}/{jobs}",
        f"{cloud.storage.url}/storage/v1/b/{PROJECT}-render/o",
    ):
        assert requests.get(url, timeout=30).status_code == 401


def test_who_may_not_act_as_the_orchestrator_is_told_at_the_first_call(
    made: Terraform, cloud: GrantedCloud, outputs: TerraformOutputs
):
    grants = cloud.project.policy.bindings
    cloud.project.policy = dataclasses.replace(
        cloud.project.policy,
        bindings=[each for each in grants if each.role != "roles/iam.serviceAccountTokenCreator"],
    )

    # That somebody owns the project is not enough.
    with pytest.raises(StorageError, match=r"iam\.serviceAccounts\.getAccessToken"):
        _ = Cluster.from_terraform_outputs(made.write_outputs()).jobs()


def flow_image(outputs: TerraformOutputs) -> str:
    return outputs.render_image.replace("/render:", "/flow:")
