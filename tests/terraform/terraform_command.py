"""Terraform on a copy of ``terraform/``, with the stub provider; the tests and the e2e use it.

Where the provider registry can be reached, the same commands work with the real provider.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.terraform.provider_schema import generate_schema
from tests.terraform.stub_provider import StubProvider

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "terraform"
# Of the repository, what the configuration reads beside its own folder.
_READ_TOO = ("constraints.txt", "pyproject.toml")
# On a busy machine.
_COMMAND_SECONDS = 900
_SETTINGS = {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", "TF_CLI_ARGS": "-no-color"}
_OPTIONS = {"init": ["-input=false"], "apply": ["-input=false", "-auto-approve"]}

# The least that a user has to say; without a registry to push to, images are not built.
VARIABLES: dict[str, Any] = {
    "project_id": "povstorm-test",
    "region": "europe-west1",
    "build_images": False,
}


# All that can be switched on.
EVERYTHING: dict[str, Any] = {
    "users": ["user:ann@example.com"],
    "billing_account": "012345-6789AB-CDEF01",
    "alert_emails": ["ann@example.com"],
    "labels": {"team": "films"},
    "prefect_server": True,
}


@dataclass(frozen=True)
class Done:
    """A terraform command that has ended; text: standard output and error, as a user sees them."""

    status: int
    text: str
    output: str


class Terraform:
    """A configuration in a folder of its own, and terraform commands on it."""

    def __init__(self, folder: Path, provider: StubProvider) -> None:
        self.configuration = folder / "terraform"
        generated = shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfvars*")
        shutil.copytree(CONFIGURATION, self.configuration, ignore=generated)
        for name in _READ_TOO:
            shutil.copy(ROOT / name, folder / name)
        self._environment = provider.reattach

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Done:
        """Run ``terraform ARGUMENTS``; a status other than 0 is the caller's to judge."""
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("TF_")
        }
        command, *options = arguments
        done = subprocess.run(
            [
                "terraform",
                f"-chdir={self.configuration}",
                command,
                *_OPTIONS.get(command, ()),
                *options,
            ],
            env={**inherited, **self._environment, **_SETTINGS, **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=_COMMAND_SECONDS,
        )
        return Done(done.returncode, done.stdout + done.stderr, done.stdout)

    def must(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Done:
        """Run ``terraform ARGUMENTS``, which has to succeed."""
        done = self.run(*arguments, environment=environment)
        assert done.status == 0, done.text
        return done

    def write_variables(self, variables: Mapping[str, Any]) -> None:
        """The file that terraform reads by itself."""
        file = self.configuration / "terraform.tfvars.json"
        file.write_text(json.dumps({**VARIABLES, **variables}))

    def resources(self) -> list[Resource]:
        """What the state has, data sources left out."""
        return resources_of(self.must("show", "-json").output)

    def write_outputs(self) -> Path:
        """The file of ``terraform output -json``, as a user makes it."""
        file = self.configuration.parent / "outputs.json"
        file.write_text(self.must("output", "-json").output)
        return file


@dataclass(frozen=True)
class Resource:
    """One in the state: ``google_cloud_run_v2_job.render["2g"]``, its type and its values."""

    address: str
    type: str
    values: dict[str, Any]


def resources_of(shown: str) -> list[Resource]:
    """What the output of ``terraform show -json`` has, data sources left out."""
    state = json.loads(shown)
    return [
        Resource(each["address"], each["type"], each["values"])
        for each in state["values"]["root_module"]["resources"]
        if each["mode"] == "managed"
    ]


def is_installed() -> bool:
    """Whether there is a terraform program."""
    return shutil.which("terraform") is not None


@functools.cache
def google_schema() -> dict[str, Any]:
    """The schema of all that the configuration uses; CannotFetchBindingsError without it."""
    return generate_schema(CONFIGURATION)


def applied(variables: Mapping[str, Any], folder: Path, provider: StubProvider) -> Terraform:
    """The configuration, applied on the provider."""
    terraform = Terraform(folder, provider)
    terraform.write_variables(variables)
    terraform.must("init")
    terraform.must("apply")
    return terraform


def apply_and_output(variables: Mapping[str, Any], folder: Path) -> Path:
    """Apply the configuration on a stub provider; returns the file of ``output -json``."""
    with StubProvider(google_schema()) as provider:
        return applied(variables, folder, provider).write_outputs()
