"""Google's metadata server as a container on Google Cloud sees it: project, account, tokens.

Where GCE_METADATA_HOST names it, google.auth finds application default credentials as it would on
Cloud Run. The tokens mean something only to the servers of tests/emulators. Paths and answers are
those of https://cloud.google.com/compute/docs/metadata/overview.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.emulators.iam.tokens import token_of

PROJECT = "test-project"
ACCOUNT = "renderer@test-project.iam.gserviceaccount.com"

_ROOT = "/computeMetadata/v1"


class _Server(ThreadingHTTPServer):
    answers: dict[str, object]


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
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
        is_text = isinstance(content, str)
        body = (content if is_text else json.dumps(content)).encode()
        self.send_response(status)
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("Content-Type", "text/plain" if is_text else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


class MetadataServer:
    """A running server, of containers that run as an account; GCE_METADATA_HOST is its ``host``."""

    def __init__(self, account: str = ACCOUNT, project: str = PROJECT) -> None:
        self._account = account
        self._project = project

    def __enter__(self) -> MetadataServer:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.answers = _answers(self._account, self._project)
        self.host = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

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
