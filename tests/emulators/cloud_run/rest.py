"""The stand-in over REST: the Admin API's v2 and v1, and what tests need beside (``/standin``)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.emulators.cloud_run import permissions
from tests.emulators.cloud_run.api_error import ApiError
from tests.emulators.cloud_run.discovery import Json, Version, read_body
from tests.emulators.cloud_run.model import CloudRunModel
from tests.emulators.cloud_run.rest_routes import Call, Handler, answer, read_json
from tests.emulators.cloud_run.rest_v1 import v1_handlers
from tests.emulators.cloud_run.services import service_handlers
from tests.emulators.iam.project import GoogleProject

# How long a call to wait is held open at most.
MOST_WAIT_SECONDS = 120.0


def rest_app(model: CloudRunModel, project: GoogleProject | None = None) -> ASGIApp:
    """The application; project: by whose policy callers are judged, None for no judgement.

    Without a router: a proxy's request line, which gcloud sends, has a URL where a path would be.
    """
    handlers: dict[Version, dict[str, Handler]] = {
        "v2": v2_handlers(model),
        "v1": v1_handlers(model),
    }
    if project is not None:
        handlers["v2"] |= service_handlers(model.knobs, project)

    async def change_knobs(request: Request) -> Json:
        model.knobs.change(await read_json(request))
        model.knobs_changed()
        return asdict(model.knobs)

    async def statistics(request: Request) -> Json:
        return model_statistics(model)

    async def api(request: Request) -> Response:
        try:
            permissions.identify(project, request.headers.get("authorization", ""))
        except ApiError as error:
            return JSONResponse(error.body(), error.http_status)
        return await answer(request, handlers)

    own = {
        ("POST", "/standin/knobs"): change_knobs,
        ("GET", "/standin/statistics"): statistics,
    }

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        handle = own.get((request.method, scope["path"]))
        response = await (_answer(handle, request) if handle else api(request))
        await response(scope, receive, send)

    return app


def v2_handlers(model: CloudRunModel) -> dict[str, Handler]:
    """By the ids of the discovery document."""
    jobs, executions = "run.projects.locations.jobs", "run.projects.locations.jobs.executions"
    tasks, operations = f"{executions}.tasks", "run.projects.locations.operations"

    def listing(page: Callable[[str, int, str], Json]) -> Handler:
        return lambda call: page(
            call.name, call.query.get("pageSize", 0), call.query.get("pageToken", "")
        )

    def deleting(delete: Callable[[str, str, bool], Json]) -> Handler:
        return lambda call: delete(
            call.name, call.query.get("etag", ""), call.query.get("validateOnly", False)
        )

    def create_job(call: Call) -> Json:
        query = call.query
        return model.create_job(
            call.name, query.get("jobId", ""), call.body, query.get("validateOnly", False)
        )

    def update_job(call: Call) -> Json:
        query = call.query
        return model.update_job(
            call.name,
            call.body,
            query.get("validateOnly", False),
            query.get("allowMissing", False),
        )

    async def wait(call: Call) -> Json:
        body = read_body(call.body, "GoogleLongrunningWaitOperationRequest")
        return await model.wait_operation(call.name, wait_seconds(body))

    return {
        f"{jobs}.create": create_job,
        f"{jobs}.list": listing(model.list_jobs),
        f"{jobs}.get": lambda call: model.get_job(call.name),
        f"{jobs}.patch": update_job,
        f"{jobs}.delete": deleting(model.delete_job),
        f"{jobs}.run": lambda call: model.run_job(call.name, call.body),
        f"{jobs}.testIamPermissions": lambda call: model.allowed_permissions(call.name, call.body),
        f"{executions}.list": listing(model.list_executions),
        f"{executions}.get": lambda call: model.get_execution(call.name),
        f"{executions}.cancel": lambda call: model.cancel_execution(call.name, call.body),
        f"{executions}.delete": deleting(model.delete_execution),
        f"{tasks}.list": listing(model.list_tasks),
        f"{tasks}.get": lambda call: model.get_task(call.name),
        f"{operations}.list": listing(model.list_operations),
        f"{operations}.get": lambda call: model.get_operation(call.name),
        f"{operations}.delete": lambda call: model.delete_operation(call.name),
        f"{operations}.wait": wait,
    }


def wait_seconds(body: Json) -> float:
    """How long a WaitOperationRequest wants to wait."""
    asked = float(body.get("timeout", f"{MOST_WAIT_SECONDS}s").removesuffix("s"))
    return min(asked, MOST_WAIT_SECONDS)


def model_statistics(model: CloudRunModel) -> Json:
    """Calls by method, and the bill."""
    return {"calls": dict(model.calls), **asdict(model.bill)}


async def _answer(handle: Callable[[Request], Awaitable[Json]], request: Request) -> Response:
    try:
        return JSONResponse(await handle(request))
    except ApiError as error:
        return JSONResponse(error.body(), error.http_status)
