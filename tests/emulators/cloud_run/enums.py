"""Numbers of enum values: google-cloud-run asks for them in REST answers, and sends them.

They are in the protobuf descriptors only; the discovery document lists names.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.protobuf import descriptor

Numbers = dict[str, dict[str, int]]

# Maps whose keys are users' words.
_USERS_OWN = frozenset({"labels", "annotations", "limits"})


_known: Numbers = {}


def know(numbers: Numbers) -> None:
    """Take the numbers from a process that has google-cloud-run, whose import takes longest."""
    _known.update(numbers)


def enum_numbers() -> Numbers:
    """JSON field name → value name → number, for every enum field of jobs, executions and tasks."""
    return _known or _described()


@functools.cache
def _described() -> Numbers:
    from google.cloud import run_v2

    numbers: Numbers = {}
    seen: set[str] = set()

    def visit(message: descriptor.Descriptor) -> None:
        if message.full_name in seen:
            return
        seen.add(message.full_name)
        for field in message.fields:
            if field.enum_type is not None:
                values = {value.name: value.number for value in field.enum_type.values}
                numbers.setdefault(field.json_name, {}).update(values)
            elif field.message_type is not None:
                visit(field.message_type)

    for kind in (run_v2.Job, run_v2.Execution, run_v2.Task, run_v2.RunJobRequest):
        visit(kind.pb().DESCRIPTOR)
    return numbers


def with_numbers(value: Any, name: str = "") -> Any:
    """JSON with the numbers of enum values instead of their names."""
    if isinstance(value, dict):
        return {
            key: each if key in _USERS_OWN else with_numbers(each, key)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [with_numbers(each, name) for each in value]
    if isinstance(value, str):
        return enum_numbers().get(name, {}).get(value, value)
    return value
