"""What of Google's REST APIs ``povstorm doctor`` reads of a project, judged by its IAM policy.

Which permission each call needs is from the reference of the method: artifactregistry, cloudquotas,
iam, logging, monitoring, run, sqladmin and storage, each ``….googleapis.com``.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.emulators.http_server import LocalServer, QuietHandler
from tests.emulators.iam.policy import Policy
from tests.emulators.iam.tokens import member_of

Json = dict[str, Any]

_REPOSITORY = r"/v1/(?P<resource>projects/[^/]+/locations/[^/]+/repositories/[^/:]+)"
_SERVICE = r"/v2/(?P<resource>projects/[^/]+/locations/[^/]+/services/[^/:]+)"
_CALLS = {
    "artifactregistry": {
        rf"{_REPOSITORY}:getIamPolicy": "artifactregistry.repositories.getIamPolicy",
        rf"{_REPOSITORY}/packages/[^/]+/tags/[^/]+": "artifactregistry.tags.get",
    },
    "cloudquotas": {
        r"/v1/(?P<resource>projects/[^/]+)/locations/global/services/[^/]+/quotaInfos/[^/]+": (
            "cloudquotas.quotas.get"
        )
    },
    "iam": {
        r"/v1/projects/-/serviceAccounts/(?P<account>[^/]+)/keys": "iam.serviceAccountKeys.list"
    },
    "logging": {r"/v2/(?P<resource>projects/[^/]+)/metrics/[^/]+": "logging.logMetrics.get"},
    "monitoring": {
        r"/v3/(?P<resource>projects/[^/]+)/alertPolicies": "monitoring.alertPolicies.list"
    },
    "run": {_SERVICE: "run.services.get", rf"{_SERVICE}:testIamPermissions": ""},
    "sqladmin": {r"/v1/(?P<resource>projects/[^/]+)/instances/[^/]+": "cloudsql.instances.get"},
    "storage": {r"/storage/v1/b/(?P<bucket>[^/]+)/iam": "storage.buckets.getIamPolicy"},
}
HOSTS = tuple(f"{api}.googleapis.com" for api in _CALLS)


class ProjectApis:
    """A running server; ``answers`` has what is there: ``API/PATH`` → what it shows.

    policy: who may ask. disabled: APIs that are switched off in the project.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.answers: dict[str, Json] = {}
        self.disabled: set[str] = set()

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
        apis = self.server.apis
        api = self.headers["Host"].partition(".")[0]
        member = member_of(self.headers.get("Authorization", "").removeprefix("Bearer "))
        if member is None:
            return _refused(401, "Request had invalid authentication credentials.")
        path = urlsplit(self.path).path
        for pattern, permission in _CALLS[api].items():
            match = re.fullmatch(pattern, path)
            if match is None:
                continue
            if api in apis.disabled:
                return _refused(
                    403,
                    f"{api} API has not been used in project {apis.policy.project} before or it is "
                    "disabled.",
                )
            resource = _resource(match, apis.policy.project)
            if body:
                allowed = [
                    each
                    for each in body["permissions"]
                    if apis.policy.allows(member, each, resource)
                ]
                return 200, {"permissions": allowed} if allowed else {}
            if not apis.policy.allows(member, permission, resource):
                return _refused(
                    403,
                    f"Permission '{permission}' denied on resource '//{api}.googleapis.com/"
                    f"{resource}' (or it may not exist).",
                )
            found = apis.answers.get(f"{api}{path}")
            if found is not None and api == "monitoring":
                found = _filtered(found, parse_qs(urlsplit(self.path).query))
            return (200, found) if found is not None else _refused(404, f"{path} was not found.")
        raise AssertionError(f"no such call: {api}{path}")


def _filtered(policies: Json, query: dict[str, list[str]]) -> Json:
    """The alert policies that a filter lets through."""
    wanted = re.fullmatch(r'display_name="([^"]+)"', query["filter"][0])
    assert wanted is not None, query
    return {
        "alertPolicies": [
            each for each in policies["alertPolicies"] if each["displayName"] == wanted[1]
        ]
    }


def _resource(match: re.Match[str], project: str) -> str:
    named = match.groupdict()
    if "bucket" in named:
        return f"projects/_/buckets/{named['bucket']}"
    if "account" in named:
        return f"projects/{project}/serviceAccounts/{named['account']}"
    return str(named["resource"])


def _refused(status: int, message: str) -> tuple[int, Json]:
    return status, {"error": {"code": status, "message": message}}
