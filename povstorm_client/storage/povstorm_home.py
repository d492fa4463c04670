"""The folder of what povstorm keeps for a user: jobs, and what commands and runs remember."""

from __future__ import annotations

import os
from pathlib import Path

from povstorm_client.errors import InputError


def home_folder() -> Path:
    """What povstorm keeps for this user: ``$POVSTORM_HOME``, else ``~/.povstorm``.

    InputError if it begins in a home folder that is not known.
    """
    return expanded(Path(os.environ.get("POVSTORM_HOME") or "~/.povstorm"))


def expanded(folder: Path) -> Path:
    """The folder with ``~`` replaced; InputError if it stands for a folder that is not known."""
    try:
        return folder.expanduser()
    except RuntimeError as error:
        raise InputError(
            f"{folder} begins in a home folder that is not known: set HOME, or POVSTORM_HOME to "
            "another folder"
        ) from error
