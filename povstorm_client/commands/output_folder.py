"""The folder that a command saves into, checked before any work starts."""

from __future__ import annotations

import tempfile
from pathlib import Path

from povstorm_client.errors import InputError


def require_writable(folder: Path) -> None:
    """Make the folder; InputError if it cannot be made or written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(
            f"the output folder {folder} cannot be written to ({error.strerror}): "
            "choose another with --output"
        ) from error
