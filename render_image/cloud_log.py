"""Structured log lines, one JSON object each, as Cloud Logging reads a container's output.

The fields are those of https://cloud.google.com/logging/docs/structured-logging; the container's
entrypoint writes them.
"""

from __future__ import annotations

import json
import logging
from typing import Literal

Severity = Literal["INFO", "WARNING", "ERROR", "CRITICAL"]


class CloudLog:
    """Writes lines that carry the job and the execution, so that they can be found by them."""

    def __init__(self, **labels: str) -> None:
        self._labels = labels

    def write(
        self, severity: Severity, message: str, *, frame: int | None = None, **fields: object
    ) -> None:
        """One line on standard output."""
        labels = self._labels if frame is None else {**self._labels, "frame": str(frame)}
        line = {
            "severity": severity,
            "message": message,
            "logging.googleapis.com/labels": labels,
            **fields,
        }
        print(json.dumps(line), flush=True)

    def take_warnings(self) -> None:
        """Have what is logged by other means, from warnings on, written here too."""
        logging.basicConfig(handlers=[_Handler(self)], level=logging.WARNING)


class _Handler(logging.Handler):
    def __init__(self, log: CloudLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        severity: Severity = "WARNING" if record.levelno < logging.ERROR else "ERROR"
        # Formatted, a record has its exception's traceback.
        self._log.write(severity, self.format(record))
