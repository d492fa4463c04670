"""Google's metadata server as a container on Google Cloud sees it: project, account, tokens.

Where GCE_METADATA_HOST names it, google.auth finds application default credentials as it would on
Cloud Run. The tokens mean something only to the servers of tests/emulators. Paths and answers are
those of https://cloud.google.com/compute/docs/metadata/overview.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from tests.emulators.http_server import LocalServer, QuietHandler
from tests.emulators.iam.tokens import token_of

PROJECT = "test-project"
ACCOUNT = "renderer@test-project.iam.gserviceaccount.com"

_ROOT = "/computeMetadata/v1"


class _Server(LocalServer):
    answers: dict[str, object]
    unanswered = 0


class _Handler(QuietHandler):
    server: _Server

    def do_GET(self) -> None:
        if self.server.unanswered:
            self.server.unanswered -= 1
            self.close_connection = True
            return
        path = urlsplit(self.path).path
        if path == "/":
            self._answer(200, "")
        elif self.headers.get("Metadata-Flavor") != "Google":
            self._answer(403, "the header Metadata-Flavor is missing")
        elif path in self.server.answers:
            self._answer(200, self.server.answers[path])
        else:
            self._answer(404, "no such metadata")

    def _answer(self, status: int, content: object) -> None:
        self.answer(status, content, Metadata_Flavor="Google")


class MetadataServer:
    """A running server, of containers that run as an account; GCE_METADATA_HOST is its ``host``."""

    def __init__(self, account: str = ACCOUNT, project: str = PROJECT) -> None:
        self._account = account
        self._project = project

    def __enter__(self) -> MetadataServer:
        self._server = _Server(_Handler)
        self._server.answers = _answers(self._account, self._project)
        self.host = f"127.0.0.1:{self._server.server_port}"
        self._server.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.stop()

    def leave_unanswered(self, requests: int) -> None:
        """Hang up on so many of those that come next."""
        self._server.unanswered = requests

    @property
    def environment(self) -> dict[str, str]:
        """What makes google.auth ask here."""
        return {"GCE_METADATA_HOST": self.host, "GCE_METADATA_IP": self.host}


def _answers(account: str, project: str) -> dict[str, object]:
    accounts = f"{_ROOT}/instance/service-accounts"
    token = {
        "access_token": token_of(f"serviceAccount:{account}"),
        "expires_in": 3599,
        "token_type": "Bearer",
    }
    return {
        f"{_ROOT}/project/project-id": project,
        f"{_ROOT}/universe/universe-domain": "googleapis.com",
        f"{accounts}/default/": {
            "aliases": ["default"],
            "email": account,
            "scopes": ["https://www.googleapis.com/auth/cloud-platform"],
        },
        f"{accounts}/default/email": account,
        f"{accounts}/default/token": token,
        f"{accounts}/{account}/token": token,
    }
