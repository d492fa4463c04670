"""Stored records, read strictly: from JSON into a dataclass, or RecordError; every reader uses it.

Whoever may write to a storage chooses what a record says, and an old or half-broken one says
anything. So each has a type with bounds, by which msgspec takes it: no number as text, no NaN, no
time that a calendar cannot show. A field that a newer povstorm added is passed over.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from povstorm_client.errors import PovstormError, RecordError
from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage

T = TypeVar("T")

_making = threading.Lock()
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}

# Some thousand years, and a trillion.
MOST_SECONDS = 1e11
MOST_USD = 1e12
# Until the year 9999, which is where calendars end.
_MOST_MOMENT = 253_402_300_799.0
# What a sum over many frames of the largest values still fits into, and 64 bits.
_MOST_COUNT = 2**48
_MOST_SUM = 2**63 - 1

# Unix seconds.
Moment = Annotated[float, Meta(ge=0, le=_MOST_MOMENT)]
# Of one frame or wave, and of all of a job.
Seconds = Annotated[float, Meta(ge=0, le=MOST_SECONDS)]
Limit = Annotated[float, Meta(gt=0, le=MOST_SECONDS)]
TotalSeconds = Annotated[float, Meta(ge=0, le=1e18)]
Ratio = Annotated[float, Meta(ge=0, le=1e18)]
Usd = Annotated[float, Meta(ge=0, le=MOST_USD)]
Count = Annotated[int, Meta(ge=0, le=_MOST_COUNT)]
Sum = Annotated[int, Meta(ge=0, le=_MOST_SUM)]
# POV-Ray keeps frame numbers in 32 bits.
Frame = Annotated[int, Meta(ge=0, le=2**31 - 1)]
# A part of a path in a web address.
Name = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._:-]{1,200}\Z")]
JobId = Annotated[str, Meta(pattern=rf"\A{layout.JOB_ID}\Z")]


def read_record(storage: Storage, key: str, kind: type[T]) -> T:
    """The stored record; RecordError if it is none of that kind, StorageError if there is none."""
    return decode(storage.read(key), kind, key, storage)


def find_record(storage: Storage, key: str, kind: type[T]) -> T | None:
    """The same, and None if there is none."""
    data = storage.find(key)
    return None if data is None else decode(data, kind, key, storage)


def decode(data: bytes, kind: type[T], what: str, storage: Storage | None = None) -> T:
    """A record from its JSON; RecordError if it is none of that kind, naming what and where."""
    decoder = _decoder(kind)
    with readable(what, storage):
        return decoder.decode(data)


def convert(data: object, kind: type[T], what: str) -> T:
    """The same from plain data, as a JSON reader gives it."""
    _decoder(kind)
    with readable(what):
        return msgspec.convert(data, kind)


def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """One for each kind, made by one thread at a time.

    msgspec 0.22 keeps what it knows of a dataclass in the class, and lets another thread see that
    before it is whole: two that decode a kind for the first time together crash the process (seen).
    """
    with _making:
        if kind not in _decoders:
            _decoders[kind] = msgspec.json.Decoder(kind)
        return _decoders[kind]


@contextmanager
def readable(what: str, storage: Storage | None = None) -> Iterator[None]:
    """Make whatever a reader finds wrong in the block a RecordError that names what and where."""
    try:
        yield
    except RecordError:
        raise
    except (ValueError, RecursionError, PovstormError) as error:
        where = f" in {storage.uri}" if storage is not None else ""
        raise RecordError(f"{what} is not readable{where}: {error}") from error
