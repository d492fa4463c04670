"""A google provider without a Google: it knows the schema, and makes up what only Google knows.

Speaks terraform's plugin protocol 5; terraform finds it by the variable that ``reattach`` gives.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
import msgpack
from tfplugin_proto import tfplugin5_5_pb2 as messages
from tfplugin_proto import tfplugin5_5_pb2_grpc as services

from tests.terraform.refused_deletes import RefusedDeletes

Json = dict[str, Any]

PROJECT_NUMBER = "123456789012"
# What terraform's msgpack has for a value that is known after apply only.
_UNKNOWN = msgpack.ExtType(0, b"\0")
_NESTING = messages.Schema.NestedBlock.NestingMode


# Of a resource of a type, what there was and what is to be; None is nothing. RefusedError.
Change = Callable[[str, Json | None, Json | None], None]


class RefusedError(Exception):
    """What Google says to what it does not do."""


class StubProvider(services.ProviderServicer):
    """Serves a schema (as provider_schema makes it) on a port of its own while it is open.

    holds_addresses: as of RefusedDeletes. google: is told of each change, and may refuse it.
    """

    def __init__(self, schema: Json, *, holds_addresses: bool = False) -> None:
        self._schema = schema
        self._refused = RefusedDeletes(holds_addresses=holds_addresses)
        self._configuration: Json = {}
        self._one_change = threading.Lock()
        self.google: Change | None = None
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
        services.add_ProviderServicer_to_server(self, self._server)
        self._port = self._server.add_insecure_port("127.0.0.1:0")

    def __enter__(self) -> StubProvider:
        self._server.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.stop(grace=None)

    @property
    def reattach(self) -> dict[str, str]:
        """The environment that has terraform use this provider as hashicorp/google."""
        how = {
            "Protocol": "grpc",
            "ProtocolVersion": 5,
            "Pid": os.getpid(),
            # Terraform is not to end the process.
            "Test": True,
            "Addr": {"Network": "tcp", "String": f"127.0.0.1:{self._port}"},
        }
        return {"TF_REATTACH_PROVIDERS": json.dumps({"hashicorp/google": how})}

    def GetSchema(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's
        return messages.GetProviderSchema.Response(
            provider=_schema(self._schema["provider"]),
            resource_schemas=_each(_schema, self._schema["resource_schemas"]),
            data_source_schemas=_each(_schema, self._schema["data_source_schemas"]),
        )

    def PrepareProviderConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        return messages.PrepareProviderConfig.Response(prepared_config=request.config)

    def Configure(self, request: Any, context: Any) -> Any:  # noqa: N802
        # All aliases of a configuration share this server, and have the same defaults here.
        self._configuration = _unpack(request.config)
        return messages.Configure.Response()

    def ValidateResourceTypeConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        block = self._schema["resource_schemas"][request.type_name]["block"]
        return messages.ValidateResourceTypeConfig.Response(
            diagnostics=[
                messages.Diagnostic(severity=messages.Diagnostic.ERROR, summary=mistake)
                for mistake in _mistakes(block, _unpack(request.config))
            ]
        )

    def ValidateDataSourceConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        return messages.ValidateDataSourceConfig.Response()

    def UpgradeResourceState(self, request: Any, context: Any) -> Any:  # noqa: N802
        state = json.loads(request.raw_state.json)
        return messages.UpgradeResourceState.Response(upgraded_state=_pack(state))

    def ReadResource(self, request: Any, context: Any) -> Any:  # noqa: N802
        return messages.ReadResource.Response(new_state=request.current_state)

    def ReadDataSource(self, request: Any, context: Any) -> Any:  # noqa: N802
        block = self._schema["data_source_schemas"][request.type_name]["block"]
        found = _known_after_apply(block, self._with_defaults(block, _unpack(request.config)))
        return messages.ReadDataSource.Response(
            state=_pack(_made_up(request.type_name, block, found))
        )

    def PlanResourceChange(self, request: Any, context: Any) -> Any:  # noqa: N802
        block = self._schema["resource_schemas"][request.type_name]["block"]
        proposed = _unpack(request.proposed_new_state)
        if proposed is not None:
            proposed = _known_after_apply(block, self._with_defaults(block, proposed))
        return messages.PlanResourceChange.Response(planned_state=_pack(proposed))

    def ApplyResourceChange(self, request: Any, context: Any) -> Any:  # noqa: N802
        kind = request.type_name
        block = self._schema["resource_schemas"][kind]["block"]
        prior, planned = _unpack(request.prior_state), _unpack(request.planned_state)
        if planned is not None:
            planned = _made_up(kind, block, planned)
        try:
            self._change(kind, prior, planned)
        except RefusedError as refusal:
            verb = "destroy" if planned is None else "update" if prior else "create"
            summary = f"cannot {verb} {kind}: {refusal}"
            error = messages.Diagnostic(severity=messages.Diagnostic.ERROR, summary=summary)
            return messages.ApplyResourceChange.Response(
                new_state=request.prior_state, diagnostics=[error]
            )
        return messages.ApplyResourceChange.Response(new_state=_pack(planned))

    def _change(self, kind: str, prior: Json | None, planned: Json | None) -> None:
        if planned is None and prior is not None:
            refusal = self._refused.refusal(kind, prior)
            if refusal is not None:
                raise RefusedError(refusal)
        with self._one_change:
            if self.google is not None:
                self.google(kind, prior, planned)

    def Stop(self, request: Any, context: Any) -> Any:  # noqa: N802
        return messages.Stop.Response()

    def _with_defaults(self, block: Json, value: Json) -> Json:
        """What a resource takes from the provider's configuration, as the real provider has it."""
        filled = dict(value)
        for name in ("project", "region"):
            if name in block["attributes"] and filled[name] is None:
                filled[name] = self._configuration[name]
        if "effective_labels" in block["attributes"] and filled["labels"] != _UNKNOWN:
            defaults = self._configuration["default_labels"] or {}
            filled["effective_labels"] = {**defaults, **(filled["labels"] or {})}
        return filled


