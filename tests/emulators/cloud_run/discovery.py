"""The API's discovery documents, which google-api-python-client ships, as the oracle of requests.

What they do not list is refused, as Google does: methods, query parameters, fields, types, values
that an enum does not have. Where protobuf's JSON takes several forms of a value (a number as text,
an enum's number, null for unset) they are taken, and made one.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import googleapiclient

from tests.emulators.cloud_run.api_error import ApiError, invalid
from tests.emulators.cloud_run.enums import enum_numbers

Json = dict[str, Any]
Version = Literal["v1", "v2"]

_DURATION = re.compile(r"-?\d{1,12}(\.\d{1,9})?s")
_INTEGERS = {
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint64": (0, 2**64 - 1),
}


@dataclass(frozen=True)
class Method:
    """One method of the API: what is sent where.

    pattern: of the path, with a group for each path parameter. parameters: of the query, by name.
    """

    id: str
    http_method: str
    pattern: re.Pattern[str]
    parameters: Mapping[str, Json]
    request: str | None


@functools.cache
def document(version: Version) -> Json:
    """The discovery document of the Cloud Run Admin API."""
    documents = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
    found: Json = json.loads((documents / f"run.{version}.json").read_text())
    return found


@functools.cache
def methods(version: Version) -> tuple[Method, ...]:
    """All methods, those with the longer paths first."""
    found = sorted(_methods(document(version)), key=lambda method: -len(method.pattern.pattern))
    return tuple(found)


def read_query(query: Mapping[str, str], method: Method, version: Version) -> Json:
    """The query with its values' types; ApiError for what the method does not have."""
    common = document(version)["parameters"]
    values: Json = {}
    for name, text in query.items():
        # ``$alt=json;enum-encoding=int`` is how Google's clients write ``alt``.
        if name in common or name in ("$alt", "$prettyPrint"):
            continue
        schema = method.parameters.get(name)
        if schema is None:
            raise invalid(
                name,
                f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query '
                "parameter. Field could not be found in request message.",
            )
        values[name] = _query_value(text, schema, name)
    return values


def read_body(body: Any, schema: str, version: Version = "v2") -> Json:
    """The body in one form and without what only the server sets, which Google ignores.

    ApiError INVALID_ARGUMENT, which names the field, unless it is an instance of the schema.
    """
    read: Json = _Reader(version).value(body, {"$ref": schema}, "", "")
    return read


def _methods(resource: Json) -> Iterator[Method]:
    for method in resource.get("methods", {}).values():
        parameters = method.get("parameters", {})
        yield Method(
            id=method["id"],
            http_method=method["httpMethod"],
            pattern=_pattern(method["path"], parameters),
            parameters={
                name: schema for name, schema in parameters.items() if schema["location"] == "query"
            },
            request=method.get("request", {}).get("$ref"),
        )
    for inner in resource.get("resources", {}).values():
        yield from _methods(inner)


def _pattern(path: str, parameters: Json) -> re.Pattern[str]:
    text = re.escape(path).replace(r"\{", "{").replace(r"\+", "+").replace(r"\}", "}")
    for name, schema in parameters.items():
        if schema["location"] == "path":
            # A colon begins a custom method's name, so that no id has one.
            own = schema.get("pattern", "[^/]+").strip("^$").replace("[^/]", "[^/:]")
            text = text.replace(f"{{+{name}}}", f"(?P<{name}>{own})")
    return re.compile(text)


def _query_value(text: str, schema: Json, name: str) -> Any:
    if schema["type"] == "boolean":
        if text not in ("true", "false"):
            raise invalid(name, f"Invalid value at '{name}' (TYPE_BOOL), \"{text}\"")
        return text == "true"
    if schema["type"] == "integer":
        return _integer(text, schema["format"], name)
    return text


class _Reader:
    """Reads values by the schemas of one document."""

    def __init__(self, version: Version) -> None:
        self._version = version
        self._schemas = document(version)["schemas"]

    def value(self, value: Any, schema: Json, path: str, name: str) -> Any:
        if "$ref" in schema:
            schema = self._schemas[schema["$ref"]]
        match schema.get("type"):
            case "object":
                return self._object(value, schema, path)
            case "array":
                if not isinstance(value, list):
                    raise _wrong(path, "a list", value)
                if None in value:
                    raise _wrong(path, "a list without null", value)
                items = schema["items"]
                return [
                    self.value(each, items, f"{path}[{index}]", name)
                    for index, each in enumerate(value)
                ]
            case "string":
                return self._string(value, schema, path, name)
            case "integer":
                return _integer(value, schema["format"], path)
            case "boolean":
                if not isinstance(value, bool):
                    raise _wrong(path, "TYPE_BOOL", value)
            case "number":
                if isinstance(value, bool) or not isinstance(value, int | float):
                    raise _wrong(path, "TYPE_DOUBLE", value)
        return value

    def _object(self, value: Any, schema: Json, path: str) -> Json:
        if not isinstance(value, dict):
            raise _wrong(path, "an object", value)
        properties, other = schema.get("properties", {}), schema.get("additionalProperties")
        read: Json = {}
        for name, each in value.items():
            place = f"{path}.{name}" if path else name
            found = properties.get(name, other)
            if found is None:
                raise invalid(
                    place,
                    f"Invalid JSON payload received. Unknown name \"{name}\" at '{path}': "
                    "Cannot find field.",
                )
            if each is None and name in properties:
                continue
            result = self.value(each, found, place, name)
            if not found.get("readOnly", False):
                read[name] = result
        return read

    def _string(self, value: Any, schema: Json, path: str, name: str) -> Any:
        form = schema.get("format", "")
        if form in _INTEGERS:
            return str(_integer(value, form, path))
        if "enum" in schema and isinstance(value, int) and not isinstance(value, bool):
            by_number = {n: word for word, n in enum_numbers().get(name, {}).items()}
            value = by_number.get(value, value)
        if not isinstance(value, str):
            raise _wrong(path, "TYPE_ENUM" if "enum" in schema else "TYPE_STRING", value)
        if "enum" in schema and value not in schema["enum"]:
            raise _wrong(path, f"TYPE_ENUM, one of {schema['enum']}", value)
        if form == "google-duration" and _DURATION.fullmatch(value) is None:
            raise _wrong(path, "type.googleapis.com/google.protobuf.Duration", value)
        if form == "google-datetime":
            try:
                datetime.fromisoformat(value)
            except ValueError as error:
                what = "type.googleapis.com/google.protobuf.Timestamp"
                raise _wrong(path, what, value) from error
        return value


def _integer(value: Any, form: str, path: str) -> int:
    least, most = _INTEGERS[form]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,20}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _wrong(path, f"TYPE_{form.upper()}", value)
    return value


def _wrong(path: str, what: str, value: Any) -> ApiError:
    return invalid(path, f"Invalid value at '{path}' ({what}), {json.dumps(value)[:200]}")
