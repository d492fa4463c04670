"""What Google, or its provider, refuses to delete as things are after use; the stub provider asks.

Of a database that was written to, its network, and addresses that Cloud Run lets go of late.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_USED = "The {} resource '{}' is already being used by '{}'"


class RefusedDeletes:
    """holds_addresses: Cloud Run still has some of each subnetwork when it is deleted at first."""

    def __init__(self, *, holds_addresses: bool) -> None:
        self._holds_addresses = holds_addresses
        self._asked: set[str] = set()
        self._peered: set[str] = set()

    def refusal(self, resource: str, state: Json) -> str | None:
        """Why the resource of this state is not deleted; None if it is."""
        if state.get("deletion_protection"):
            return "deletion_protection is set to true: set it to false to proceed with deletion"
        match resource, state.get("deletion_policy"):
            case (("google_sql_user" | "google_sql_database"), "ABANDON"):
                return None
            case "google_sql_user", _:
                user = state["name"]
                return f'role "{user}" cannot be dropped because some objects depend on it'
            case "google_sql_database", _:
                return f'database "{state["name"]}" is being accessed by other users'
            case "google_service_networking_connection", policy:
                return self._connection(state["network"], policy)
            case _:
                return self._network(resource, state.get("id", ""))

    def _connection(self, network: str, policy: str | None) -> str | None:
        # The provider's documentation of deletion_policy.
        if policy == "ABANDON":
            self._peered.add(network)
        elif policy != "REMOVE_PEERING":
            return (
                "Failed to delete connection; Producer services (e.g. CloudSQL, Cloud Memstore, "
                "etc.) are still using this connection"
            )
        return None

    def _network(self, resource: str, name: str) -> str | None:
        if resource == "google_compute_network" and name in self._peered:
            return _USED.format("network", name, "servicenetworking-googleapis-com")
        is_held = self._holds_addresses and name not in self._asked
        if resource == "google_compute_subnetwork" and is_held:
            # https://cloud.google.com/run/docs/configuring/vpc-direct-vpc#delete-subnet
            self._asked.add(name)
            return _USED.format("subnetwork", name, "addresses/serverless-ipv4-1")
        return None
