"""ApiError: a refusal as the Admin API words it; REST and gRPC each put it on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# google.rpc.Code names → its number and the HTTP status (google/rpc/code.proto).
CODES = {
    "CANCELLED": (1, 499),
    "INVALID_ARGUMENT": (3, 400),
    "DEADLINE_EXCEEDED": (4, 504),
    "NOT_FOUND": (5, 404),
    "ALREADY_EXISTS": (6, 409),
    "PERMISSION_DENIED": (7, 403),
    "RESOURCE_EXHAUSTED": (8, 429),
    "FAILED_PRECONDITION": (9, 400),
    "ABORTED": (10, 409),
    "UNIMPLEMENTED": (12, 501),
    "INTERNAL": (13, 500),
    "UNAVAILABLE": (14, 503),
    "UNAUTHENTICATED": (16, 401),
}


class ApiError(Exception):
    """A status of google.rpc.Code, its message, and details (google.rpc's, as JSON with @type)."""

    def __init__(self, status: str, message: str, details: Sequence[dict[str, Any]] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = list(details)

    @property
    def http_status(self) -> int:
        """Of the answer over REST."""
        return CODES[self.status][1]

    def body(self) -> dict[str, Any]:
        """As in REST answers."""
        error: dict[str, Any] = {
            "code": self.http_status,
            "message": self.message,
            "status": self.status,
        }
        if self.details:
            error["details"] = self.details
        return {"error": error}


def invalid(field: str, description: str) -> ApiError:
    """INVALID_ARGUMENT for a field, whose path is in the message and in a BadRequest detail."""
    return ApiError(
        "INVALID_ARGUMENT",
        f"{field}: {description}" if field else description,
        [
            {
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [{"field": field, "description": description}],
            }
        ],
    )
