"""A proxy for HTTPS through which clients with a fixed address reach the Cloud Run stand-in.

Prefect's cloud-run-v2 worker asks https://run.googleapis.com and takes no other address; but its
HTTP library goes through HTTPS_PROXY and trusts the authority of HTTPLIB2_CA_CERTS. So this answers
for that host with a certificate of its own, and passes what it decrypts on to the stand-in.
"""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "run.googleapis.com"
_CHUNK = 1 << 16


class GoogleApisProxy:
    """A running proxy; its environment leads a process's HTTPS through it."""

    def __init__(self, folder: Path, run_url: str) -> None:
        self._certificate = folder / "certificate.pem"
        self._key = folder / "key.pem"
        _write_certificate(self._certificate, self._key)
        upstream = urlsplit(run_url)
        self.upstream = upstream.hostname, upstream.port
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(self._certificate, self._key)
        self.refused: list[str] = []

    def __enter__(self) -> GoogleApisProxy:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def environment(self) -> dict[str, str]:
        """What makes httplib2 go through here."""
        url = f"http://127.0.0.1:{self._server.server_port}"
        return {
            "HTTPS_PROXY": url,
            "https_proxy": url,
            "HTTPLIB2_CA_CERTS": str(self._certificate),
            "NO_PROXY": "127.0.0.1",
        }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    proxy: GoogleApisProxy


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_CONNECT(self) -> None:
        proxy = self.server.proxy
        self.close_connection = True
        if self.path != f"{HOST}:443":
            proxy.refused.append(self.path)
            self.send_error(403)
            return
        self.send_response(200)
        self.end_headers()
        with (
            proxy.tls.wrap_socket(self.connection, server_side=True) as near,
            socket.create_connection(proxy.upstream) as far,
        ):
            back = threading.Thread(target=_pass_on, args=(far, near), daemon=True)
            back.start()
            _pass_on(near, far)
            back.join()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):  # either side may go away at any time
        while data := source.recv(_CHUNK):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def _write_certificate(certificate: Path, key: Path) -> None:
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(secret, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        secret.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
