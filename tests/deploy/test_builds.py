"""The stand-in for Cloud Build takes the rights that Google asks for, and has the images after."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from tests.deploy.conftest import OWNER, PROJECT, ROOT
from tests.deploy.programs.builds import Builds
from tests.deploy.programs.gcloud_commands import understood
from tests.deploy.programs.refusals import RefusedError
from tests.e2e.granted_cloud import GrantedCloud
from tests.emulators.iam.policy import Binding, Policy, bucket_name
from tests.emulators.iam.project import ObjectGrants
from tests.terraform.project_facts import check_made
from tests.terraform.stub_provider import RefusedError as RefusedByGoogleError

BUILDER = f"serviceAccount:builder@{PROJECT}.iam.gserviceaccount.com"
ACCOUNT = f"projects/{PROJECT}/serviceAccounts/builder@{PROJECT}.iam.gserviceaccount.com"
BUCKET = bucket_name("my-bucket")
REPOSITORY = f"projects/{PROJECT}/locations/europe-west1/repositories/povstorm"
RENDER, FLOW = (
    f"europe-west1-docker.pkg.dev/{PROJECT}/povstorm/{name}:1.0" for name in ("render", "flow")
)
OWNED = [
    Binding(OWNER, "roles/owner", f"projects/{PROJECT}"),
    Binding(OWNER, "roles/storage.legacyBucketOwner", BUCKET),
]
GRANTED = [
    Binding(BUILDER, "roles/storage.objectViewer", BUCKET, f"{BUCKET}/objects/builds/"),
    Binding(BUILDER, "roles/artifactregistry.writer", REPOSITORY),
    Binding(BUILDER, "roles/logging.logWriter", f"projects/{PROJECT}"),
]
WORDS = {
    "--config": "terraform/build_images.yaml",
    "--substitutions": f"_RENDER_IMAGE={RENDER},_FLOW_IMAGE={FLOW}",
    "--service-account": ACCOUNT,
    "--gcs-source-staging-dir": "gs://my-bucket/builds",
}


@pytest.fixture(scope="module")
def made(cloud: GrantedCloud) -> GrantedCloud:
    """With a bucket."""
    cloud.make_bucket("my-bucket")
    return cloud


@pytest.fixture
def project(made: GrantedCloud, monkeypatch: pytest.MonkeyPatch) -> GrantedCloud:
    made.project.policy = Policy(PROJECT, [*OWNED, *GRANTED])
    made.storage.grants = ObjectGrants(made.project, "my-bucket")
    made.project.enable("cloudbuild.googleapis.com", "run.googleapis.com")
    made.project.set_images([])
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(ROOT)
    return made


def submit(cloud: GrantedCloud, member: str = OWNER, **flags: str) -> None:
    words = {**WORDS, **{f"--{name.replace('_', '-')}": value for name, value in flags.items()}}
    typed = understood(["builds", "submit", *(f"{k}={v}" for k, v in words.items()), "."])
    Builds(cloud.project, member).submit(typed)


def take(cloud: GrantedCloud, binding: Binding) -> None:
    policy = cloud.project.policy
    kept = [each for each in policy.bindings if each != binding]
    cloud.project.policy = dataclasses.replace(policy, bindings=kept)


def test_what_was_built_is_in_its_repository(project: GrantedCloud):
    job = {"template": [{"template": [{"containers": [{"image": RENDER}]}]}]}
    with pytest.raises(RefusedByGoogleError, match=f"Image '{RENDER}' not found"):
        check_made(project.project, "google_cloud_run_v2_job", job)

    submit(project)

    assert project.project.has_image(RENDER)
    assert project.project.has_image(FLOW)
    check_made(project.project, "google_cloud_run_v2_job", job)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (OWNED[1], r"storage\.buckets\.get"),
        (GRANTED[0], r"FAILURE: .*storage\.objects\.get"),
        (GRANTED[1], r"FAILURE: .*artifactregistry\.repositories\.uploadArtifacts"),
        (GRANTED[2], r"FAILURE: .*logging\.logEntries\.create"),
    ],
    ids=["the bucket", "the sources", "the repository", "the log"],
)
def test_without_a_right_there_is_no_image(project: GrantedCloud, missing: Binding, words: str):
    take(project, missing)

    with pytest.raises(RefusedError, match=words):
        submit(project)

    assert not project.project.has_image(RENDER)


@pytest.mark.parametrize(
    ("role", "words"),
    [
        ("roles/run.developer", r"cloudbuild\.builds\.create"),
        ("roles/cloudbuild.builds.editor", r"iam\.serviceAccounts\.actAs"),
    ],
)
def test_who_may_not_build_or_act_as_the_builder_is_refused(
    project: GrantedCloud, role: str, words: str
):
    bob = "user:bob@example.com"
    may_upload = Binding(bob, "roles/storage.legacyBucketOwner", BUCKET)
    may = Binding(bob, role, f"projects/{PROJECT}")
    project.project.policy = project.project.policy.plus(may_upload, may)

    with pytest.raises(RefusedError, match=words):
        submit(project, bob)


@pytest.mark.parametrize(
    "substitutions", [f"_RENDER_IMAGE={RENDER}", f"{WORDS['--substitutions']},_TAG=1"]
)
def test_variables_that_are_not_those_of_the_configuration_are_refused(
    project: GrantedCloud, substitutions: str
):
    with pytest.raises(RefusedError, match="is not matched"):
        submit(project, substitutions=substitutions)


def test_a_dockerfile_that_is_not_there_is_told(
    project: GrantedCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "terraform").mkdir()
    shutil.copy(ROOT / WORDS["--config"], tmp_path / "terraform")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(RefusedError, match="Dockerfile path: render_image/Dockerfile"):
        submit(project)
