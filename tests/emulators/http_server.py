"""What the stand-ins that are HTTP servers have in common: a thread, and answers in JSON."""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class LocalServer(ThreadingHTTPServer):
    """A server on a free port of this machine, from whose making on requests wait for it."""

    daemon_threads = True
    # Of connections that wait to be taken, as of a wave's containers that all begin at once: beyond
    # these the kernel drops them, and who connects tries again after 1, 3, 7 s.
    request_queue_size = 512

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return "127.0.0.1", self.server_port

    def start(self) -> None:
        """Serve, by a thread."""
        self._thread.start()

    def stop(self) -> None:
        """End it, and wait for that."""
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that has gone."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class QuietHandler(BaseHTTPRequestHandler):
    """A handler of a LocalServer's requests that logs none."""

    def answer(self, status: int, content: object, **headers: str) -> None:
        """Answer with what becomes JSON, but a text, which is one."""
        is_text = isinstance(content, str)
        body = (content if is_text else json.dumps(content)).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", "text/plain" if is_text else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""
