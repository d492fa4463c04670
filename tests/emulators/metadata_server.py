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

PROJECT = "test-project"
ACCOUNT = "renderer@test-project.iam.gserviceaccount.com"
TOKEN = "token-of-renderer"  # noqa: S105 - it opens nothing

_ROOT = "/computeMetadata/v1"
_SERVICE_ACCOUNT = {"aliases": ["default"], "email": ACCOUNT, "scopes": ["cloud-platform"]}
_ANSWERS: dict[str, object] = {
    f"{_ROOT}/project/project-id": PROJECT,
    f"{_ROOT}/universe/universe-domain": "googleapis.com",
    f"{_ROOT}/instance/service-accounts/default/": _SERVICE_ACCOUNT,
    f"{_ROOT}/instance/service-accounts/default/email": ACCOUNT,
    f"{_ROOT}/instance/service-accounts/default/token": {
        "access_token": TOKEN,
        "expires_in": 3599,
        "token_type": "Bearer",
    },
    f"{_ROOT}/instance/service-accounts/{ACCOUNT}/token": {
        "access_token": TOKEN,
        "expires_in": 3599,
        "token_type": "Bearer",
    },
}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/":
            self._answer(200, "")
        elif self.headers.get("Metadata-Flavor") != "Google":
            self._answer(403, "the header Metadata-Flavor is missing")
        elif path in _ANSWERS:
            self._answer(200, _ANSWERS[path])
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
    """A running server; GCE_METADATA_HOST is its ``host``."""

    def __enter__(self) -> MetadataServer:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
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