def _schema(schema: Json) -> Any:
    return messages.Schema(version=schema["version"], block=_block(schema["block"]))


def _block(block: Json) -> Any:
    return messages.Schema.Block(
        attributes=[
            messages.Schema.Attribute(
                name=name,
                type=json.dumps(attribute["type"]).encode(),
                **{flag: attribute.get(flag, False) for flag in _FLAGS},
            )
            for name, attribute in block["attributes"].items()
        ],
        block_types=[
            messages.Schema.NestedBlock(
                type_name=name,
                block=_block(nested["block"]),
                nesting=_NESTING.Value(nested["nesting_mode"].upper()),
                min_items=nested.get("min_items", 0),
                max_items=nested.get("max_items", 0),
            )
            for name, nested in block["block_types"].items()
        ],
    )


_FLAGS = ("required", "optional", "computed")


def _each(function: Callable[[Json], Any], values: Json) -> Json:
    return {name: function(value) for name, value in values.items()}


def _mistakes(block: Json, value: Json) -> Iterator[str]:
    """What the real provider finds wrong beyond the schema, in its words."""
    for name, attribute in block["attributes"].items():
        given = value[name]
        possible = attribute.get("possible_values")
        if given is not None and not (attribute.get("optional") or attribute.get("required")):
            yield f'Can\'t configure a value for "{name}": its value will be decided automatically'
        elif possible and isinstance(given, str) and given not in possible:
            yield f"expected {name} to be one of {possible}, got {given}"
    for name, nested in block["block_types"].items():
        if isinstance(value[name], list):
            for each in value[name]:
                yield from _mistakes(nested["block"], each)


def _known_after_apply(block: Json, value: Json) -> Json:
    """The value with each computed attribute that is null told to be known after apply only."""
    filled = dict(value)
    for name, attribute in block["attributes"].items():
        if filled[name] is None and attribute.get("computed"):
            filled[name] = _UNKNOWN
    for name, nested in block["block_types"].items():
        if isinstance(filled[name], list):
            filled[name] = [_known_after_apply(nested["block"], each) for each in filled[name]]
    return filled


def _made_up(resource: str, block: Json, planned: Json) -> Json:
    """The planned value with an answer for all that is known after apply only."""

    def answered(block: Json, value: Json) -> Json:
        known = dict(value)
        for name, attribute in block["attributes"].items():
            if known[name] == _UNKNOWN:
                known[name] = _anything(f"{resource}.{name}", attribute["type"])
        for name, nested in block["block_types"].items():
            if isinstance(known[name], list):
                known[name] = [answered(nested["block"], each) for each in known[name]]
        return known

    known = {name: value for name, value in planned.items() if value != _UNKNOWN}
    return answered(block, {**planned, **_realistic(resource, known)})


def _realistic(resource: str, known: Json) -> Json:
    """What Google would answer, where something else is made of it."""
    project = known.get("project") or known.get("project_id")
    if resource == "google_service_account":
        email = f"{known['account_id']}@{project}.iam.gserviceaccount.com"
        name = f"projects/{project}/serviceAccounts/{email}"
        return {"email": email, "member": f"serviceAccount:{email}", "name": name, "id": name}
    if resource == "google_project_iam_custom_role":
        name = f"projects/{project}/roles/{known['role_id']}"
        return {"name": name, "id": name}
    if resource == "google_artifact_registry_repository":
        return {"name": known["repository_id"]}
    if resource == "google_project":
        return {"number": PROJECT_NUMBER, "id": f"projects/{project}"}
    if resource == "google_cloud_run_v2_service":
        return {"uri": f"https://{known['name']}-{PROJECT_NUMBER}.{known['location']}.run.app"}
    return {}


def _anything(name: str, kind: Any) -> Any:
    if kind == "string":
        return name
    if kind == "number":
        return 1
    if kind == "bool":
        return False
    return {} if kind[0] == "map" else []


def _pack(value: Any) -> Any:
    return messages.DynamicValue(msgpack=msgpack.packb(value))


def _unpack(value: Any) -> Any:
    return msgpack.unpackb(value.msgpack, strict_map_key=False)
