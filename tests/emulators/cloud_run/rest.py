"""The stand-in over REST: the Admin API's v2 paths, and what tests need beside (``/standin``)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.emulators.cloud_run.api_error import HTTP_STATUS, ApiError
from tests.emulators.cloud_run.model import CloudRunModel, Json

Answer = Callable[[Request], Awaitable[Response]]


def rest_app(model: CloudRunModel) -> Starlette:
    """The application; every path takes the method and query of the discovery document."""
    location = "/v2/projects/{project}/locations/{location}"
    jobs, executions = f"{location}/jobs", f"{location}/jobs/{{job}}/executions"
    tasks = f"{executions}/{{execution}}/tasks"

    def route(path: str, method: str, handle: Callable[..., Any]) -> Route:
        return Route(path, _answer(handle), methods=[method])

    async def create_job(request: Request) -> Json:
        query = _query(request, "jobId", "validateOnly")
        return model.create_job(
            _parent(request),
            query.get("jobId", ""),
            await _body(request),
            query.get("validateOnly") == "true",
        )

    async def update_job(request: Request) -> Json:
        query = _query(request, "allowMissing", "validateOnly")
        body = await _body(request)
        return model.update_job(_name(request), body, query.get("validateOnly") == "true")

    async def run_job(request: Request) -> Json:
        return model.run_job(_name(request), await _body(request))

    async def test_permissions(request: Request) -> Json:
        return model.allowed_permissions(_name(request), await _body(request))

    async def cancel(request: Request) -> Json:
        return model.cancel_execution(_name(request), await _body(request))

    async def wait(request: Request) -> Json:
        body = await _body(request)
        seconds = float(body.get("timeout", "60s").removesuffix("s"))
        return await model.wait_operation(_name(request), seconds)

    async def change_knobs(request: Request) -> Json:
        for name, value in (await _body(request)).items():
            if not hasattr(model.knobs, name):
                raise ApiError("INVALID_ARGUMENT", f"no knob {name}")
            setattr(model.knobs, name, value)
        return asdict(model.knobs)

    async def statistics(request: Request) -> Json:
        return {"calls": dict(model.calls), "billed_seconds": model.billed_seconds()}

    return Starlette(
        routes=[
            route(jobs, "POST", create_job),
            route(jobs, "GET", _lister(model.list_jobs)),
            route(f"{jobs}/{{job}}:run", "POST", run_job),
            route(f"{jobs}/{{job}}:testIamPermissions", "POST", test_permissions),
            route(f"{jobs}/{{job}}", "GET", _getter(model.get_job)),
            route(f"{jobs}/{{job}}", "PATCH", update_job),
            route(f"{jobs}/{{job}}", "DELETE", _getter(model.delete_job)),
            route(executions, "GET", _lister(model.list_executions)),
            route(f"{executions}/{{execution}}:cancel", "POST", cancel),
            route(f"{executions}/{{execution}}", "GET", _getter(model.get_execution)),
            route(f"{executions}/{{execution}}", "DELETE", _getter(model.delete_execution)),
            route(tasks, "GET", _lister(model.list_tasks)),
            route(f"{tasks}/{{task}}", "GET", _getter(model.get_task)),
            route(f"{location}/operations/{{operation}}:wait", "POST", wait),
            route(f"{location}/operations/{{operation}}", "GET", _getter(model.get_operation)),
            route("/standin/knobs", "POST", change_knobs),
            route("/standin/statistics", "GET", statistics),
            Route("/{path:path}", _answer(_unknown)),
        ]
    )


def _answer(handle: Callable[..., Any]) -> Answer:
    async def answer(request: Request) -> Response:
        try:
            return JSONResponse(await handle(request))
        except ApiError as error:
            return JSONResponse(error.body(), HTTP_STATUS[error.status])

    return answer


def _getter(get: Callable[[str], Json]) -> Callable[..., Any]:
    async def handle(request: Request) -> Json:
        _query(request, "etag", "validateOnly")
        return get(_name(request))

    return handle


def _lister(page: Callable[[str, int, str], Json]) -> Callable[..., Any]:
    async def handle(request: Request) -> Json:
        query = _query(request, "pageSize", "pageToken", "showDeleted")
        return page(_parent(request), int(query.get("pageSize", 0)), query.get("pageToken", ""))

    return handle


async def _unknown(request: Request) -> Json:
    raise ApiError("NOT_FOUND", f"{request.method} {request.url.path} is no method of the API")


def _name(request: Request) -> str:
    return request.url.path.removeprefix("/v2/").partition(":")[0]


def _parent(request: Request) -> str:
    return _name(request).rpartition("/")[0]


def _query(request: Request, *known: str) -> dict[str, str]:
    """The query's fields; ``$alt`` and ``alt`` say that JSON is wanted, as all clients do."""
    fields = dict(request.query_params)
    for name in fields:
        if name not in (*known, "$alt", "alt"):
            raise ApiError(
                "INVALID_ARGUMENT", f'Unknown name "{name}": Cannot bind query parameter.'
            )
    return fields


async def _body(request: Request) -> Json:
    text = await request.body()
    try:
        body = json.loads(text or b"{}")
    except ValueError as error:
        raise ApiError("INVALID_ARGUMENT", f"Invalid JSON payload received. {error}") from error
    if not isinstance(body, dict):
        raise ApiError("INVALID_ARGUMENT", "Invalid JSON payload received: not an object.")
    return body
