"""checkov's policies hold for all that can be switched on, and each exception says why.

checkov pins a hundred packages, so it runs in an environment of its own, which uv keeps.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.terraform.terraform_command import CONFIGURATION, EVERYTHING, VARIABLES

_UV = Path(sys.executable).with_name("uv")
_CHECKOV = "checkov==3.3.30"


@pytest.fixture(scope="module")
def checkov() -> list[str]:
    """The command; tests are skipped where it cannot be installed, but not in CI."""
    command = [str(_UV), "tool", "run", "--quiet", "--from", _CHECKOV, "checkov"]
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    if done.returncode:
        problem = f"{_CHECKOV} cannot be installed: {done.stderr.strip()[-300:]}"
        if os.environ.get("CI"):
            pytest.fail(problem)
        pytest.skip(problem)
    return command


def scan(command: list[str], configuration: Path, folder: Path) -> dict[str, Any]:
    """checkov's results with everything switched on: without, there is less to look at."""
    variables = folder / "everything.tfvars.json"
    variables.write_text(json.dumps({**VARIABLES, **EVERYTHING, "build_images": True}))
    done = subprocess.run(
        [
            *command,
            *("--directory", str(configuration), "--framework", "terraform"),
            *("--var-file", str(variables), "--output", "json", "--skip-download", "--soft-fail"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    results: dict[str, Any] = json.loads(done.stdout)["results"]
    assert not results["parsing_errors"]
    return results


def test_no_policy_is_broken_and_each_exception_says_why(checkov: list[str], tmp_path: Path):
    results = scan(checkov, CONFIGURATION, tmp_path)

    assert [(each["check_id"], each["resource"]) for each in results["failed_checks"]] == []
    for each in results["skipped_checks"]:
        reason = each["check_result"]["suppress_comment"]
        assert len(reason.split()) >= 5, f"{each['check_id']}: {reason!r} is no reason"
    looked_at = {each["resource"].split("[")[0] for each in results["passed_checks"]}
    assert {
        "google_storage_bucket.render",
        "google_sql_database_instance.prefect",
        "google_compute_firewall.prefect",
    } <= looked_at


def test_it_finds_what_terraform_does_not(checkov: list[str], tmp_path: Path):
    copy = tmp_path / "terraform"
    shutil.copytree(CONFIGURATION, copy)
    replace = functools.partial(_replace, copy)
    replace("bucket.tf", '"enforced"', '"inherited"')
    replace("prefect_database.tf", "ipv4_enabled    = false", "ipv4_enabled    = true")
    replace("iam_submitter.tf", "roles/run.developer", "roles/owner")

    found = {each["check_id"] for each in scan(checkov, copy, tmp_path)["failed_checks"]}

    # Public access is not prevented; a database on the internet; a role over the whole project.
    assert {"CKV_GCP_114", "CKV_GCP_60", "CKV_GCP_117"} <= found


def _replace(folder: Path, file: str, right: str, wrong: str) -> None:
    text = (folder / file).read_text()
    assert right in text
    (folder / file).write_text(text.replace(right, wrong))
