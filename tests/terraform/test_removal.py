"""All that terraform has made it also removes, as docs/first-run.md has it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.terraform.stub_provider import StubProvider
from tests.terraform.terraform_command import EVERYTHING, Terraform, applied, google_schema

REMOVABLE = {**EVERYTHING, "prefect_database_protection": False}


def test_destroy_leaves_nothing(tmp_path: Path, provider: StubProvider):
    terraform = applied(REMOVABLE, tmp_path, provider)
    assert terraform.resources()

    terraform.must("destroy", "-auto-approve")

    assert "values" not in json.loads(terraform.must("show", "-json").output)


@pytest.mark.usefixtures("provider")
def test_a_server_whose_addresses_are_held_for_hours_is_gone_with_the_second_apply(tmp_path: Path):
    with StubProvider(google_schema(), holds_addresses=True) as held:
        terraform = applied(REMOVABLE, tmp_path, held)
        terraform.write_variables({**REMOVABLE, "prefect_server": False})

        first = terraform.run("apply")
        billed = {each.type for each in terraform.resources()}
        terraform.must("apply")

        assert first.status != 0
        assert "is already being used" in first.text
        # What costs money is deleted by the first.
        assert not billed & {"google_sql_database_instance", "google_cloud_run_v2_service"}
        assert "google_compute_network" not in {each.type for each in terraform.resources()}


@pytest.mark.parametrize(
    ("file", "policy", "refusal"),
    [
        (
            "prefect_database.tf",
            'deletion_policy = "ABANDON"',
            "cannot be dropped because some objects depend on it",
        ),
        (
            "prefect_network.tf",
            'deletion_policy         = "REMOVE_PEERING"',
            "are still using this connection",
        ),
    ],
)
def test_without_a_deletion_policy_google_would_refuse(
    tmp_path: Path, provider: StubProvider, file: str, policy: str, refusal: str
):
    terraform = Terraform(tmp_path, provider)
    text = (terraform.configuration / file).read_text(encoding="utf-8")
    assert policy in text
    (terraform.configuration / file).write_text(text.replace(policy, ""), encoding="utf-8")
    terraform.write_variables(REMOVABLE)
    terraform.must("init")
    terraform.must("apply")

    done = terraform.run("destroy", "-auto-approve")

    assert done.status != 0
    assert refusal in done.text


@pytest.mark.usefixtures("provider")
def test_a_connection_that_is_only_forgotten_keeps_the_network(tmp_path: Path):
    with StubProvider(google_schema()) as own:
        terraform = Terraform(tmp_path, own)
        network = terraform.configuration / "prefect_network.tf"
        text = network.read_text(encoding="utf-8")
        network.write_text(text.replace("REMOVE_PEERING", "ABANDON"), encoding="utf-8")
        terraform.write_variables(REMOVABLE)
        terraform.must("init")
        terraform.must("apply")

        done = terraform.run("destroy", "-auto-approve")

    assert done.status != 0
    assert "servicenetworking-googleapis-com" in done.text
