"""ApiError: a refusal as the Admin API words it; REST and gRPC each put it on the wire."""

from __future__ import annotations

# google.rpc.Code names → HTTP status (google/rpc/code.proto).
HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
}


class ApiError(Exception):
    """A status of google.rpc.Code and its message."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message

    def body(self) -> dict[str, object]:
        """As in REST answers."""
        code = HTTP_STATUS[self.status]
        return {"error": {"code": code, "message": self.message, "status": self.status}}
