"""Check bodies against the API's discovery document, which google-api-python-client ships.

What it does not list is refused, as Google does: unknown fields, wrong types, values that an enum
does not have.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import googleapiclient

from tests.emulators.cloud_run.api_error import ApiError

_DURATION = re.compile(r"\d+(\.\d{1,9})?s")
_INTEGER_BITS = {"int32": 31, "int64": 63, "uint32": 32}


def check_body(body: Any, schema: str) -> None:
    """ApiError INVALID_ARGUMENT unless the body is an instance of the named schema."""
    _check(body, {"$ref": schema}, "")


def clear_output_only(body: dict[str, Any], schema: str) -> dict[str, Any]:
    """The body without what only the server sets, which Google ignores in a request."""
    properties = _schemas()[schema]["properties"]
    return {
        name: value for name, value in body.items() if not properties[name].get("readOnly", False)
    }


@functools.cache
def _schemas() -> dict[str, Any]:
    documents = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
    return json.loads((documents / "run.v2.json").read_text())["schemas"]


def _check(value: Any, schema: dict[str, Any], path: str) -> None:
    if "$ref" in schema:
        schema = _schemas()[schema["$ref"]]
    match schema.get("type"):
        case "object":
            _check_object(value, schema, path)
        case "array":
            _require(isinstance(value, list), path, "a list")
            for index, each in enumerate(value):
                _check(each, schema["items"], f"{path}[{index}]")
        case "string":
            _check_string(value, schema, path)
        case "integer":
            _check_integer(value, schema["format"], path)
        case "boolean":
            _require(isinstance(value, bool), path, "true or false")
        case "number":
            _require(
                isinstance(value, int | float) and not isinstance(value, bool), path, "a number"
            )


def _check_object(value: Any, schema: dict[str, Any], path: str) -> None:
    _require(isinstance(value, dict), path, "an object")
    properties = schema.get("properties")
    for name, each in value.items():
        place = f"{path}.{name}" if path else name
        if properties is None or name not in properties:
            other = schema.get("additionalProperties")
            if other is None:
                raise ApiError(
                    "INVALID_ARGUMENT",
                    f"Invalid JSON payload received. Unknown name \"{name}\" at '{path}': "
                    "Cannot find field.",
                )
            _check(each, other, place)
        else:
            _check(each, properties[name], place)


def _check_string(value: Any, schema: dict[str, Any], path: str) -> None:
    if schema.get("format") in ("int64", "uint64"):
        _check_integer(int(value) if _is_digits(value) else value, "int64", path)
        return
    if "enum" in schema and isinstance(value, int):
        return  # protobuf's JSON takes an enum's number too, and google-cloud-run sends it
    _require(isinstance(value, str), path, "a string")
    if "enum" in schema:
        _require(value in schema["enum"], path, f"one of {schema['enum']}")
    if schema.get("format") == "google-duration":
        _require(_DURATION.fullmatch(value) is not None, path, "a duration such as '600s'")


def _check_integer(value: Any, form: str, path: str) -> None:
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    _require(is_integer, path, "an integer")
    bits = _INTEGER_BITS[form]
    _require(-(2**bits) <= value < 2**bits, path, f"an {form}")


def _is_digits(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"-?\d+", value) is not None


def _require(fits: bool, path: str, what: str) -> None:
    if not fits:
        raise ApiError("INVALID_ARGUMENT", f"Invalid value at '{path}': not {what}")
