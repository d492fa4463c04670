"""GoogleProject: what the stand-ins of a project share, in a folder that they read for each call.

The policy, the secrets in Secret Manager, and what a container that runs as an account is given.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tests.emulators.iam.policy import Policy, read_policy, write_policy


class GoogleProject:
    """The folder; processes that work on it share it by its path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.policy_file = folder / "policy.json"

    @property
    def policy(self) -> Policy:
        """Who has which role, at this moment."""
        return read_policy(self.policy_file)

    @policy.setter
    def policy(self, policy: Policy) -> None:
        write_policy(self.policy_file, policy)

    def secret(self, name: str) -> str | None:
        """The newest version's value; None if there is none."""
        return self._read("secrets").get(name)

    def add_secret(self, name: str, value: str) -> None:
        """A secret with one version, or one more version of it."""
        self._write("secrets", {**self._read("secrets"), name: value})

    def delete_secret(self, name: str) -> None:
        """The secret, and all its versions."""
        left = self._read("secrets")
        del left[name]
        self._write("secrets", left)

    def environment_of(self, email: str) -> dict[str, str]:
        """By which a container finds the service account that it runs as."""
        found: dict[str, str] = json.loads(self._read("environments").get(email, "{}"))
        return found

    def set_environment_of(self, email: str, environment: Mapping[str, str]) -> None:
        """Say what containers that run as the account are given."""
        told = {**self._read("environments"), email: json.dumps(environment)}
        self._write("environments", told)

    def _read(self, kind: str) -> dict[str, str]:
        file = self.folder / f"{kind}.json"
        found: dict[str, str] = (
            json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        )
        return found

    def _write(self, kind: str, content: dict[str, str]) -> None:
        new = self.folder / f"{kind}.new"
        new.write_text(json.dumps(content), encoding="utf-8")
        new.replace(self.folder / f"{kind}.json")
