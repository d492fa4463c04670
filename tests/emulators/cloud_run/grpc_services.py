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
from google.protobuf import json_format

from tests.emulators.cloud_run.api_error import ApiError
from tests.emulators.cloud_run.model import CloudRunModel, Json

_WAIT_SECONDS = 60.0


def add_services(server: grpc.aio.Server, model: CloudRunModel) -> None:
    """Have the server answer for the model."""
    operation = operations_pb2.Operation

    def job_of(body: Json) -> Json:
        return body.get("job", {})

    def without_name(body: Json) -> Json:
        return {key: value for key, value in body.items() if key != "name"}

    def page(list_page: Callable[[str, int, str], Json]) -> Callable[[Json], Json]:
        return lambda body: list_page(
            body["parent"], body.get("pageSize", 0), body.get("pageToken", "")
        )

    async def wait(body: Json) -> Json:
        return await model.wait_operation(body["name"], _WAIT_SECONDS)

    services: dict[str, dict[str, tuple[Any, Any, Callable[[Json], Any]]]] = {
        "google.cloud.run.v2.Jobs": {
            "CreateJob": (
                run_v2.CreateJobRequest,
                operation,
                lambda body: model.create_job(
                    body["parent"],
                    body.get("jobId", ""),
                    job_of(body),
                    body.get("validateOnly", False),
                ),
            ),
            "UpdateJob": (
                run_v2.UpdateJobRequest,
                operation,
                lambda body: model.update_job(
                    job_of(body).get("name", ""), job_of(body), body.get("validateOnly", False)
                ),
            ),
            "GetJob": (run_v2.GetJobRequest, run_v2.Job, lambda body: model.get_job(body["name"])),
            "ListJobs": (run_v2.ListJobsRequest, run_v2.ListJobsResponse, page(model.list_jobs)),
            "DeleteJob": (
                run_v2.DeleteJobRequest,
                operation,
                lambda body: model.delete_job(body["name"]),
            ),
            "RunJob": (
                run_v2.RunJobRequest,
                operation,
                lambda body: model.run_job(body["name"], without_name(body)),
            ),
            "TestIamPermissions": (
                iam_policy_pb2.TestIamPermissionsRequest,
                iam_policy_pb2.TestIamPermissionsResponse,
                lambda body: model.allowed_permissions(
                    body["resource"], {"permissions": body.get("permissions", [])}
                ),
            ),
        },
        "google.cloud.run.v2.Executions": {
            "GetExecution": (
                run_v2.GetExecutionRequest,
                run_v2.Execution,
                lambda body: model.get_execution(body["name"]),
            ),
            "ListExecutions": (
                run_v2.ListExecutionsRequest,
                run_v2.ListExecutionsResponse,
                page(model.list_executions),
            ),
            "CancelExecution": (
                run_v2.CancelExecutionRequest,
                operation,
                lambda body: model.cancel_execution(body["name"], without_name(body)),
            ),
            "DeleteExecution": (
                run_v2.DeleteExecutionRequest,
                operation,
                lambda body: model.delete_execution(body["name"]),
            ),
        },
        "google.cloud.run.v2.Tasks": {
            "GetTask": (
                run_v2.GetTaskRequest,
                run_v2.Task,
                lambda body: model.get_task(body["name"]),
            ),
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
                lambda body: model.get_operation(body["name"]),
            ),
            "WaitOperation": (operations_pb2.WaitOperationRequest, operation, wait),
        },
    }
    for name, methods in services.items():
        handlers = {
            method: grpc.unary_unary_rpc_method_handler(
                _handler(_message(answer), call),
                request_deserializer=_message(request).FromString,
                response_serializer=_message(answer).SerializeToString,
            )
            for method, (request, answer, call) in methods.items()
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))


def _message(kind: Any) -> Any:
    """The protobuf class of a proto-plus type."""
    return kind.pb() if hasattr(kind, "pb") else kind


def _handler(answer: Any, call: Callable[[Json], Any]) -> Callable[..., Any]:
    async def handle(request: Any, context: grpc.aio.ServicerContext) -> Any:
        try:
            result = call(json_format.MessageToDict(request))
            if not isinstance(result, dict):
                result = await result
        except ApiError as error:
            await context.abort(grpc.StatusCode[error.status], error.message)
        return json_format.ParseDict(result, answer())

    return handle
