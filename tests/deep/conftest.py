"""The image and the servers that the deep tests run on."""

from __future__ import annotations

from tests.emulators.container.fixtures import flow_image
from tests.emulators.gcs.fixtures import gcs_server, gcs_storage

__all__ = ["flow_image", "gcs_server", "gcs_storage"]
