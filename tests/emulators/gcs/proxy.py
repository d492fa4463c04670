"""GcsProxy: stands before the GCS server, checks what that leaves out, and injects faults.

fake-gcs-server ignores preconditions outside of simple uploads, wrong checksums, and who asks; it
answers 500 where parts to compose are missing. This
answers such requests as Google Cloud Storage does, passes all others on, and counts them.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import itertools
import json
import random
import re
import socket
import struct
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.parser import BytesParser
from typing import Any, Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit

import google_crc32c

from tests.emulators.http_server import LocalServer, QuietHandler
from tests.emulators.iam.policy import Grant
from tests.emulators.iam.tokens import email_of, member_of

Fault = Literal["503", "429", "reset", "reset after", "slow", "cut"]

_OBJECT = re.compile(r"/(?:upload/|download/)?storage/v1/b/([^/]+)/o(?:/([^/]+))?(/.*)?")
_BUCKET = re.compile(r"/storage/v1/b/([^/]+)")
_POLICY = re.compile(r"/storage/v1/b/([^/]+)/iam")
_TIME = re.compile(rb'("(?:timeCreated|updated|timeStorageClassUpdated)": ?")([^"]+)')
# The server's own address, or that of the Host it was asked for; Google's have TLS.
_LINK = re.compile(rb"http://[a-z0-9.]+(?::\d+)?(?=/(?:upload/|download/)?storage/v1/)")
_PRECONDITION = "At least one of the pre-conditions you specified did not hold."
_PLACE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


@dataclass
class Faults:
    """How often what goes wrong: probabilities by kind, from a seed, at most ``most`` times.

    503 and 429 are answers; "reset" closes the connection before the request is passed on, "reset
    after" after it was done; "slow" waits slow_seconds; "cut" closes in the middle of an upload.
    """

    probabilities: Mapping[Fault, float] = field(default_factory=dict)
    most: int = 10**9
    slow_seconds: float = 0.3
    seed: int = 1


class GcsProxy:
    """A running proxy; STORAGE_EMULATOR_HOST is its ``url``.

    It is there before its server, which has to know its address: uploads are told to go on there.
    """

    def __init__(self) -> None:
        self._http = _Server(_Handler)
        self._http.proxy = self
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self.upstream = ""
        # Where clients find it, if that is elsewhere: links in answers lead there.
        self.public_url = ""
        self.calls: Counter[str] = Counter()
        # The same by what is asked for: "insert jobs/results", say.
        self.asked: Counter[str] = Counter()
        # Both by the caller's address, "" for who shows no token.
        self.calls_by: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.asked_by: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.injected: Counter[Fault] = Counter()
        # Grants by bearer token; None asks nobody.
        self.grants: Mapping[str, list[Grant]] | None = None
        # A bucket's IAM policy in a version, as it is shown to who may see it; None shows none.
        self.bucket_policy: Callable[[str, int], dict[str, Any]] | None = None
        # What is said to who may not delete, and creates (ifGenerationMatch=0) what there is
        # already: Google documents neither answer as the first, so each comes in its turn.
        self.lost_create: Iterator[int] = itertools.cycle((403, 412))
        # Asked of each call that is granted, by its kind and its object, before it is passed on; it
        # may wait. False: the connection is reset instead.
        self.admit: Callable[[str, str], bool] = lambda _kind, _name: True
        # How many seconds the server's clock is ahead of everybody else's.
        self.clock_skew = 0.0
        self.uploads: dict[str, _Upload] = {}
        self._lock = threading.Lock()
        self.set_faults(Faults())

    def __enter__(self) -> GcsProxy:
        self._http.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._http.stop()

    def set_faults(self, faults: Faults) -> None:
        """Inject these from now on."""
        self.faults = faults
        self._random = random.Random(faults.seed)  # noqa: S311 - no secret

    @contextlib.contextmanager
    def injecting(self, most: int = 10**9, **probabilities: float) -> Iterator[Counter[Fault]]:
        """Faults while the block runs; the counter tells what was injected."""
        self.injected.clear()
        self.set_faults(Faults({_KINDS[name]: p for name, p in probabilities.items()}, most))
        try:
            yield self.injected
        finally:
            self.set_faults(Faults())

    def draw_fault(self, is_upload: bool) -> Fault | None:
        """The fault of the next request."""
        with self._lock:
            if sum(self.injected.values()) >= self.faults.most:
                return None
            for kind, probability in self.faults.probabilities.items():
                if (kind != "cut" or is_upload) and self._random.random() < probability:
                    self.injected[kind] += 1
                    return kind
        return None


_KINDS: dict[str, Fault] = {
    "unavailable": "503",
    "too_many": "429",
    "reset": "reset",
    "reset_after": "reset after",
    "slow": "slow",
    "cut": "cut",
}


@dataclass
class _Upload:
    """A resumable upload: what its object should be, and the checksum of what came so far."""

    name: str
    crc32c: str
    checksum: Any = field(default_factory=google_crc32c.Checksum)
    received: int = 0


class _Server(LocalServer):
    proxy: GcsProxy


class _RefusalError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class _Access:
    """What a caller may do with one object, or with what has its name as a prefix."""

    caller: str
    grants: list[Grant]
    name: str

    def do(self, permission: str) -> bool:
        return any(
            grant.permission == permission and self.name.startswith(grant.prefix)
            for grant in self.grants
        )

    def require(self, permission: str) -> None:
        if not self.do(permission):
            raise self.refusal(permission)

    def refusal(self, permission: str) -> _RefusalError:
        """In Google's words, which name the account and no object."""
        # Listing is asked of the bucket: https://cloud.google.com/storage/docs/access-control/iam-json.
        of_bucket = permission == "objects.list" or permission.startswith("buckets.")
        return _RefusalError(
            403,
            f"{self.caller} does not have storage.{permission} access to the Google Cloud Storage "
            f"{'bucket' if of_bucket else 'object'}. Permission 'storage.{permission}' denied on "
            "resource (or it may not exist).",
        )


