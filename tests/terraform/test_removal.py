"""All that terraform has made it also removes, as docs/first-run.md has it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.terraform.stub_provider import StubProvider
from tests.terraform.terraform_command import EVERYTHING, applied


def test_destroy_leaves_nothing(tmp_path: Path, provider: StubProvider):
    terraform = applied({**EVERYTHING, "prefect_database_protection": False}, tmp_path, provider)
    assert terraform.resources()

    terraform.must("destroy", "-auto-approve")

    assert "values" not in json.loads(terraform.must("show", "-json").output)
