"""What Prefect persists of a rendered frame, read as plain data; the flow's cache is made of them.

A result record of Prefect's names the serializer that is to decode it, which may be pickle or an
import path: whoever may write to the storage would choose what runs in the flow. So Prefect is
handed no record that was stored, but one that is written here, of a FrameResult that was read
strictly.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from povstorm_client.errors import InputError
from povstorm_client.frames.result import FrameResult
from povstorm_client.storage.records import decode, readable

_Encoder = Literal["prefect.serializers.prefect_json_object_encoder"]
_Decoder = Literal["prefect.serializers.prefect_json_object_decoder"]
_Nothing = Annotated[dict[str, Any], Meta(max_length=0)]


class _Serializer(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["json"]
    jsonlib: Literal["json"] = "json"
    object_encoder: _Encoder | None = None
    object_decoder: _Decoder | None = None
    dumps_kwargs: _Nothing = msgspec.field(default_factory=dict)
    loads_kwargs: _Nothing = msgspec.field(default_factory=dict)


class _Metadata(msgspec.Struct, forbid_unknown_fields=True):
    storage_key: str
    serializer: _Serializer
    prefect_version: str
    expiration: None = None
    storage_block_id: str | None = None


class _Record(msgspec.Struct, forbid_unknown_fields=True):
    metadata: _Metadata
    result: str


def parse_cached_frame(data: bytes, name: str) -> FrameResult:
    """The FrameResult in an entry of the cache; RecordError for anything else.

    name: the entry's, which it has to bear itself, alone or at the end of a path (as Prefect's own
    file system writes it).
    """
    what = f"the cache entry {name}"
    with readable(what):
        record = decode(data, _Record, what)
        if record.metadata.storage_key.rpartition("/results/")[2] != name:
            raise InputError(f"it is that of {record.metadata.storage_key!r:.200}")
        return FrameResult.from_bytes(record.result.encode(), what)


def cached_frame_record(result: FrameResult, name: str, prefect_version: str) -> bytes:
    """The entry of that name for Prefect: JSON, in which nothing names a decoder."""
    record = {
        "metadata": {
            "storage_key": name,
            "expiration": None,
            "serializer": {"type": "json", "object_decoder": None},
            "prefect_version": prefect_version,
            "storage_block_id": None,
        },
        "result": json.dumps(result.to_json()),
    }
    return json.dumps(record).encode()
