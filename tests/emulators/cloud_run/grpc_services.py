"""The stand-in over gRPC: the services Jobs, Executions, Tasks and Operations, without stubs.

Requests become the API's JSON and answers are made from it, so that both transports share the
model and its checks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from google.cloud import run_v2
from google.iam.v1 import iam_policy_pb2
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2, json_format

# Known by name to protobuf's JSON, for the details of errors.
from google.rpc import error_details_pb2, status_pb2

from tests.emulators.cloud_run import permissions
from tests.emulators.cloud_run.api_error import CODES, ApiError
from tests.emulators.cloud_run.model import CloudRunModel, Json
from tests.emulators.cloud_run.rest import wait_seconds
from tests.emulators.iam.project import GoogleProject

_DETAILS = error_details_pb2.DESCRIPTOR


def add_services(
    server: grpc.aio.Server, model: CloudRunModel, project: GoogleProject | None = None
) -> None:
    """Have the server answer for the model; project: as for rest_app."""
    operation = operations_pb2.Operation

    def without_name(body: Json) -> Json:
        return {key: value for key, value in body.items() if key != "name"}

    def page(
        list_page: Callable[[str, int, str], Json], of: str = "parent"
    ) -> Callable[[Json], Json]:
        return lambda body: list_page(
            body.get(of, ""), body.get("pageSize", 0), body.get("pageToken", "")
        )

    def named(get: Callable[[str], Json]) -> Callable[[Json], Json]:
        return lambda body: get(body.get("name", ""))

    def deleting(delete: Callable[[str, str, bool], Json]) -> Callable[[Json], Json]:
        return lambda body: delete(
            body.get("name", ""), body.get("etag", ""), body.get("validateOnly", False)
        )

    def create_job(body: Json) -> Json:
        validate_only = body.get("validateOnly", False)
        return model.create_job(
            body.get("parent", ""), body.get("jobId", ""), body.get("job", {}), validate_only
        )

    def update_job(body: Json) -> Json:
        job = body.get("job", {})
        return model.update_job(
            job.get("name", ""),
            job,
            body.get("validateOnly", False),
            body.get("allowMissing", False),
        )

    async def wait(body: Json) -> Json:
        return await model.wait_operation(body.get("name", ""), wait_seconds(body))

    services: dict[str, dict[str, tuple[Any, Any, Callable[[Json], Any]]]] = {
        "google.cloud.run.v2.Jobs": {
            "CreateJob": (run_v2.CreateJobRequest, operation, create_job),
            "UpdateJob": (run_v2.UpdateJobRequest, operation, update_job),
            "GetJob": (run_v2.GetJobRequest, run_v2.Job, named(model.get_job)),
            "ListJobs": (run_v2.ListJobsRequest, run_v2.ListJobsResponse, page(model.list_jobs)),
            "DeleteJob": (run_v2.DeleteJobRequest, operation, deleting(model.delete_job)),
            "RunJob": (
                run_v2.RunJobRequest,
                operation,
                lambda body: model.run_job(body.get("name", ""), without_name(body)),
            ),
            "TestIamPermissions": (
                iam_policy_pb2.TestIamPermissionsRequest,
                iam_policy_pb2.TestIamPermissionsResponse,
                lambda body: model.allowed_permissions(
                    body.get("resource", ""), {"permissions": body.get("permissions", [])}
                ),
            ),
        },
        "google.cloud.run.v2.Executions": {
            "GetExecution": (
                run_v2.GetExecutionRequest,
                run_v2.Execution,
                named(model.get_execution),
            ),
            "ListExecutions": (
                run_v2.ListExecutionsRequest,
                run_v2.ListExecutionsResponse,
                page(model.list_executions),
            ),
            "CancelExecution": (
                run_v2.CancelExecutionRequest,
                operation,
                lambda body: model.cancel_execution(body.get("name", ""), without_name(body)),
            ),
            "DeleteExecution": (
                run_v2.DeleteExecutionRequest,
                operation,
                deleting(model.delete_execution),
            ),
        },
        "google.cloud.run.v2.Tasks": {
            "GetTask": (run_v2.GetTaskRequest, run_v2.Task, named(model.get_task)),
            "ListTasks": (
                run_v2.ListTasksRequest,
                run_v2.ListTasksResponse,
                page(model.list_tasks),
            ),
        },
        "google.longrunning.Operations": {
            "GetOperation": (
                operations_pb2.GetOperationRequest,
                operation,
                named(model.get_operation),
            ),
            "ListOperations": (
                operations_pb2.ListOperationsRequest,
                operations_pb2.ListOperationsResponse,
                page(model.list_operations, "name"),
            ),
            "DeleteOperation": (
                operations_pb2.DeleteOperationRequest,
                empty_pb2.Empty,
                named(model.delete_operation),
            ),
            "WaitOperation": (operations_pb2.WaitOperationRequest, operation, wait),
        },
    }
    for name, methods in services.items():
        handlers = {
            method: grpc.unary_unary_rpc_method_handler(
                _handler(_message(answer), call, project),
                request_deserializer=_message(request).FromString,
                response_serializer=_message(answer).SerializeToString,
            )
            for method, (request, answer, call) in methods.items()
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))


def _message(kind: Any) -> Any:
    """The protobuf class of a proto-plus type."""
    return kind.pb() if hasattr(kind, "pb") else kind


def _handler(
    answer: Any, call: Callable[[Json], Any], project: GoogleProject | None
) -> Callable[..., Any]:
    async def handle(request: Any, context: grpc.aio.ServicerContext) -> Any:
        told = dict(context.invocation_metadata() or ())
        try:
            permissions.identify(project, str(told.get("authorization", "")))
            result = call(json_format.MessageToDict(request))
            if not isinstance(result, dict):
                result = await result
        except ApiError as error:
            await context.abort(
                grpc.StatusCode[error.status],
                error.message,
                (("grpc-status-details-bin", _status(error).SerializeToString()),),
            )
        return json_format.ParseDict(result, answer())

    return handle


def _status(error: ApiError) -> Any:
    """google.rpc.Status, as Google's servers send it beside the code."""
    status = {
        "code": CODES[error.status][0],
        "message": error.message,
        "details": error.details,
    }
    return json_format.ParseDict(status, status_pb2.Status())
