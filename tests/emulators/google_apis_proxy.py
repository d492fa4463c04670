"""A proxy for HTTPS through which clients with Google's own addresses reach the stand-ins.

Programs go through HTTPS_PROXY and trust the authority that the environment names. So this answers
for Google's hosts with a certificate of its own, and passes what it decrypts on to the stand-in of
each. Clients are then as they are in production: no variable tells them of an emulator.
"""

from __future__ import annotations

import contextlib
import datetime
import select
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.emulators.http_server import LocalServer, QuietHandler

_DOMAIN = "googleapis.com"
_CHUNK = 1 << 16

Address = tuple[str, int]


class GoogleApisProxy:
    """A running proxy; its environment leads a process's HTTPS through it.

    hosts: such as ``run.googleapis.com``, and who stands in for it. Other hosts are refused.
    """

    def __init__(self, folder: Path, hosts: Mapping[str, Address]) -> None:
        self._certificate = folder / "certificate.pem"
        self._key = folder / "key.pem"
        _write_certificate(self._certificate, self._key)
        self.hosts = dict(hosts)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(self._certificate, self._key)
        self.refused: list[str] = []

    def __enter__(self) -> GoogleApisProxy:
        self._server = _Server(_Handler)
        self._server.proxy = self
        self._server.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.stop()

    @property
    def environment(self) -> dict[str, str]:
        """What makes httplib2 and requests go through here, and trust it."""
        url = f"http://127.0.0.1:{self._server.server_port}"
        certificate = str(self._certificate)
        return {
            "HTTPS_PROXY": url,
            "https_proxy": url,
            "HTTPLIB2_CA_CERTS": certificate,
            "REQUESTS_CA_BUNDLE": certificate,
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }


def address_of(url: str) -> Address:
    """Where a stand-in's ``http://HOST:PORT`` is."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


class _Server(LocalServer):
    proxy: GoogleApisProxy


class _Handler(QuietHandler):
    server: _Server

    def do_CONNECT(self) -> None:
        proxy = self.server.proxy
        self.close_connection = True
        host, _, port = self.path.partition(":")
        if host not in proxy.hosts or port != "443":
            proxy.refused.append(self.path)
            self.send_error(403)
            return
        self.send_response(200)
        self.end_headers()
        with (
            proxy.tls.wrap_socket(self.connection, server_side=True) as near,
            socket.create_connection(proxy.hosts[host]) as far,
        ):
            for side in (near, far):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _pass_on(near, far)


def _pass_on(near: ssl.SSLSocket, far: socket.socket) -> None:
    """Both ways, until either side ends. By one thread: a TLS connection takes no two at a time."""
    with contextlib.suppress(OSError):  # either side may go away at any time
        while True:
            ready = [near] if near.pending() else select.select([near, far], [], [])[0]
            for source, target in ((near, far), (far, near)):
                if source in ready:
                    # To a proxy urllib3 sends the second half of a request when the first one is
                    # acknowledged, which takes 40 ms if it is not asked for, each time anew.
                    source.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
                    data = source.recv(_CHUNK)
                    if not data:
                        return
                    target.sendall(data)


def _write_certificate(certificate: Path, key: Path) -> None:
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _DOMAIN)])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(f"*.{_DOMAIN}")]), critical=False)
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
