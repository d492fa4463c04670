"""What is wrong in the configuration is found, by terraform and the provider's own schema."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.terraform.stub_provider import StubProvider
from tests.terraform.terraform_command import Terraform

BREAKS = {
    "a misspelled argument": (
        "bucket.tf",
        "public_access_prevention ",
        "public_acces_prevention ",
        'argument named "public_acces_prevention" is not expected here',
    ),
    "a misspelled argument deep inside": (
        "render_jobs.tf",
        "max_retries ",
        "max_retry ",
        'argument named "max_retry" is not expected here',
    ),
    "a missing argument": (
        "registry.tf",
        'format        = "DOCKER"',
        "",
        'argument "format" is required',
    ),
    "a missing block": (
        "budget.tf",
        "amount {\n    specified_amount {\n      units = tostring(var.monthly_budget)\n    }\n  }",
        "",
        "Insufficient amount blocks",
    ),
    "a wrong block": (
        "bucket.tf",
        "soft_delete_policy {",
        "soft_deletion_policy {",
        'Blocks of type "soft_deletion_policy" are not expected here',
    ),
    "a block that may be there once": (
        "bucket.tf",
        "  soft_delete_policy {",
        "  soft_delete_policy {}\n  soft_delete_policy {",
        "Too many soft_delete_policy blocks",
    ),
    "a block for an argument": (
        "bucket.tf",
        "  soft_delete_policy {",
        "  soft_delete_policy = {",
        'argument named "soft_delete_policy" is not expected here',
    ),
    "a wrong type": (
        "render_jobs.tf",
        "deletion_protection = false",
        'deletion_protection = "perhaps"',
        'Inappropriate value for attribute "deletion_protection": a bool is required',
    ),
    "a list for a text": (
        "service_accounts.tf",
        'display_name = "povstorm renderer"',
        'display_name = ["povstorm renderer"]',
        'Inappropriate value for attribute "display_name": string required',
    ),
    "a reference to what is not there": (
        "outputs.tf",
        "google_storage_bucket.render.name",
        "google_storage_bucket.frames.name",
        'managed resource "google_storage_bucket" "frames" has not been declared',
    ),
    "a reference to an attribute that is not there": (
        "outputs.tf",
        "google_service_account.renderer.email",
        "google_service_account.renderer.mail",
        'no argument, nested block, or exported attribute named "mail"',
    ),
    "an argument that only Google sets": (
        "bucket.tf",
        '"STANDARD"',
        '"STANDARD"\n  self_link = "mine"',
        'Can\'t configure a value for "self_link"',
    ),
    "a value that is none of the possible": (
        "prefect_server.tf",
        'ingress  = "INGRESS_TRAFFIC_INTERNAL_ONLY"',
        'ingress  = "INTERNAL"',
        "expected ingress to be one of",
    ),
}


@pytest.mark.parametrize("what", BREAKS)
def test_it_is_found(tmp_path: Path, provider: StubProvider, what: str):
    file, right, wrong, message = BREAKS[what]
    terraform = Terraform(tmp_path, provider)
    terraform.write_variables({"prefect_server": True})
    broken = terraform.configuration / file
    text = broken.read_text()
    assert right in text, f"{file} has no {right!r} any more"
    broken.write_text(text.replace(right, wrong, 1))
    terraform.must("init")

    # Values that come from variables and locals are known to a plan only.
    done = terraform.run("plan" if "possible" in what else "validate")

    assert done.status == 1, done.text
    assert message in " ".join(done.text.replace("│", " ").split())
    assert file in done.text
