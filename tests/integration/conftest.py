"""Buckets on a real GCS server, and commands, for the integration tests."""

from collections.abc import Iterator

import pytest

from tests.emulators.gcs.fixtures import checked_storage, gcs_proxy, gcs_server, gcs_storage
from tests.forked_povstorm import ForkedPovstorm

__all__ = ["checked_storage", "gcs_proxy", "gcs_server", "gcs_storage"]


@pytest.fixture(scope="module")
def forked() -> Iterator[ForkedPovstorm]:
    with ForkedPovstorm() as forked:
        yield forked
