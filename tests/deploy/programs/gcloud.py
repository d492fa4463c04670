"""gcloud on a GoogleProject: refuses what gcloud does not take, and what the login may not do.

``GOOGLE_PROJECT_FOLDER`` names the project's folder; logins are kept in CLOUDSDK_CONFIG, else in
``~/.config/gcloud``. Who logs in is ``GOOGLE_STAND_IN_USER``, as there is no browser. Google's
libraries ask it often for a property, so what takes long to import is imported where it is needed.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from tests.deploy.programs.gcloud_commands import Typed, UsageError, understood
from tests.deploy.programs.refusals import RefusedError, need
from tests.emulators.iam.policy import Binding, service_account_name
from tests.emulators.iam.project import GoogleProject
from tests.emulators.iam.tokens import email_of, token_of

_LOGIN, _PROPERTIES = "login", "properties.json"
_ADC = "application_default_credentials.json"


class Gcloud:
    """gcloud of one person's machine."""

    def __init__(self) -> None:
        self._project = GoogleProject(Path(os.environ["GOOGLE_PROJECT_FOLDER"]))
        default = Path.home() / ".config" / "gcloud"
        self._config = Path(os.environ.get("CLOUDSDK_CONFIG", default))

    def run(self, typed: Typed) -> None:
        """Do what was typed; RefusedError."""
        handlers = {
            "auth login": self._auth_login,
            "auth print-access-token": self._print_access_token,
            "auth application-default login": self._application_default_login,
            "auth application-default revoke": self._application_default_revoke,
            "builds submit": self._builds_submit,
            "config get": self._config_get,
            "config set": self._config_set,
            "iam service-accounts add-iam-policy-binding": self._bind_account,
            "iam service-accounts keys create": self._create_key,
            "run services proxy": self._services_proxy,
            "secrets add-iam-policy-binding": self._bind_secret,
            "secrets create": self._create_secret,
            "secrets delete": self._delete_secret,
            "secrets versions access": self._access_secret,
            "services enable": self._enable,
            "storage cp": self._copy,
            "storage mv": self._move,
            "storage rm": self._remove,
        }
        handlers[typed.command](typed)

    def _auth_login(self, typed: Typed) -> None:
        self._write(_LOGIN, os.environ["GOOGLE_STAND_IN_USER"])
        print(f"You are now logged in as [{email_of(self._member)}].", file=sys.stderr)

    def _print_access_token(self, typed: Typed) -> None:
        print(token_of(self._member))

    def _application_default_login(self, typed: Typed) -> None:
        from tests.emulators.iam import token_server

        user = os.environ["GOOGLE_STAND_IN_USER"]  # a browser's, whoever gcloud is logged in as
        account = typed.flags.get("--impersonate-service-account")
        if account is None:
            raise RefusedError("the stand-in logs in as a service account only")
        self._write(_ADC, json.dumps(token_server.impersonation(user, account)))

    def _application_default_revoke(self, typed: Typed) -> None:
        _confirmed(typed)
        file = self._config / _ADC
        if not file.is_file():
            raise RefusedError("Application Default Credentials have not been set up.")
        file.unlink()

    def _builds_submit(self, typed: Typed) -> None:
        from tests.deploy.programs.builds import Builds

        Builds(self._project, self._member).submit(typed)

    def _config_get(self, typed: Typed) -> None:
        found = self._properties().get(typed.arguments[0])
        print(found if found else "(unset)", file=sys.stdout if found else sys.stderr)

    def _config_set(self, typed: Typed) -> None:
        name, value = typed.arguments
        self._write(_PROPERTIES, json.dumps({**self._properties(), name: value}))

    def _bind_account(self, typed: Typed) -> None:
        resource = service_account_name(self._project.policy.project, typed.arguments[0])
        self._need("iam.serviceAccounts.setIamPolicy", resource)
        self._bind(typed, resource)

    def _bind_secret(self, typed: Typed) -> None:
        resource = f"{self._project_name}/secrets/{typed.arguments[0]}"
        self._need("secretmanager.secrets.setIamPolicy", resource)
        if self._project.secret(typed.arguments[0]) is None:
            raise RefusedError(f"NOT_FOUND: Secret [{resource}] not found.")
        self._bind(typed, resource)

    def _bind(self, typed: Typed, resource: str) -> None:
        binding = Binding(typed.flags["--member"], typed.flags["--role"], resource)
        if not self._project.policy.permissions(binding.role):
            raise RefusedError(f"INVALID_ARGUMENT: Role {binding.role} is not supported")
        self._project.policy = self._project.policy.plus(binding)

    def _create_key(self, typed: Typed) -> None:
        from tests.emulators.iam import token_server

        email = typed.flags["--iam-account"]
        name = service_account_name(self._project.policy.project, email)
        self._need("iam.serviceAccountKeys.create", name)
        key = token_server.make_key(self._project, email)
        Path(typed.arguments[0]).write_text(json.dumps(key))

    def _create_secret(self, typed: Typed) -> None:
        (name,) = typed.arguments
        self._need("secretmanager.secrets.create", self._project_name)
        if not self._project.is_enabled("secretmanager.googleapis.com"):
            raise RefusedError(
                "PERMISSION_DENIED: Secret Manager API has not been used in project "
                f"{self._project.policy.project} before or it is disabled."
            )
        if self._project.secret(name) is not None:
            raise RefusedError(f"ALREADY_EXISTS: Secret [{name}] already exists.")
        source = typed.flags.get("--data-file")
        if source is None:
            raise RefusedError("the stand-in makes no secret without a version")
        text = sys.stdin.read() if source == "-" else Path(source).read_text()
        if not text:
            raise RefusedError("INVALID_ARGUMENT: the secret's payload is empty")
        self._project.add_secret(name, text)

    def _delete_secret(self, typed: Typed) -> None:
        (name,) = typed.arguments
        self._need("secretmanager.secrets.delete", f"{self._project_name}/secrets/{name}")
        _confirmed(typed)
        self._project.delete_secret(name)

    def _access_secret(self, typed: Typed) -> None:
        name = typed.flags["--secret"]
        self._need("secretmanager.versions.access", f"{self._project_name}/secrets/{name}")
        value = self._project.secret(name)
        if value is None:
            raise RefusedError(f"NOT_FOUND: Secret [{name}] not found or has no versions.")
        sys.stdout.write(value)

    def _enable(self, typed: Typed) -> None:
        self._need("serviceusage.services.enable", self._project_name)
        self._project.enable(*typed.arguments)

    def _copy(self, typed: Typed) -> None:
        *sources, target = typed.arguments
        bucket, _, prefix = target.removeprefix("gs://").partition("/")
        into_folder = not prefix or prefix.endswith("/")
        if len(sources) > 1 and not into_folder:
            raise RefusedError("Destination URL must name an existing directory or bucket.")
        for source in map(Path, sources):
            if source.is_dir() and "--recursive" not in typed.flags:
                raise RefusedError(f"{source} is a directory; use --recursive to copy it.")
            for file in [each for each in source.rglob("*") if each.is_file()] or [source]:
                below = str(file.relative_to(source.parent))
                self._bucket(bucket).blob(
                    prefix + below if into_folder else prefix
                ).upload_from_filename(str(file))

    def _move(self, typed: Typed) -> None:
        source, target = (each.removeprefix("gs://") for each in typed.arguments)
        bucket, _, name = source.partition("/")
        new_bucket, _, new_name = target.partition("/")
        old = self._bucket(bucket)
        blob = old.blob(name)
        old.copy_blob(blob, self._bucket(new_bucket), new_name)
        blob.delete()

    def _remove(self, typed: Typed) -> None:
        for target in typed.arguments:
            bucket, _, name = target.removeprefix("gs://").partition("/")
            if name != "**":
                raise RefusedError("the stand-in removes all objects of a bucket, or none")
            found = list(self._bucket(bucket).list_blobs())
            if not found:
                raise RefusedError(f"The following URLs matched no objects or files:\n{target}")
            for blob in found:
                blob.delete()

    def _services_proxy(self, typed: Typed) -> None:
        (name,) = typed.arguments
        resource = f"{self._project_name}/locations/{typed.flags['--region']}/services/{name}"
        self._need("run.services.get", resource)
        upstream = json.loads((self._project.folder / "services.json").read_text()).get(name)
        if upstream is None:
            raise RefusedError(f"Cannot find service [{name}]")
        # As https://github.com/GoogleCloudPlatform/cloud-run-proxy: all is handed on, also
        # WebSockets, with Google's token in place of whatever login was there.
        address = f"http://localhost:{typed.flags.get('--port', '8080')}"
        token = ["--header-up", "Authorization: Bearer identity"]
        command = ["caddy", "reverse-proxy", "--from", address, "--to", upstream, *token]
        if not self._project.policy.allows(self._member, "run.routes.invoke", resource):
            refusal = "Your client does not have permission to get URL"
            command = ["caddy", "respond", "--listen", address, "--status", "403", refusal]
        print(f"Proxying to Cloud Run service [{name}]", file=sys.stderr, flush=True)
        os.execvp(command[0], command)  # noqa: S606 - which is in the way

    @property
    def _member(self) -> str:
        file = self._config / _LOGIN
        if not file.is_file():
            raise RefusedError(
                "You do not currently have an active account selected. Please run:\n\n"
                "  $ gcloud auth login"
            )
        return file.read_text()

    @property
    def _project_name(self) -> str:
        project = self._project.policy.project
        if self._properties().get("project") != project:
            raise RefusedError(f"The project property is not {project}: gcloud config set project")
        return f"projects/{project}"

    def _need(self, permission: str, resource: str) -> None:
        need(self._project, self._member, permission, resource)

    def _bucket(self, name: str):
        from google.cloud.storage import Client
        from google.oauth2.credentials import Credentials

        client = Client(project=None, credentials=Credentials(token_of(self._member)))
        return client.bucket(name)

    def _properties(self) -> dict[str, str]:
        file = self._config / _PROPERTIES
        return json.loads(file.read_text()) if file.is_file() else {}

    def _write(self, name: str, text: str) -> None:
        self._config.mkdir(parents=True, exist_ok=True)
        (self._config / name).write_text(text)


def _confirmed(typed: Typed) -> None:
    """What gcloud asks a person about, it refuses where nobody can answer."""
    if "--quiet" not in typed.flags:
        raise RefusedError("who is asked whether to go on is a person: --quiet")


def main() -> None:
    """Run gcloud's arguments of this process."""
    try:
        Gcloud().run(understood(sys.argv[1:]))
    except (RefusedError, UsageError) as error:
        sys.exit(f"ERROR: (gcloud) {error}")


if __name__ == "__main__":
    main()
