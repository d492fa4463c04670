"""The schema of the google provider, in the form of ``terraform providers schema -json``.

Generated from the provider's bindings for the resources that a configuration uses; the stub
provider serves it. One thing more than such a schema has: an attribute's ``possible_values``, where
the provider's documentation lists them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.terraform.provider_bindings import Bindings, read_bindings

Json = dict[str, Any]

_USED = re.compile(r'^(resource|data)\s+"(google_\w+)"', re.MULTILINE)
_CLASS = re.compile(r"^class (\w+) extends cdktn\.(\w+) \{(.*?)^\}$", re.MULTILINE | re.DOTALL)
# The comment that stands before each member, how it is kept, and what its getter returns.
_MEMBER = re.compile(
    r"// (\w+) - computed: (\w+), optional: (\w+), required: (\w+)\n"
    r"(?:\s+_\w+(?: = new ([\w.]+)\(([^\n]*)\))?;\n)?(?:\s+/\*\*(?:(?!\*/).)*\*/\n)?"
    r"\s+get \w+\(\) \{\n(.*?)\n    \}",
    re.DOTALL,
)
_HOLDER = "OutputReference"
_INTERFACE = re.compile(r"^export interface (\w+)[^{]*\{(.*?)^\}$", re.MULTILINE | re.DOTALL)
_DOCUMENTED = re.compile(r"/\*\*((?:(?!\*/).)*)\*/\s+readonly \w+\??: string;", re.DOTALL)
_ATTRIBUTE_LINK = re.compile(r"\{@link \S+ \w+#(\w+)\}")
_POSSIBLE_VALUES = re.compile(r"Possible values: \[(.*?)\]", re.DOTALL)
_MEMBERS = re.compile(r"// \w+ - computed: ")
_HCL_FUNCTION = re.compile(r"^function (\w+)ToHclTerraform\(struct\) \{(.*?)^\}$", re.M | re.S)
_HCL_METHOD = re.compile(r"^    synthesizeHclAttributes\(\) \{(.*?)^    \}$", re.M | re.S)
_HCL_ENTRY = re.compile(
    r"(\w+): \{\s+value: .*?,\s+isBlock: (true|false),\s+type: \"(\w+)\",\s+"
    r"storageClassType: \"(\w+)\"",
    re.DOTALL,
)
_SIMPLE = {"string": "string", "number": "number", "boolean": "bool"}
_GETTERS = {
    "getStringAttribute": "string",
    "getNumberAttribute": "number",
    "getBooleanAttribute": "bool",
    "getListAttribute": ["list", "string"],
    "getNumberListAttribute": ["list", "number"],
    "getStringMapAttribute": ["map", "string"],
}
_MAPS = {"cdktn.StringMap": "string", "cdktn.BooleanMap": "bool", "cdktn.NumberMap": "number"}


def generate_schema(configuration: Path) -> Json:
    """The provider's own schema and those of the resources in a folder's ``.tf`` files."""
    used = {
        kind_and_type
        for file in configuration.glob("*.tf")
        for kind_and_type in _USED.findall(file.read_text())
    }
    folders = {each: _folder(*each) for each in sorted(used)}
    bindings = read_bindings(["provider", *folders.values()])
    return {
        "provider": _provider_schema(bindings["provider"].code),
        "resource_schemas": _schemas("resource", folders, bindings),
        "data_source_schemas": _schemas("data", folders, bindings),
    }


def _folder(kind: str, resource: str) -> str:
    name = resource.replace("_", "-")
    return name.removeprefix("google-") if kind == "resource" else f"data-{name}"


def _schemas(
    kind: str, folders: dict[tuple[str, str], str], bindings: dict[str, Bindings]
) -> dict[str, Json]:
    return {
        resource: {"version": 0, "block": _Resource(bindings[folder]).resource_block()}
        for (used_as, resource), folder in folders.items()
        if used_as == kind
    }


def _provider_schema(text: str) -> Json:
    """Its arguments, all optional; its blocks (batching, external credentials) are left out."""
    (body,) = _HCL_METHOD.findall(text)
    attributes = {
        name: {"type": _configured_type(shape, storage), "optional": True}
        for name, is_block, shape, storage in _HCL_ENTRY.findall(body)
        if is_block == "false" and name != "alias"
    }
    return {"version": 0, "block": {"attributes": attributes, "block_types": {}}}


def _configured_type(shape: str, storage: str) -> Any:
    if shape == "simple":
        return _SIMPLE[storage]
    element = re.fullmatch(r"(string|number|boolean)(List|Map)", storage)
    if element is None:
        raise ValueError(f"an argument of the type {storage} is new to the generator")
    return [shape, _SIMPLE[element[1]]]


class _Resource:
    """One resource's generated code."""

    def __init__(self, bindings: Bindings) -> None:
        text = bindings.code
        self._possible_values = _possible_values(bindings.declarations)
        self._classes = {name: body for name, _, body in _CLASS.findall(text)}
        (self._resource,) = [
            name
            for name, base, _ in _CLASS.findall(text)
            if base in ("TerraformResource", "TerraformDataSource")
        ]
        self._arguments = {
            name: _HCL_ENTRY.findall(body) for name, body in _HCL_FUNCTION.findall(text)
        }
        (method,) = _HCL_METHOD.findall(text)
        self._arguments[self._resource] = _HCL_ENTRY.findall(method)

    def resource_block(self) -> Json:
        return self._block(self._resource, self._resource)

    def _block(self, holder: str, arguments_of: str) -> Json:
        """holder: the class with the members; arguments_of: what may be written in HCL."""
        arguments = {
            name: (is_block == "true", shape, storage)
            for name, is_block, shape, storage in self._arguments.get(arguments_of, ())
        }
        attributes: Json = {}
        blocks: Json = {}
        for name, computed, optional, required, kept_as, kept_with, getter in self._members(holder):
            is_block, shape, storage = arguments.get(name, (False, "", ""))
            if is_block:
                element = kept_as.removesuffix("List").removesuffix(_HOLDER)
                blocks[name] = {
                    "nesting_mode": "single" if shape == "struct" else shape,
                    "block": self._block(f"{element}{_HOLDER}", _lower_first(element)),
                }
                if shape != "struct":
                    blocks[name] |= {"min_items": 1} if required else {}
                    blocks[name] |= {} if kept_as.endswith("List") else {"max_items": 1}
                continue
            kind = (
                _configured_type(shape, storage)
                if shape
                else self._computed_type(kept_as, kept_with, getter)
            )
            flags = {"required": required, "optional": optional, "computed": computed}
            attributes[name] = {"type": kind} | {flag: True for flag, on in flags.items() if on}
            if values := self._possible_values.get((holder.removesuffix(_HOLDER), name)):
                attributes[name]["possible_values"] = values
        return {"attributes": attributes, "block_types": blocks}

    def _members(self, holder: str) -> Iterable[tuple[str, bool, bool, bool, str, str, str]]:
        body = self._classes[holder]
        found = _MEMBER.findall(body)
        if len(found) != len(_MEMBERS.findall(body)):
            raise ValueError(f"a member of {holder} is new to the generator")
        for name, computed, optional, required, kept_as, kept_with, getter in found:
            flags = (computed == "true", optional == "true", required == "true")
            yield name, *flags, kept_as, kept_with, getter

    def _computed_type(self, kept_as: str, kept_with: str, getter: str) -> Any:
        if kept_as in _MAPS:
            return ["map", _MAPS[kept_as]]
        if kept_as:
            element = kept_as.removesuffix("List").removesuffix(_HOLDER)
            shape = "set" if kept_with.endswith("true") else "list"
            return [shape, ["object", self._object(f"{element}{_HOLDER}")]]
        method = re.search(r"\.(get\w+)\(", getter)
        if method is None or method[1] not in _GETTERS:
            raise ValueError(f"a getter is new to the generator: {getter.strip()}")
        kind = _GETTERS[method[1]]
        return ["set", kind[1]] if "Fn.tolist" in getter else kind

    def _object(self, holder: str) -> Json:
        return {
            name: self._computed_type(kept_as, kept_with, getter)
            for name, _, _, _, kept_as, kept_with, getter in self._members(holder)
        }


def _possible_values(declarations: str) -> dict[tuple[str, str], list[str]]:
    """(the struct's or resource's class, attribute) → what the documentation lists."""
    found = {}
    for interface, body in _INTERFACE.findall(declarations):
        for documentation in _DOCUMENTED.findall(body):
            name = _ATTRIBUTE_LINK.search(documentation)
            values = _POSSIBLE_VALUES.search(documentation)
            if name and values:
                key = (interface.removesuffix("Config"), name[1])
                found[key] = re.findall(r"\"(.*?)\"", values[1])
    return found


def _lower_first(name: str) -> str:
    return name[0].lower() + name[1:]
