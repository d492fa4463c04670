"""Cloud Build is sent what the images are built of, and nothing else that lies here."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_IMAGES = ("render_image/Dockerfile", "deployments/Dockerfile")
_SECRETS = (
    "key.json",
    "outputs.json",
    ".env",
    "terraform/terraform.tfstate",
    "terraform/terraform.tfvars",
    "deployments/key.json",
    "render_image/key.json",
    "povstorm_client/storage/key.json",
    "flows/.env",
    "tasks/report/key.pem",
    "render_image/id_rsa",
    "povstorm_client/jobs/id_rsa",
    "photos/me.png",
)


@pytest.fixture(scope="module")
def uploaded(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What gcloud would upload of the repository's files, with secrets between them."""
    if shutil.which("gcloud") is None:
        pytest.skip("there is no gcloud here: https://cloud.google.com/sdk/docs/install")
    folder = tmp_path_factory.mktemp("repository")
    for name in (*_files(), *_SECRETS):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("")
    shutil.copy(ROOT / ".gcloudignore", folder)
    done = subprocess.run(
        ["gcloud", "meta", "list-files-for-upload", str(folder)],
        env={**os.environ, "CLOUDSDK_CONFIG": str(tmp_path_factory.mktemp("gcloud"))},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def _files() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return listed.stdout.split()


def _built_of() -> set[str]:
    """The repository's files that the images are built of."""
    wanted: set[str] = {".dockerignore", *_IMAGES}
    for image in _IMAGES:
        for line in (ROOT / image).read_text().splitlines():
            if line.startswith("COPY ") and "--from" not in line:
                for source in line.split()[1:-1]:
                    wanted |= {
                        name for name in _files() if name == source or name.startswith(f"{source}/")
                    }
    return wanted


def test_all_that_the_images_are_built_of_is_uploaded(uploaded: set[str]):
    assert _built_of() - uploaded == set()


def test_all_that_the_images_are_built_of_is_allowed_as_git_reads_the_list():
    ignored = subprocess.run(
        ["git", "ls-files", "--cached", "--ignored", "--exclude-from=.gcloudignore"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert _built_of().isdisjoint(ignored.stdout.split())


def test_nothing_secret_is_uploaded_wherever_it_lies(uploaded: set[str]):
    assert uploaded.isdisjoint(_SECRETS)
    assert not any(name.startswith(("tests/", "docs/", "terraform/")) for name in uploaded)
