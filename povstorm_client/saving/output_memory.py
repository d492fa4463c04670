"""Where a job's results were saved, remembered for this user, so that later commands go there too.

The folder is one of this machine, so it is kept where povstorm keeps what is the user's own, and
not with the job, which others may read from elsewhere. ``render``, ``retry`` and ``fetch``
remember; ``retry``, ``fetch`` and ``report`` ask.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from povstorm_client.errors import StorageError
from povstorm_client.saving.results_folder import Rendering, rendering_from
from povstorm_client.storage import layout
from povstorm_client.storage.job_address import check_job_id
from povstorm_client.storage.povstorm_home import home_folder
from povstorm_client.storage.private_files import create_private_file, make_private_folder


@dataclass(frozen=True)
class Destination:
    """A folder, and what is rendered into it."""

    folder: Path
    rendering: Rendering


def remember_destination(job_id: str, destination: Destination) -> None:
    """Remember where a job's results go; StorageError if that cannot be written."""
    file = _file(job_id)
    data = {
        "folder": str(destination.folder.absolute()),
        "rendering": asdict(destination.rendering),
    }
    partial = file.with_name(f"{job_id}.{secrets.token_hex(8)}.partial")
    try:
        make_private_folder(file.parent)
        try:
            create_private_file(partial)
            partial.write_text(json.dumps(data), "utf-8")
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"{file} cannot be written ({error.strerror}): make room, or choose another folder "
            "with POVSTORM_HOME"
        ) from error


def remembered_destination(job_id: str) -> Destination | None:
    """Where a job's results went; None where that is not known here."""
    try:
        data = json.loads(_file(job_id).read_text("utf-8"))
        rendering = rendering_from(data.get("rendering"))
        folder = data.get("folder")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    if rendering is None or not isinstance(folder, str) or not Path(folder).is_absolute():
        return None
    return Destination(Path(folder), rendering)


def _file(job_id: str) -> Path:
    check_job_id(job_id)
    return home_folder() / layout.OUTPUT_FOLDERS / f"{job_id}.json"
