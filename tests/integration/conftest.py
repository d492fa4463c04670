"""Buckets on a real GCS server, for the integration tests."""

from tests.emulators.gcs.fixtures import checked_storage, gcs_proxy, gcs_server, gcs_storage

__all__ = ["checked_storage", "gcs_proxy", "gcs_server", "gcs_storage"]
