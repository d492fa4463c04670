"""Whether a web address can be called at all; ``povstorm notify`` and ``--notify`` look first."""

from __future__ import annotations

from urllib.parse import urlsplit

from povstorm_client.errors import InputError


def check_web_address(url: str, what: str) -> str:
    """The host of an http(s) address.

    what: the address in words, for the message.

    Raises InputError, which does not repeat the address, for one that no program can call.
    """
    if not url.isprintable():
        raise InputError(
            f"{what} has a control character in it, such as a line's end: give the address without"
        )
    try:
        host = urlsplit(url).hostname
    except ValueError:
        raise InputError(
            f"{what} has no host that can be read: an IPv6 address is in brackets, as in "
            "http://[::1]:8080/"
        ) from None
    if not host:
        raise InputError(f"{what} names no host: give it as https://HOST/PATH")
    try:
        _ = urlsplit(url).port
    except ValueError:
        raise InputError(f"{what} has no usable port: give a number from 0 to 65535") from None
    return host
