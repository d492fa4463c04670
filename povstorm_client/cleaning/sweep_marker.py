"""A notice in the storage that what no job refers to is being deleted, and how a submit heeds it.

Content is uploaded before the manifest that refers to it, and what is there already is not
uploaded again. So a sweep that read all manifests a moment before a new one was written could take
away what that one counts on. The two see each other: the sweep puts up its notice before it reads
the manifests; the submit looks for a notice after it wrote its own. Either the sweep sees the
manifest, or the submit sees the sweep, waits for its end and uploads again what is missing.
"""

from __future__ import annotations

import secrets
import sys
import time

from povstorm_client.errors import StorageError
from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage

# How often a sweep renews its notice, and when one that isn't renewed counts as given up.
_RENEW_SECONDS = 10.0
_GIVEN_UP_SECONDS = 60.0
_LOOK_SECONDS = 1.0


class SweepMarker:
    """The notice of one sweep, for as long as the ``with`` block runs; there is one at a time."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._token = secrets.token_hex(8).encode()
        self._renewed = 0.0

    def __enter__(self) -> SweepMarker:
        while not self._storage.create(layout.SWEEP, self._token):
            wait_for_sweep(self._storage)
        self._renewed = time.monotonic()
        return self

    def __exit__(self, *exception: object) -> None:
        # Before the notice goes: a submit that finds none compares this with what it saw before.
        self._storage.write(layout.LAST_SWEEP, self._token)
        if self._is_up():
            self._storage.remove(layout.SWEEP)

    @property
    def storage_time(self) -> float:
        """The storage's own time (Unix seconds), when the notice was last renewed."""
        stored = self._storage.stat(layout.SWEEP)
        if stored is None:
            raise _taken_down(self._storage)
        return stored.changed

    def check(self) -> None:
        """To be called before each few deletions; StorageError if they are no longer safe.

        They are not if this machine was asleep for so long that somebody took the notice down.
        """
        if not self._is_up():
            raise _taken_down(self._storage)
        if time.monotonic() - self._renewed > _RENEW_SECONDS:
            self._storage.write(layout.SWEEP, self._token)
            self._renewed = time.monotonic()

    def _is_up(self) -> bool:
        if self._storage.stat(layout.SWEEP) is None:
            return False
        return self._storage.read(layout.SWEEP) == self._token


def _taken_down(storage: Storage) -> StorageError:
    return StorageError(
        f"cleaning {storage.uri} was interrupted for so long that others went on: run it again"
    )


def last_sweep(storage: Storage) -> bytes:
    """Which sweep was the last that ended, b"" for none."""
    if storage.stat(layout.LAST_SWEEP) is None:
        return b""
    return storage.read(layout.LAST_SWEEP)


def swept_since(storage: Storage, before: bytes) -> bool:
    """Wait for the end of a sweep; returns whether one may have deleted anything.

    before: what last_sweep said before anything was looked for.
    """
    given_up = wait_for_sweep(storage)
    return given_up or last_sweep(storage) != before


def wait_for_sweep(storage: Storage) -> bool:
    """Wait until no sweep runs; one that does not renew its notice is given up.

    Returns whether one was given up; it may have deleted something.
    """
    seen, since = None, time.monotonic()
    while (stored := storage.stat(layout.SWEEP)) is not None:
        if seen is None:
            print(f"povstorm: waiting while {storage.uri} is being cleaned", file=sys.stderr)
        if seen is None or stored.changed != seen.changed:
            seen, since = stored, time.monotonic()
        elif time.monotonic() - since > _GIVEN_UP_SECONDS:
            storage.remove(layout.SWEEP)
            return True
        time.sleep(_LOOK_SECONDS)
    return False
