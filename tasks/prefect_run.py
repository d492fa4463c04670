"""The Prefect run that calls, if one does: its log, and whether Prefect is there to record it.

Tasks and flows ask here, since a job on this machine is rendered without Prefect where Prefect's
server does not come up, or is lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

import prefect
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import MissingContextError
from prefect.tasks import Task
from prefect.utilities.annotations import quote

T = TypeVar("T")
# A process has one server; whoever watches it says so here when it is lost.
_lost: list[asyncio.Event] = []


class PrefectLostError(Exception):
    """Prefect's server was lost while it was asked for something."""


def watched() -> asyncio.Event:
    """An event to be set when Prefect's server is lost: nothing is asked of it after that."""
    event = asyncio.Event()
    _lost[:] = [event]
    return event


def is_lost() -> bool:
    """Whether Prefect's server is known to be lost."""
    return any(event.is_set() for event in _lost)


def is_recorded() -> bool:
    """Whether a flow run calls, and Prefect's server is not known to be lost."""
    return not is_lost() and (FlowRunContext.get() or TaskRunContext.get()) is not None


def get_run_logger() -> logging.Logger | logging.LoggerAdapter[Any]:
    """The run's logger; where none calls one that prints what matters."""
    try:
        return prefect.get_run_logger()
    except MissingContextError:
        return logging.getLogger("povstorm")


async def call(task: Task[..., Any], *arguments: Any, **named: Any) -> Any:  # noqa: ANN401
    """Call a task: as a task run where it is recorded, else its function alone."""
    if is_recorded():
        return await task(*arguments, **named)
    return await task.fn(
        *map(_unquoted, arguments), **{name: _unquoted(value) for name, value in named.items()}
    )


def _unquoted(value: object) -> object:
    return value.unquote() if isinstance(value, quote) else value


async def unless_lost(asking: Coroutine[Any, Any, T]) -> T:
    """What Prefect's server answers; PrefectLostError if it is lost before.

    Prefect itself would ask again for a minute.
    """
    if not _lost:
        return await asking
    answer = asyncio.ensure_future(asking)
    lost = asyncio.ensure_future(_lost[0].wait())
    try:
        await asyncio.wait({answer, lost}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        raise PrefectLostError("Prefect's server is lost")
    finally:
        answer.cancel()
        lost.cancel()