class _Handler(QuietHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and content are written one after the other
    server: _Server

    def do_GET(self) -> None:
        self._handle()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_GET

    def _handle(self) -> None:
        proxy = self.server.proxy
        self._url = urlsplit(self.path)
        self._query = {name: values[0] for name, values in parse_qs(self._url.query).items()}
        match = _OBJECT.fullmatch(self._url.path)
        of_bucket = _BUCKET.fullmatch(self._url.path) or _POLICY.fullmatch(self._url.path)
        self._bucket = unquote((match or of_bucket)[1]) if match or of_bucket else ""
        self._name = unquote(match[2] or "") if match else ""
        self._rest = (match[3] or "") if match else ""
        is_upload = self._url.path.startswith("/upload/")
        fault = proxy.draw_fault(is_upload and self.command in ("POST", "PUT"))
        if fault == "cut":
            self.rfile.read(int(self.headers.get("Content-Length", "0")) // 2)
            self._reset()
            return
        body = self._read_body()
        if len(body) < int(self.headers.get("Content-Length", "0")):
            # Whoever sent it was killed; half an upload makes no object.
            self._reset()
            return
        if fault == "reset":
            self._reset()
            return
        if fault in ("503", "429"):
            self._refuse(int(fault), "injected", {"Retry-After": "1"} if fault == "429" else {})
            return
        if fault == "slow":
            time.sleep(proxy.faults.slow_seconds)
        try:
            answer = self._answer_to(body, is_upload)
        except _RefusalError as refusal:
            self._refuse(refusal.status, str(refusal), {})
            return
        if answer is None or fault == "reset after":
            self._reset()
            return
        self._answer(*answer)

    def _answer_to(self, body: bytes, is_upload: bool) -> tuple[int, dict[str, str], bytes] | None:
        """What the call is answered, once it is done; None for one that is not admitted."""
        proxy = self.server.proxy
        self._metadata = self._told_metadata(body) if is_upload else {}
        kind = self._kind(is_upload)
        self._count(kind, self._kind_of_object(is_upload))
        self._check_grants(is_upload)
        if not proxy.admit(kind, self._upload_name() if is_upload else self._name):
            return None
        if _OBJECT.fullmatch(self._url.path):
            self._check_preconditions(is_upload)
            self._check_parts(body)
        if is_upload:
            self._check_simple_upload(body)
        own = self._part_again(body) if is_upload else self._shown_policy()
        if own is not None:
            return own
        status, headers, content = self._forward(body)
        if is_upload:
            self._watch_resumable(body, status, headers)
        return status, headers, content

    @property
    def _token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def _count(self, kind: str, of_what: str) -> None:
        proxy, caller = self.server.proxy, email_of(member_of(self._token) or "")
        for calls in (proxy.calls, proxy.calls_by[caller]):
            calls[kind] += 1
        for asked in (proxy.asked, proxy.asked_by[caller]):
            asked[f"{kind} {of_what}"] += 1

    def _check_grants(self, is_upload: bool) -> None:
        grants = self.server.proxy.grants
        if grants is None or not self._bucket:
            return
        token = self._token
        if token not in grants:
            raise _RefusalError(401, "Invalid Credentials")
        name, permission = self._name, self._permission(is_upload)
        if is_upload:
            name = self._upload_name()
        elif permission == "objects.list":
            name = self._query.get("prefix", "")
        caller = email_of(member_of(token) or "") or "the caller"
        may = _Access(caller, grants[token], name)
        target = may
        if self._copies:
            # What is copied is read, and what becomes of it created.
            self._check_reading(may)
            target = _Access(caller, grants[token], unquote(self._rest.rpartition("/o/")[2]))
        target.require(permission)
        if permission == "objects.get":
            self._check_reading(may)
        begins = permission == "objects.create" and "upload_id" not in self._query
        if begins and not target.do("objects.delete"):
            self._check_creation(target)

    def _check_reading(self, may: _Access) -> None:
        """Refuse who may not read it; who may not list is not told that there is no such object.

        https://cloud.google.com/storage/docs/access-control/iam-permissions, "objects.get".
        """
        may.require("objects.get")
        if not may.do("objects.list") and not self._generation(may.name):
            raise may.refusal("objects.list")

    def _check_parts(self, body: bytes) -> None:
        """Refuse to compose an object of what is not there, or may not be read.

        https://cloud.google.com/storage/docs/json_api/v1/objects/compose.
        """
        grants, token = self.server.proxy.grants, self._token
        for part in json.loads(body)["sourceObjects"] if self._composes else ():
            name = str(part["name"])
            if grants is not None:
                caller = email_of(member_of(token) or "") or "the caller"
                self._check_reading(_Access(caller, grants[token], name))
            if not self._generation(name):
                raise _RefusalError(404, f"No such object: {self._bucket}/{name}")

    def _check_creation(self, may: _Access) -> None:
        """Refuse who may not delete what would replace an object, which is to delete it as well."""
        is_creation = self._query.get("ifGenerationMatch") == "0"
        refusal = 403
        if self._generation(may.name):
            refusal = next(self.server.proxy.lost_create) if is_creation else 403
        elif is_creation or self._query.get("uploadType") != "resumable":
            # A resumable upload without the condition is reported to need the right in any case:
            # https://github.com/googleapis/google-cloud-node/issues/2611.
            return
        if refusal == 412:
            raise _RefusalError(412, _PRECONDITION)
        raise may.refusal("objects.delete")

    def _told_metadata(self, body: bytes) -> dict[str, Any]:
        """What an upload says of its object; nothing where that was said before."""
        kind = self._query.get("uploadType")
        if kind == "multipart":
            return _parts(self.headers["Content-Type"], body)[0]
        if kind == "resumable" and "upload_id" not in self._query and body:
            found: dict[str, Any] = json.loads(body)
            return found
        return {}

    def _upload_name(self) -> str:
        upload = self.server.proxy.uploads.get(self._query.get("upload_id", ""))
        told = self._query.get("name") or self._metadata.get("name", "")
        return upload.name if upload else str(told)

    @property
    def _copies(self) -> bool:
        return "/rewriteTo/" in self._rest or "/copyTo/" in self._rest

    @property
    def _composes(self) -> bool:
        return self._rest == "/compose"

    def _permission(self, is_upload: bool) -> str:
        if _BUCKET.fullmatch(self._url.path):
            verbs = {"GET": "get", "PATCH": "update", "PUT": "update", "DELETE": "delete"}
            return f"buckets.{verbs.get(self.command, 'get')}"
        if _POLICY.fullmatch(self._url.path):
            return f"buckets.{'getIamPolicy' if self.command == 'GET' else 'setIamPolicy'}"
        if is_upload or self._copies or self._composes:
            return "objects.create"
        if self.command == "DELETE":
            return "objects.delete"
        if self.command == "PATCH":
            return "objects.update"
        return "objects.get" if self._name else "objects.list"

    def _check_preconditions(self, is_upload: bool) -> None:
        wanted = self._query.get("ifGenerationMatch")
        name = self._upload_name() if is_upload else self._name
        if wanted is None or not name or "upload_id" in self._query:
            return
        if is_upload and self._query.get("uploadType") != "resumable":
            return  # the server checks simple uploads itself
        if self._generation(name) != int(wanted):
            raise _RefusalError(412, _PRECONDITION)

    def _generation(self, name: str) -> int:
        path = f"/storage/v1/b/{quote(self._bucket)}/o/{quote(name, safe='')}"
        status, _, content = self._ask("GET", path, b"", {})
        return int(json.loads(content)["generation"]) if status == 200 else 0

    def _check_simple_upload(self, body: bytes) -> None:
        kind = self._query.get("uploadType")
        if kind == "multipart":
            metadata, content = _parts(self.headers["Content-Type"], body)
            self._check_checksum(metadata.get("crc32c", ""), content)
        elif kind == "media":
            self._check_checksum("", body)

    def _check_checksum(self, told: str, content: bytes) -> None:
        found = base64.b64encode(google_crc32c.Checksum(content).digest()).decode()
        header = re.search(r"crc32c=([^,]+)", self.headers.get("X-Goog-Hash", ""))
        for each in (told, header[1] if header else ""):
            if each and each != found:
                raise _RefusalError(
                    400, f"Provided CRC32C {each} doesn't match calculated {found}."
                )

    def _part_again(self, body: bytes) -> tuple[int, dict[str, str], bytes] | None:
        """The answer to a part that has come before, its answer being lost; else None.

        The server would append it a second time.
        """
        upload = self.server.proxy.uploads.get(self._query.get("upload_id", ""))
        place = _PLACE.fullmatch(self.headers.get("Content-Range", ""))
        if upload is None or place is None or upload.received < int(place[2]) + 1:
            return None
        if place[3] != "*" and upload.received >= int(place[3]):
            path = f"/storage/v1/b/{quote(self._bucket)}/o/{quote(upload.name, safe='')}"
            return self._ask("GET", path, b"", {})
        return 308, {"Range": f"bytes=0-{upload.received - 1}"}, b""

    def _shown_policy(self) -> tuple[int, dict[str, str], bytes] | None:
        """The answer to who asks for the bucket's IAM policy, of which the server knows nothing."""
        show = self.server.proxy.bucket_policy
        if show is None or self.command != "GET" or not _POLICY.fullmatch(self._url.path):
            return None
        version = int(self._query.get("optionsRequestedPolicyVersion", "1"))
        shown = json.dumps(show(self._bucket, version)).encode()
        return 200, {"Content-Type": "application/json"}, shown

    def _watch_resumable(self, body: bytes, status: int, headers: dict[str, str]) -> None:
        uploads = self.server.proxy.uploads
        if self._query.get("uploadType") != "resumable":
            return
        if "upload_id" not in self._query:
            location = next((v for k, v in headers.items() if k.lower() == "location"), "")
            upload_id = parse_qs(urlsplit(location).query).get("upload_id", [""])[0]
            uploads[upload_id] = _Upload(self._upload_name(), self._metadata.get("crc32c", ""))
            return
        upload = uploads.get(self._query["upload_id"])
        place = _PLACE.fullmatch(self.headers.get("Content-Range", ""))
        if upload is None or place is None:
            return
        upload.checksum.update(body)
        upload.received += len(body)
        if status in (200, 201):
            found = base64.b64encode(upload.checksum.digest()).decode()
            if upload.crc32c and upload.crc32c != found:
                path = f"/storage/v1/b/{quote(self._bucket)}/o/{quote(upload.name, safe='')}"
                self._ask("DELETE", path, b"", {})
                raise _RefusalError(
                    400, f"Provided CRC32C {upload.crc32c} doesn't match calculated {found}."
                )

    def _kind(self, is_upload: bool) -> str:
        if not _OBJECT.fullmatch(self._url.path):
            return "other"
        if is_upload:
            return "insert" if "upload_id" not in self._query else "insert part"
        if self._copies or self._composes:
            return "copy" if self._copies else "compose"
        if self.command == "GET":
            if not self._name:
                return "list"
            is_media = self._query.get("alt") == "media" or "/download/" in self._url.path
            return "read" if is_media else "stat"
        return self.command.lower()

    def _kind_of_object(self, is_upload: bool) -> str:
        """The folder that an object, or what is listed, lies in; of a job's the part below it."""
        name = self._upload_name() if is_upload else self._name or self._query.get("prefix", "")
        first, *further = name.split("/")
        if first != "jobs":
            return first
        parts = further[1:2] if len(further) < 4 else [further[1], *further[3:-1]]
        return "/".join([first, *parts])

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        # The Host stays: by it the server says where an upload goes on.
        skipped = ("connection", "transfer-encoding", "content-length")
        headers = {k: v for k, v in self.headers.items() if k.lower() not in skipped}
        return self._ask(self.command, self.path, body, headers)

    def _ask(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        upstream = urlsplit(self.server.proxy.upstream)
        connection = http.client.HTTPConnection(upstream.hostname, upstream.port, timeout=120)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        if self.server.proxy.clock_skew and "json" in headers.get("Content-Type", ""):
            content = _TIME.sub(self._skewed, content)
        public_url = self.server.proxy.public_url
        if public_url:
            if "json" in headers.get("Content-Type", ""):
                content = _LINK.sub(public_url.encode(), content)
            headers = {
                name: _LINK.sub(public_url.encode(), value.encode()).decode()
                for name, value in headers.items()
            }
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("connection", "transfer-encoding", "content-length", "date"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _skewed(self, time_of: re.Match[bytes]) -> bytes:
        moment = datetime.fromisoformat(time_of[2].decode())
        later = moment + timedelta(seconds=self.server.proxy.clock_skew)
        return time_of[1] + later.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()

    def _refuse(self, status: int, message: str, headers: dict[str, str]) -> None:
        body = json.dumps({"error": {"code": status, "message": message}}).encode()
        self._answer(status, {"Content-Type": "application/json", **headers}, body)

    def _reset(self) -> None:
        """Close with RST instead of FIN: the client's next read or write fails."""
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        self.connection.close()


def _parts(content_type: str, body: bytes) -> tuple[dict[str, Any], bytes]:
    """The metadata and the content of a multipart/related upload."""
    message = BytesParser().parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n")
    boundary = b"--" + str(message.get_boundary()).encode()
    _, metadata, content, _ = body.split(boundary, 3)
    return json.loads(metadata.partition(b"\r\n\r\n")[2]), content.partition(b"\r\n\r\n")[2][:-2]
