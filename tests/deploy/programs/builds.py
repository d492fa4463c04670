"""Cloud Build, as ``gcloud builds submit`` uses it: whose rights it takes, and what is there after.

Who submits needs rights on the bucket of sources, to make builds and to act as the build's account,
and that account to read the sources, to push the images and to log:
https://cloud.google.com/build/docs/securing-builds/configure-user-specified-service-accounts.
Nothing is built: the images are said to be in their repository.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from google.api_core.exceptions import GoogleAPICallError, NotFound
from google.cloud.storage import Client
from google.oauth2.credentials import Credentials

from tests.deploy.programs.gcloud_commands import Typed
from tests.deploy.programs.refusals import RefusedError, need
from tests.emulators.iam.project import GoogleProject
from tests.emulators.iam.tokens import token_of

_IMAGE = re.compile(r"([a-z0-9-]+)-docker\.pkg\.dev/([^/]+)/([^/]+)/[^/:]+:[^/:]+")
_STAGING = re.compile(r"gs://([^/]+)/(.+)")
_ACCOUNT = re.compile(r"projects/[^/]+/serviceAccounts/([^/]+)")


class Builds:
    """The builds of a project, for who submits one, ``user:…``."""

    def __init__(self, project: GoogleProject, member: str) -> None:
        self._project = project
        self._member = member
        self._name = f"projects/{project.policy.project}"

    def submit(self, typed: Typed) -> None:
        """Build and push; RefusedError."""
        config = _configuration(Path(typed.flags["--config"]))
        staging = _STAGING.fullmatch(typed.flags.get("--gcs-source-staging-dir", ""))
        account = _ACCOUNT.fullmatch(typed.flags["--service-account"])
        if staging is None or account is None:
            raise RefusedError("a build as an account of ours needs its full name, and a bucket")
        if not self._project.is_enabled("cloudbuild.googleapis.com"):
            raise RefusedError(
                "PERMISSION_DENIED: Cloud Build API has not been used in project "
                f"{self._project.policy.project} before or it is disabled."
            )
        images = _substituted(config, typed.flags.get("--substitutions", ""))
        source = f"{staging[2]}/source.tgz"
        self._upload(staging[1], source)
        need(self._project, self._member, "cloudbuild.builds.create", self._name)
        need(self._project, self._member, "iam.serviceAccounts.actAs", account[0])
        self._build(f"serviceAccount:{account[1]}", staging[1], source, images)

    def _upload(self, bucket: str, source: str) -> None:
        """As gcloud does: it looks for the bucket, and makes one if there is none."""
        client = Client(project=None, credentials=Credentials(token_of(self._member)))
        try:
            client.get_bucket(bucket).blob(source).upload_from_string(b"sources")
        except NotFound as error:
            raise RefusedError(
                f"the stand-in makes no bucket, which gcloud would: {bucket}"
            ) from error
        except GoogleAPICallError as error:
            raise RefusedError(str(error)) from error

    def _build(self, builder: str, bucket: str, source: str, images: list[str]) -> None:
        client = Client(project=None, credentials=Credentials(token_of(builder)))
        try:
            client.bucket(bucket).blob(source).download_as_bytes()
            # Logs go to Cloud Logging alone.
            need(self._project, builder, "logging.logEntries.create", self._name)
            for image in images:
                place = _IMAGE.fullmatch(image)
                if place is None:
                    raise RefusedError(f"{image}: invalid reference format")
                repository = f"projects/{place[2]}/locations/{place[1]}/repositories/{place[3]}"
                push = "artifactregistry.repositories.uploadArtifacts"
                need(self._project, builder, push, repository)
        except (GoogleAPICallError, RefusedError) as error:
            raise RefusedError(f"build 1 completed with status FAILURE: {error}") from error
        for image in images:
            self._project.push_image(image)


def _configuration(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise RefusedError(f"Unable to read file [{file}]")
    found: dict[str, Any] = yaml.safe_load(file.read_text())
    for step in found["steps"]:
        dockerfile = step["args"][step["args"].index("--file") + 1]
        if not Path(dockerfile).is_file():
            raise RefusedError(f"unable to evaluate symlinks in Dockerfile path: {dockerfile}")
    return found


def _substituted(config: dict[str, Any], given: str) -> list[str]:
    """The images that a build pushes; each variable is given, and each given one is used."""
    values = dict(pair.split("=", 1) for pair in given.split(",") if pair)
    used = set(re.findall(r"\$(_[A-Z0-9_]+)", yaml.safe_dump(config)))
    if used != set(values):
        raise RefusedError(
            "INVALID_ARGUMENT: generic::invalid_argument: key in the template or in the "
            f"substitution data is not matched in the other: {sorted(used ^ set(values))}"
        )
    return [values[image.removeprefix("$")] for image in config["images"]]
