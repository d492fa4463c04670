"""TokenServer: oauth2.googleapis.com and iamcredentials.googleapis.com, which give access tokens.

For a person's refresh token, for what a service account's key has signed, and for who may act as
an account by the project's policy. https://developers.google.com/identity/protocols/oauth2 and
https://cloud.google.com/iam/docs/reference/credentials/rest.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import google.auth.jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.emulators.http_server import LocalServer, QuietHandler
from tests.emulators.iam.policy import service_account_name
from tests.emulators.iam.project import GoogleProject
from tests.emulators.iam.tokens import member_of, token_of

Json = dict[str, Any]

HOSTS = ("oauth2.googleapis.com", "iamcredentials.googleapis.com")
_ACT_AS = re.compile(r"/v1/projects/-/serviceAccounts/([^:/]+):generateAccessToken")
_BY_JWT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LIFETIME = timedelta(hours=1)


class TokenServer:
    """A running server for one project; ``address`` is where the hosts' requests are to go."""

    def __init__(self, project: GoogleProject) -> None:
        self.project = project

    def __enter__(self) -> TokenServer:
        self._http = _Server(_Handler)
        self._http.project = self.project
        self.address = self._http.address
        self._http.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._http.stop()


def refresh_token_of(member: str) -> str:
    """What a person's login is kept as: ``gcloud auth … login`` stores it."""
    return f"1//{token_of(member)}"


def impersonation(user: str, email: str) -> Json:
    """What ``gcloud auth application-default login --impersonate-service-account`` writes."""
    return {
        "delegates": [],
        "service_account_impersonation_url": (
            f"https://{HOSTS[1]}/v1/projects/-/serviceAccounts/{email}:generateAccessToken"
        ),
        "source_credentials": {
            "account": "",
            "client_id": "gcloud",
            "client_secret": "gcloud's",
            "refresh_token": refresh_token_of(user),
            "type": "authorized_user",
            "universe_domain": "googleapis.com",
        },
        "type": "impersonated_service_account",
        "universe_domain": "googleapis.com",
    }


def make_key(project: GoogleProject, email: str) -> Json:
    """A service account's key, as the file that is downloaded once; the project keeps its half."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    project.add_secret(f"key of {email}", public.decode())
    return {
        "type": "service_account",
        "project_id": project.policy.project,
        "private_key_id": "1",
        "private_key": private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode(),
        "client_email": email,
        "client_id": "1",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": f"https://{HOSTS[0]}/token",
        "universe_domain": "googleapis.com",
    }


class _Server(LocalServer):
    project: GoogleProject


class _Handler(QuietHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        act_as = _ACT_AS.fullmatch(self.path)
        if act_as:
            self.answer(*self._token_of_account(act_as[1]))
        elif self.path == "/token":
            form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            self.answer(*self._token(form))
        else:
            self.answer(404, {"error": {"code": 404, "message": f"no {self.path}"}})

    def _token(self, form: dict[str, str]) -> tuple[int, Json]:
        member = None
        if form.get("grant_type") == "refresh_token":
            member = member_of(form["refresh_token"].removeprefix("1//"))
        elif form.get("grant_type") == _BY_JWT:
            member = self._signer(form["assertion"])
        if member is None:
            return 400, {"error": "invalid_grant", "error_description": "Bad Request"}
        lifetime = int(_LIFETIME.total_seconds())
        return 200, {
            "access_token": token_of(member),
            "expires_in": lifetime,
            "token_type": "Bearer",
        }

    def _signer(self, assertion: str) -> str | None:
        unchecked = google.auth.jwt.decode(assertion, verify=False)
        public = self.server.project.secret(f"key of {unchecked['iss']}")
        if public is None:
            return None
        try:
            google.auth.jwt.decode(assertion, certs=public)
        except ValueError:
            return None
        return f"serviceAccount:{unchecked['iss']}"

    def _token_of_account(self, email: str) -> tuple[int, Json]:
        member = member_of(self.headers.get("Authorization", "").removeprefix("Bearer "))
        if member is None:
            message = "Request had invalid authentication credentials."
            error = {"code": 401, "message": message, "status": "UNAUTHENTICATED"}
            return 401, {"error": error}
        project, permission = self.server.project, "iam.serviceAccounts.getAccessToken"
        name = service_account_name(project.policy.project, email)
        if not project.allows(member, permission, name):
            message = f"Permission '{permission}' denied on resource (or it may not exist)."
            error = {"code": 403, "message": message, "status": "PERMISSION_DENIED"}
            return 403, {"error": error}
        expires = datetime.now(UTC) + _LIFETIME
        return 200, {
            "accessToken": token_of(f"serviceAccount:{email}"),
            "expireTime": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
