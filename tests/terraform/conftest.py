"""The stub provider, and configurations applied on it, for the tests of terraform/."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.terraform.provider_bindings import CannotFetchBindingsError
from tests.terraform.stub_provider import StubProvider
from tests.terraform.terraform_command import (
    EVERYTHING,
    Terraform,
    applied,
    google_schema,
    is_installed,
)


@pytest.fixture(scope="session")
def provider() -> Iterator[StubProvider]:
    """The stub provider; tests are skipped where terraform or its schema cannot be had."""
    if not is_installed():
        pytest.skip("there is no terraform here: https://developer.hashicorp.com/terraform/install")
    try:
        schema = google_schema()
    except CannotFetchBindingsError as problem:
        if os.environ.get("CI"):
            pytest.fail(str(problem))
        pytest.skip(f"the google provider's bindings cannot be fetched: {problem}")
    with StubProvider(schema) as stub:
        yield stub


@pytest.fixture
def terraform(tmp_path: Path, provider: StubProvider) -> Terraform:
    """A copy of the configuration with the least variables."""
    made = Terraform(tmp_path, provider)
    made.write_variables({})
    made.must("init")
    return made


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, provider: StubProvider) -> Terraform:
    """The configuration, applied with the least variables; to be looked at only."""
    return applied({}, tmp_path_factory.mktemp("cluster"), provider)


@pytest.fixture(scope="session")
def whole_cluster(tmp_path_factory: pytest.TempPathFactory, provider: StubProvider) -> Terraform:
    """The configuration, applied with all that can be switched on; to be looked at only."""
    return applied(EVERYTHING, tmp_path_factory.mktemp("whole-cluster"), provider)
