"""The one place that chooses a renderer, and where Prefect keeps its results, for a storage."""

from __future__ import annotations

from pathlib import Path

from povstorm_client import layout
from povstorm_client.errors import InputError
from povstorm_client.job_manifest import JobManifest
from povstorm_client.storage import FolderStorage, Storage
from povstorm_client.tools import require_povray
from tasks.renderers.local import LocalRenderer
from tasks.renderers.renderer import Renderer


def choose_renderer(storage: Storage, manifest: JobManifest) -> Renderer:
    """The renderer for jobs of this storage; raises ToolError where POV-Ray is missing."""
    return LocalRenderer(storage, require_povray(), frame_timeout=manifest.frame_timeout)


def choose_result_storage(storage: Storage) -> Path:
    """Where Prefect persists task results, so that its cache lies beside what it speaks of."""
    if isinstance(storage, FolderStorage):
        return storage.path(layout.RESULT_CACHE)
    raise InputError(f"no result storage is known for {storage.uri}")
