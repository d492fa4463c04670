"""Warnings of the command line: one line on standard error."""

from __future__ import annotations

import sys


def warn(message: str) -> None:
    """Print a warning."""
    print(f"povstorm: warning: {message}", file=sys.stderr)
