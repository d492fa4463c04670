"""Requests over REST to handlers, by the methods of a discovery document; refusals to bodies."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.emulators.cloud_run.api_error import ApiError
from tests.emulators.cloud_run.discovery import Json, Method, Version, methods, read_query
from tests.emulators.cloud_run.enums import with_numbers


@dataclass(frozen=True)
class Call:
    """A request to a method: the resource in its path, its typed query, its body, its host."""

    name: str
    query: Json
    body: Json
    host: str


Handler = Callable[[Call], Awaitable[Json] | Json]


async def answer(request: Request, handlers: Mapping[Version, Mapping[str, Handler]]) -> Response:
    """The answer to any request; ids of methods without a handler are UNIMPLEMENTED."""
    try:
        return JSONResponse(await _answer(request, handlers))
    except ApiError as error:
        return JSONResponse(error.body(), error.http_status)


async def read_json(request: Request) -> Json:
    """The request's body, {} if there is none; ApiError unless it is a JSON object."""
    text = await request.body()
    try:
        body = json.loads(text or b"{}")
    except ValueError as error:
        raise ApiError("INVALID_ARGUMENT", f"Invalid JSON payload received. {error}") from error
    if not isinstance(body, dict):
        raise ApiError("INVALID_ARGUMENT", "Invalid JSON payload received. Not an object.")
    return body


async def _answer(request: Request, handlers: Mapping[Version, Mapping[str, Handler]]) -> Any:
    host, path = _host_and_path(request)
    version, method, name = _method(request.method, path, tuple(handlers))
    handler = handlers[version].get(method.id)
    if handler is None:
        raise ApiError("UNIMPLEMENTED", f"{method.id}: the stand-in does not have this method")
    query = read_query(request.query_params, method, version)
    body = await read_json(request) if method.request else {}
    result = handler(Call(name, query, body, host))
    found = result if isinstance(result, dict) else await result
    # "json;enum-encoding=int" is how Google's clients ask for it.
    as_numbers = "enum-encoding=int" in request.query_params.get("$alt", "")
    return with_numbers(found) if as_numbers else found


def _method(verb: str, path: str, versions: tuple[Version, ...]) -> tuple[Version, Method, str]:
    for version in versions:
        for method in methods(version):
            match = method.pattern.fullmatch(path)
            if match and method.http_method == verb:
                return version, method, next(iter(match.groupdict().values()), "")
    raise ApiError("NOT_FOUND", f"The requested URL was not found on this server: {verb} /{path}")


def _host_and_path(request: Request) -> tuple[str, str]:
    """Through a proxy, which gcloud takes the stand-in for, the path is a whole URL."""
    path = request.scope["path"]
    scheme, separator, rest = path.partition("://")
    if separator and scheme in ("http", "https"):
        host, _, path = rest.partition("/")
        return host, path
    return request.headers.get("host", ""), path.removeprefix("/")
