"""An address that no program can call is refused, by words that do not repeat what is in it."""

from __future__ import annotations

import pytest

from povstorm_client import InputError
from povstorm_client.commands.notification import teller
from povstorm_client.launch.web_address import check_web_address


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://example.com/hook?token=1", "example.com"),
        ("http://[::1]:8080", "::1"),
        ("http://me:word@10.0.0.1:65535/a b", "10.0.0.1"),
    ],
)
def test_the_host_of_an_address(url: str, host: str):
    assert check_web_address(url, "it") == host


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://[::1", "has no host that can be read"),
        ("https:///s3cret", "names no host"),
        ("http://host:99999/s3cret", "has no usable port"),
        ("http://host:s3cret/", "has no usable port"),
        ("http://host/s3cret\x01", "has a control character in it"),
        ("http://host/s3cret\n", "has a control character in it"),
    ],
)
def test_what_no_program_can_call_is_refused_wherever_it_is_given(url: str, words: str):
    for refuse in (lambda: check_web_address(url, "it"), lambda: teller(url)):
        with pytest.raises(InputError, match=words) as refused:
            refuse()
        assert "s3cret" not in str(refused.value)
