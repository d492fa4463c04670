"""Credentials for Google Cloud from a block on a real Prefect server."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from prefect_gcp import GcpCredentials

from povstorm_client import InputError
from povstorm_client.storage.credentials import google_credentials

ACCOUNT = "renderer@test-project.iam.gserviceaccount.com"


def key_file() -> dict[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return {
        "type": "service_account",
        "project_id": "test-project",
        "private_key_id": "1",
        "private_key": key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode(),
        "client_email": ACCOUNT,
        "token_uri": "https://oauth2.googleapis.com/token",
    }


def test_a_named_block_gives_its_account(on_server: str):
    GcpCredentials(service_account_info=key_file()).save("nightly-account", overwrite=True)

    assert google_credentials("nightly-account").service_account_email == ACCOUNT


def test_no_name_is_the_application_default():
    assert google_credentials("") is None


def test_a_block_that_is_not_there_is_named_with_the_remedy(on_server: str):
    with pytest.raises(InputError, match=r"no GcpCredentials block named 'nowhere'.*make one"):
        google_credentials("nowhere")
