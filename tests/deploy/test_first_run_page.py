"""docs/first-run.md is typed from its first line to its last: nothing is left."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from povstorm_client.version import povstorm_version
from tests.deploy.conftest import PROJECT, ROOT
from tests.deploy.doctors_words import not_ok, verdicts
from tests.deploy.typed_page import Shell, shell_blocks
from tests.e2e.granted_cloud import GrantedCloud
from tests.terraform.stub_provider import RefusedError, StubProvider
from tests.terraform.terraform_command import resources_of

Json = dict[str, Any]

PAGE = ROOT / "docs" / "first-run.md"
BUCKET = f"{PROJECT}-render"
# What the account of flows is not told of a project.
NOT_TOLD = {
    *("quota", "the submitter's images", "the renderer's rights", "alert of failed frames"),
    *(f"image {name}:{povstorm_version()}" for name in ("render", "flow")),
    *("acting as povstorm-orchestrator", "keys of povstorm-renderer"),
    *("keys of povstorm-orchestrator", "way to Prefect's server", "Prefect's login"),
    *("Prefect's records", "Prefect's database"),
}


@pytest.fixture
def google_keeps_the_bucket(
    provider: StubProvider, cloud: GrantedCloud
) -> Iterator[threading.Event]:
    """While it is set, Google does not delete the bucket."""
    keeps = threading.Event()

    def change(kind: str, prior: Json | None, planned: Json | None) -> None:
        if keeps.is_set() and kind == "google_storage_bucket" and planned is None:
            raise RefusedError("googleapi: Error 503: Service unavailable, backendError")
        cloud.follow(kind, prior, planned)

    provider.google = change
    yield keeps
    provider.google = cloud.follow


def test_from_nothing_to_a_film_and_back_to_nothing(
    shell: Shell, google_keeps_the_bucket: threading.Event
):
    make, look, render = shell_blocks(PAGE, "## 1. Make the cluster", "## 4. Remove it all")
    (remove,) = shell_blocks(PAGE, "## 4. Remove it all", "If something is left that")
    machine = {path for path in shell.folder.rglob("*") if ".terraform" not in path.parts}

    made = shell.type(make)
    assert "Apply complete!" in made
    looked = shell.type(look)
    assert f"ok      storage: gs://{BUCKET} can be written, read and cleared" in looked
    as_flows, as_owner = verdicts(looked)
    assert not_ok(as_flows) == dict.fromkeys(NOT_TOLD, "?")
    assert all("denied on resource" in as_flows[name].finding for name in NOT_TOLD)
    assert not_ok(as_owner) == {}
    # Each line that the page shows is printed, word for word.
    for line in re.findall(r"^ok .*$", PAGE.read_text(encoding="utf-8"), re.MULTILINE):
        assert line in looked.splitlines()
    shell.type(render)
    assert (shell.folder / "spiral_render" / "spiral.mp4").is_file()

    login = shell.folder.parent / "home" / ".config" / "gcloud"
    google_keeps_the_bucket.set()
    refused = shell.type_on(remove)

    assert "Error 503" in refused
    assert "Destroy complete!" not in refused
    # All that is needed to go on.
    state = shell.folder / "terraform" / "terraform.tfstate"
    known = {each.type for each in resources_of(shell.type("tf show -json"))}
    assert "google_storage_bucket" in known
    assert (shell.folder / "terraform" / "terraform.tfvars").is_file()
    assert (login / "application_default_credentials.json").is_file()

    google_keeps_the_bucket.clear()
    removed = shell.type_on(remove)

    assert "Destroy complete!" in removed
    assert not state.exists()
    assert not (login / "application_default_credentials.json").exists()
    left = {path for path in shell.folder.rglob("*") if ".terraform" not in path.parts} - machine
    # Terraform keeps what it has chosen of its provider.
    assert {path.name for path in left} <= {".terraform.lock.hcl"}
