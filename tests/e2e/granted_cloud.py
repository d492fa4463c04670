"""A Google Cloud project as terraform has made it, in which everybody may do what is granted.

Clients are as in production: Google's addresses (through a proxy), application default credentials,
tokens. What a token's account may do is what the applied state says; the rest is refused as Google
refuses it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import requests

from tests.emulators import project_apis
from tests.emulators.cloud_run.server import ENTRYPOINT, CloudRunServer
from tests.emulators.gcs.proxy import GcsProxy
from tests.emulators.gcs.server import GcsServer
from tests.emulators.google_apis_proxy import GoogleApisProxy, address_of
from tests.emulators.iam import token_server
from tests.emulators.iam.policy import Binding, Policy, bucket_name
from tests.emulators.iam.project import GoogleProject, ObjectGrants
from tests.emulators.iam.tokens import token_of
from tests.emulators.metadata_server import MetadataServer
from tests.emulators.project_apis import ProjectApis
from tests.terraform import project_facts
from tests.terraform.access import policy_of
from tests.terraform.cloud_run_jobs import render_job_bodies
from tests.terraform.project_facts import check_made
from tests.terraform.stub_provider import RefusedError
from tests.terraform.terraform_command import Resource

Json = dict[str, Any]

STORAGE, RUN = "storage.googleapis.com", "run.googleapis.com"


class GrantedCloud:
    """The project's servers; empty until what terraform makes is taken over.

    By ``apply`` at its end, or by ``follow`` while it does.


    project_id: its name. owner: who owns it, ``user:…``. command: a container's entrypoint. gcs:
    where its bucket is; None is a server of its own. containers_environment: further variables of
    containers. knobs: of run, the Cloud Run Admin API.
    """

    def __init__(
        self,
        folder: Path,
        project_id: str,
        owner: str,
        command: tuple[str, ...] = ENTRYPOINT,
        *,
        gcs: GcsServer | None = None,
        containers_environment: Mapping[str, str] | None = None,
        **knobs: Any,
    ) -> None:
        self.folder = folder
        self.owner = owner
        self.project = GoogleProject(folder)
        owned = Binding(owner, "roles/owner", f"projects/{project_id}")
        self.project.policy = Policy(project_id, [owned])
        self.storage = GcsProxy()
        self.storage.grants = {}
        self._applied: list[Binding] = []
        # By the account's e-mail.
        self.metadata: dict[str, MetadataServer] = {}
        # Of terraform: what there is, the bucket's name, and where each render job is.
        self._there: list[Resource] = []
        self._bucket = ""
        self._jobs: dict[str, str] = {}
        self._command = command
        self._containers_environment = dict(containers_environment or {})
        self._knobs = knobs
        self._gcs = gcs
        if gcs is not None:
            self.storage.upstream = gcs.own_url

    def __enter__(self) -> GrantedCloud:
        self._open = contextlib.ExitStack()
        self._open.enter_context(self.storage)
        self.storage.public_url = f"https://{STORAGE}"
        self.storage.bucket_policy = lambda bucket, version: self.project.policy.shown(
            bucket_name(bucket), version
        )
        if self._gcs is None:
            self._gcs = self._open.enter_context(GcsServer(self.storage))
        tokens = self._open.enter_context(token_server.TokenServer(self.project))
        hosts = dict.fromkeys(token_server.HOSTS, tokens.address)
        hosts[STORAGE] = address_of(self.storage.url)
        self.apis = self._open.enter_context(ProjectApis(self.project))
        hosts |= dict.fromkeys(project_apis.HOSTS, self.apis.address)
        self.proxy = self._open.enter_context(GoogleApisProxy(self.folder, hosts))
        inside = {**self.proxy.environment, **self._containers_environment}
        self.run = self._open.enter_context(
            CloudRunServer(self._command, inside, project=self.project, **self._knobs)
        )
        self.proxy.hosts[RUN] = address_of(self.run.rest_url)
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    @property
    def environment(self) -> dict[str, str]:
        """By which a program finds the way to Google."""
        return dict(self.proxy.environment)

    def credentials(self, user: str, email: str) -> Path:
        """A file of application default credentials: a person's, who acts as an account."""
        file = self.folder / f"{email}.json"
        file.write_text(json.dumps(token_server.impersonation(user, email)))
        return file

    def make_bucket(self, name: str) -> None:
        """A bucket that terraform has not made."""
        assert self._gcs is not None
        self._gcs.make_bucket(name)

    def jobs(self) -> set[str]:
        """The ids of the jobs in terraform's bucket."""
        assert self._gcs is not None
        names = self._gcs.names(self._bucket, "jobs/")
        return {name.split("/")[1] for name in names if name.endswith("/job.json")}

    def statistics_of(self, job_id: str) -> Json:
        """A job's statistics.json, in terraform's bucket."""
        assert self._gcs is not None
        found: Json = json.loads(self._gcs.read(self._bucket, f"jobs/{job_id}/statistics.json"))
        return found

    def grant(self, policy: Policy, bucket: str, accounts: Iterable[str]) -> None:
        """Take over a policy for the bucket; containers may run as the accounts (e-mails).

        Grants that were made otherwise stay, as terraform's are of single members.
        """
        others = [each for each in self.project.policy.bindings if each not in self._applied]
        self._applied = policy.bindings
        self.project.policy = policy.plus(*(each for each in others if each not in self._applied))
        self.storage.grants = ObjectGrants(self.project, bucket)
        for email in set(accounts) - set(self.metadata):
            metadata = self._open.enter_context(MetadataServer(email, policy.project))
            self.metadata[email] = metadata
            self.project.set_environment_of(email, metadata.environment)

    def follow(self, kind: str, before: Json | None, after: Json | None) -> None:
        """Take over a change that terraform makes, at once: StubProvider's ``google``.

        RefusedError for what Google would refuse as things are.
        """
        there = [each for each in self._there if (each.type, each.values) != (kind, before)]
        assert len(there) == len(self._there) - (before is not None), f"no such {kind} was made"
        if after is not None:
            check_made(self.project, kind, after)
            there.append(Resource(kind, kind, after))
        self.apply(there)

    def apply(self, resources: list[Resource]) -> None:
        """Take over what terraform has made: policy, bucket, accounts, jobs, and what APIs show."""
        services = [each for each in resources if each.type == "google_project_service"]
        self.project.enable(*(each.values["service"] for each in services))
        bucket = self._take_bucket(
            [each.values["name"] for each in resources if each.type == "google_storage_bucket"]
        )
        emails = [
            each.values["email"] for each in resources if each.type == "google_service_account"
        ]
        self.grant(self._policy_of(resources), bucket, emails)
        self.project.set_services(project_facts.services(resources))
        self.apis.answers = project_facts.answers(self.project.policy.project, resources)
        self._take_jobs(resources)
        self._there = resources

    def _policy_of(self, resources: list[Resource]) -> Policy:
        if resources:
            return policy_of(resources, self.owner)
        project = self.project.policy.project
        return Policy(project, [Binding(self.owner, "roles/owner", f"projects/{project}")])

    def _take_bucket(self, names: list[str]) -> str:
        """Have the bucket, or none; its name, which is "" for none."""
        assert self._gcs is not None
        if names and not self._bucket:
            self._gcs.make_bucket(names[0])
        elif self._bucket and not names:
            if self._gcs.names(self._bucket):
                # The provider's words.
                raise RefusedError(
                    f"Error trying to delete bucket {self._bucket} containing objects without "
                    "`force_destroy` set to true"
                )
            self._gcs.delete_bucket(self._bucket)
        self._bucket = names[0] if names else ""
        return self._bucket

    def _take_jobs(self, resources: list[Resource]) -> None:
        """Make the render jobs that are new, and delete those that are gone."""
        places = {
            each.values["name"]: f"projects/{self.project.policy.project}/locations/"
            f"{each.values['location']}/jobs"
            for each in resources
            if each.type == "google_cloud_run_v2_job"
        }
        for name in set(self._jobs) - set(places):
            self._call_run("DELETE", f"{self._jobs.pop(name)}/{name}")
        for name, body in render_job_bodies(resources).items():
            if name not in self._jobs:
                self._call_run("POST", f"{places[name]}?jobId={name}", body)
                self._jobs[name] = places[name]

    def _call_run(self, verb: str, path: str, body: Json | None = None) -> None:
        answer = requests.request(
            verb,
            f"{self.run.rest_url}/v2/{path}",
            json=body,
            headers={"Authorization": f"Bearer {token_of(self.owner)}"},
            timeout=30,
        )
        if not answer.ok:
            raise RefusedError(answer.json()["error"]["message"])
