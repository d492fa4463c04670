"""GoogleProject: what the stand-ins of a project share, in a folder that they read for each call.

The policy and which of its grants are in force, the APIs that are switched on, the images in
Artifact Registry, Cloud Run's services, the secrets in Secret Manager, what a container that
runs as an account is given, and what containers print.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.emulators.iam.policy import Grant, Policy, read_policy, write_policy
from tests.emulators.iam.tokens import member_of

_LATE = "late"


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

    def spread_grants(self, member: str, calls: int, permissions: str = "") -> None:
        """Have a member's grants take effect after so many calls.

        permissions: what those begin with that are late, as ``run.`` or ``storage.``.
        """
        late = {**self._read(_LATE), f"{member} {permissions}": str(calls)}
        self._write(_LATE, late)

    def allows(self, member: str, permission: str, resource: str) -> bool:
        """Whether the member has the permission on the resource, by grants that are in force."""
        return self.policy.allows(member, permission, resource) and not self.is_late(
            member, permission
        )

    def is_late(self, member: str, permission: str) -> bool:
        """Whether a call finds a grant not in force yet; it is counted."""
        if not (self.folder / f"{_LATE}.json").is_file():
            return False
        with (self.folder / "late.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            late = self._read(_LATE)
            for name, calls in late.items():
                who, begin = name.split(" ", 1)
                if who == member and permission.startswith(begin) and int(calls):
                    self._write(_LATE, {**late, name: str(int(calls) - 1)})
                    return True
        return False

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

    def is_enabled(self, api: str) -> bool:
        """Whether an API (``run.googleapis.com``) is switched on."""
        return api in self._read("enabled")

    def enable(self, *apis: str) -> None:
        """Switch APIs on."""
        self._write("enabled", {**self._read("enabled"), **dict.fromkeys(apis, "")})

    def has_image(self, image: str) -> bool:
        """Whether an image with its tag was pushed."""
        return image in self._read("images")

    def push_image(self, image: str) -> None:
        """Have an image in Artifact Registry: ``REGION-docker.pkg.dev/P/REPOSITORY/NAME:TAG``."""
        self._write("images", {**self._read("images"), image: ""})

    def set_images(self, images: Iterable[str]) -> None:
        """Have these images alone."""
        self._write("images", dict.fromkeys(images, ""))

    def service(self, name: str) -> dict[str, Any] | None:
        """A Cloud Run service by its full name, as the Admin API shows it, or None."""
        found = self._read("run_services").get(name)
        shown: dict[str, Any] | None = None if found is None else json.loads(found)
        return shown

    def set_services(self, services: Mapping[str, Mapping[str, Any]]) -> None:
        """Have these services alone, by their full names."""
        self._write("run_services", {name: json.dumps(each) for name, each in services.items()})

    def environment_of(self, email: str) -> dict[str, str]:
        """By which a container finds the service account that it runs as."""
        found: dict[str, str] = json.loads(self._read("environments").get(email, "{}"))
        return found

    def set_environment_of(self, email: str, environment: Mapping[str, str]) -> None:
        """Say what containers that run as the account are given."""
        told = {**self._read("environments"), email: json.dumps(environment)}
        self._write("environments", told)

    def container_log(self, name: str) -> Path:
        """The file of what a container prints; its last line is how it ended."""
        folder = self.folder / "containers"
        folder.mkdir(exist_ok=True)
        return folder / f"{name}.log"

    def container_troubles(self) -> list[str]:
        """What containers have printed that is more than information, and bad ends of theirs."""
        logs = sorted((self.folder / "containers").glob("*.log"))
        lines = [line for log in logs for line in log.read_text(encoding="utf-8").splitlines()]
        good = ('{"severity": "INFO"', "ended with 0")
        return [line for line in lines if not any(words in line for words in good)]

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


class ObjectGrants(Mapping[str, list[Grant]]):
    """By bearer token, what its member may do with the objects of one of the project's buckets."""

    def __init__(self, project: GoogleProject, bucket: str) -> None:
        self._project = project
        self._bucket = bucket

    def __contains__(self, token: object) -> bool:
        return isinstance(token, str) and member_of(token) is not None

    def __getitem__(self, token: str) -> list[Grant]:
        """Of one call: none, while grants are not in force yet."""
        member = member_of(token)
        if member is None:
            raise KeyError(token)
        if self._project.is_late(member, "storage."):
            return []
        return self._project.policy.object_grants(member, self._bucket)

    def __iter__(self) -> Iterator[str]:
        raise NotImplementedError("tokens are not listed")

    def __len__(self) -> int:
        raise NotImplementedError("tokens are not counted")
