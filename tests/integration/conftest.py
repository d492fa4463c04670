"""Buckets on a real GCS server, for the integration tests."""

from tests.emulators.gcs.fixtures import gcs_server, gcs_storage

__all__ = ["gcs_server", "gcs_storage"]
