"""Cluster: where jobs are stored and run. Client programs make one; Job works on it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from povstorm_client import layout
from povstorm_client.errors import InputError
from povstorm_client.flow_process import FlowProcess
from povstorm_client.job_manifest import job_uri
from povstorm_client.storage import FolderStorage, Storage, open_storage
from povstorm_client.tools import require_ffmpeg, require_povray


@dataclass(frozen=True)
class Cluster:
    """The storage that jobs of this cluster live in, by its uri."""

    storage_uri: str

    @classmethod
    def local(cls, folder: str | Path | None = None) -> Cluster:
        """Use this machine, with a folder as the storage: ``$POVSTORM_HOME``, else ``~/.povstorm``.

        The folder also holds the cache: frames rendered once are found there again. Raises
        StorageError if it cannot be made or written to.
        """
        chosen = folder or os.environ.get("POVSTORM_HOME") or Path.home() / ".povstorm"
        return cls(open_storage(Path(chosen).expanduser().absolute().as_uri()).uri)

    @property
    def storage(self) -> Storage:
        """The storage, opened."""
        return open_storage(self.storage_uri)

    def require_tools(self, *, video: bool) -> None:
        """Raise ToolError unless this cluster has what rendering (and a video) needs."""
        require_povray()
        if video:
            require_ffmpeg()

    def start(self, job_id: str) -> FlowProcess:
        """Start the flow for a stored job."""
        storage = self.storage
        if not isinstance(storage, FolderStorage):
            raise InputError(f"jobs in {storage.uri} cannot be run here: use Cluster.local")
        return FlowProcess(job_uri(storage, job_id), storage.path(layout.flow_log(job_id)))
