"""Long-running operations: what create, patch, delete, run and cancel answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.emulators.cloud_run.api_error import CODES

Json = dict[str, Any]


@dataclass
class Operation:
    """An operation on a job or an execution, which it shows as its metadata and its response.

    shown: the resource as it is now. failure: code and words, once it has ended and failed.
    """

    name: str
    kind: Literal["Job", "Execution"]
    shown: Callable[[], Json]
    ended: asyncio.Event
    failure: Callable[[], tuple[str, str] | None] = field(default=lambda: None)

    def view(self) -> Json:
        """As the API has it."""
        typed = {"@type": f"type.googleapis.com/google.cloud.run.v2.{self.kind}", **self.shown()}
        operation: Json = {"name": self.name, "metadata": typed}
        if self.ended.is_set():
            operation["done"] = True
            failure = self.failure()
            if failure is None:
                operation["response"] = typed
            else:
                code, message = failure
                operation["error"] = {"code": CODES[code][0], "message": message}
        return operation
