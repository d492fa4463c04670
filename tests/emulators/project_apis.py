"""What of Google's REST APIs ``povstorm doctor`` reads of a project, judged by its IAM policy.

Which permission each call needs is from the reference of the method: artifactregistry,
cloudquotas, cloudresourcemanager, iam, logging, monitoring, secretmanager and sqladmin, each
``….googleapis.com``.
Those of Cloud Run and Cloud Storage are the other stand-ins'.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.emulators.http_server import LocalServer, QuietHandler
from tests.emulators.iam.policy import service_account_name
from tests.emulators.iam.project import GoogleProject
from tests.emulators.iam.tokens import email_of, member_of

Json = dict[str, Any]

_REPOSITORY = (
    r"/v1/(?P<resource>projects/(?P<project>[^/]+)/locations/(?P<region>[^/]+)"
    r"/repositories/(?P<repository>[^/:]+))"
)
_ACCOUNT = r"/v1/projects/-/serviceAccounts/(?P<account>[^/:]+)"
_SECRET = r"/v1/(?P<resource>projects/[^/]+/secrets/(?P<secret>[^/:]+))"  # noqa: S105 - a path
# A person's call counts towards the project that this names, which takes a right of its own.
_QUOTA_PROJECT = "X-Goog-User-Project"


@dataclass(frozen=True)
class _Asked:
    """A call that was understood and may be made.

    match: of its path. resource: the full name of what it is about.
    """

    apis: ProjectApis
    member: str
    resource: str
    match: re.Match[str]
    key: str
    query: dict[str, str]
    body: Json


def _told(asked: _Asked) -> Json | None:
    return asked.apis.answers.get(asked.key)


def _alert_policies(asked: _Asked) -> Json:
    """Those that the filter lets through."""
    wanted = re.fullmatch(r'display_name="([^"]+)"', asked.query["filter"])
    assert wanted is not None, asked.query
    found = (_told(asked) or {}).get("alertPolicies", [])
    return {"alertPolicies": [each for each in found if each["displayName"] == wanted[1]]}


def _policy(asked: _Asked) -> Json:
    # In the body by cloudresourcemanager, in the query, without a body, by the others.
    assert not asked.body or asked.key.startswith("cloudresourcemanager/"), asked.body
    version = asked.body.get("options", {}).get("requestedPolicyVersion") or int(
        asked.query.get("options.requestedPolicyVersion", "1")
    )
    return asked.apis.project.policy.shown(asked.resource, version)


def _allowed(asked: _Asked) -> Json:
    policy = asked.apis.project.policy
    held = [
        each
        for each in asked.body["permissions"]
        if policy.allows(asked.member, each, asked.resource)
    ]
    return {"permissions": held} if held else {}


def _tag(asked: _Asked) -> Json | None:
    part = asked.match.groupdict()
    place = f"{part['region']}-docker.pkg.dev/{part['project']}/{part['repository']}"
    image = f"{place}/{part['package']}:{part['tag']}"
    return {"name": asked.key} if asked.apis.project.has_image(image) else None


def _keys(asked: _Asked) -> Json:
    assert asked.query == {"keyTypes": "USER_MANAGED"}, asked.query
    email = asked.match["account"]
    # What token_server.make_key has left.
    there = asked.apis.project.secret(f"key of {email}") is not None
    return {"keys": [{"name": f"{asked.resource}/keys/1"}]} if there else {}


def _secret_version(asked: _Asked) -> Json | None:
    assert asked.match["version"] == "latest", asked.key
    there = asked.apis.project.secret(asked.match["secret"]) is not None
    return {"name": f"{asked.resource}/versions/1", "state": "ENABLED"} if there else None


@dataclass(frozen=True)
class _Method:
    """permission: what it takes; "" is nothing, as for testIamPermissions."""

    verb: str
    path: str
    permission: str
    answer: Callable[[_Asked], Json | None] = _told


_METHODS = {
    "artifactregistry": (
        _Method(
            "GET",
            rf"{_REPOSITORY}:getIamPolicy",
            "artifactregistry.repositories.getIamPolicy",
            _policy,
        ),
        _Method("POST", rf"{_REPOSITORY}:testIamPermissions", "", _allowed),
        _Method(
            "GET",
            rf"{_REPOSITORY}/packages/(?P<package>[^/]+)/tags/(?P<tag>[^/]+)",
            "artifactregistry.tags.get",
            _tag,
        ),
    ),
    "cloudquotas": (
        _Method(
            "GET",
            r"/v1/(?P<resource>projects/[^/]+)/locations/global/services/[^/]+/quotaInfos/[^/]+",
            "cloudquotas.quotas.get",
        ),
    ),
    "cloudresourcemanager": (
        _Method(
            "POST",
            r"/v1/(?P<resource>projects/[^/:]+):getIamPolicy",
            "resourcemanager.projects.getIamPolicy",
            _policy,
        ),
    ),
    "iam": (
        _Method("GET", rf"{_ACCOUNT}/keys", "iam.serviceAccountKeys.list", _keys),
        _Method("POST", rf"{_ACCOUNT}:getIamPolicy", "iam.serviceAccounts.getIamPolicy", _policy),
        _Method("POST", rf"{_ACCOUNT}:testIamPermissions", "", _allowed),
    ),
    "logging": (
        _Method("GET", r"/v2/(?P<resource>projects/[^/]+)/metrics/[^/]+", "logging.logMetrics.get"),
    ),
    "monitoring": (
        _Method(
            "GET",
            r"/v3/(?P<resource>projects/[^/]+)/alertPolicies",
            "monitoring.alertPolicies.list",
            _alert_policies,
        ),
    ),
    "secretmanager": (
        _Method(
            "GET",
            rf"{_SECRET}/versions/(?P<version>[^/:]+)",
            "secretmanager.versions.get",
            _secret_version,
        ),
        _Method("GET", rf"{_SECRET}:getIamPolicy", "secretmanager.secrets.getIamPolicy", _policy),
    ),
    "sqladmin": (
        _Method(
            "GET", r"/v1/(?P<resource>projects/[^/]+)/instances/[^/]+", "cloudsql.instances.get"
        ),
    ),
}
HOSTS = tuple(f"{api}.googleapis.com" for api in _METHODS)


class ProjectApis:
    """A running server for one project.

    answers: what is there beside what the project itself tells: ``API/PATH`` → what it shows.
    """

    def __init__(self, project: GoogleProject) -> None:
        self.project = project
        self.answers: dict[str, Json] = {}

    def __enter__(self) -> ProjectApis:
        self._http = _Server(_Handler)
        self._http.apis = self
        self.address = self._http.address
        self._http.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._http.stop()


class _Server(LocalServer):
    apis: ProjectApis


class _Handler(QuietHandler):
    server: _Server

    def do_GET(self) -> None:
        self.answer(*self._called({}))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.answer(*self._called(json.loads(body)))

    def _called(self, body: Json) -> tuple[int, Json]:
        project = self.server.apis.project
        host = self.headers["Host"].partition(":")[0]
        api = host.partition(".")[0]
        member = member_of(self.headers.get("Authorization", "").removeprefix("Bearer "))
        if member is None:
            return _refused(401, "Request had invalid authentication credentials.")
        url = urlsplit(self.path)
        method, match = _method(api, self.command, url.path)
        policy = project.policy
        if not project.is_enabled(host):
            return _refused(
                403,
                f"{api} API has not been used in project {policy.project} before or it is "
                f"disabled. Enable it by visiting https://console.developers.google.com/apis/api/{host}/",
            )
        payer = self.headers.get(_QUOTA_PROJECT, "")
        if payer and not policy.allows(member, "serviceusage.services.use", f"projects/{payer}"):
            return _refused(
                403,
                f"Caller does not have required permission to use project {payer}. Grant the "
                "caller the roles/serviceusage.serviceUsageConsumer role.",
            )
        account = match.groupdict().get("account")
        resource = (
            service_account_name(policy.project, account) if account else str(match["resource"])
        )
        if method.permission and not policy.allows(member, method.permission, resource):
            return _refused(
                403,
                f"Permission '{method.permission}' denied on resource '//{host}/{resource}' (or it "
                f"may not exist) for {email_of(member)}.",
            )
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        asked = _Asked(self.server.apis, member, resource, match, f"{api}{url.path}", query, body)
        found = method.answer(asked)
        return (200, found) if found is not None else _refused(404, f"{url.path} was not found.")


def _method(api: str, verb: str, path: str) -> tuple[_Method, re.Match[str]]:
    for method in _METHODS[api]:
        match = re.fullmatch(method.path, path)
        if match is not None and method.verb == verb:
            return method, match
    raise AssertionError(f"no such call: {verb} {api}{path}")


def _refused(status: int, message: str) -> tuple[int, Json]:
    return status, {"error": {"code": status, "message": message}}
