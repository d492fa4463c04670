"""What a page is told, as JSON: all at first, then what changed; page_server.py sends it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from povstorm_client.live.frame_row import FrameRow


class EventStream:
    """The events for one browser; of what it has been told already, each has only what changed.

    changes: given a revision, the present one, and the rows, by index, that changed after it.
    sections: all else that the page shows, name → JSON; None while nothing is known.
    """

    def __init__(
        self,
        changes: Callable[[int], tuple[int, list[tuple[int, FrameRow]]]],
        sections: Callable[[], dict[str, Any] | None],
    ) -> None:
        self._changes = changes
        self._sections = sections
        self._revision = 0
        self._hosts: dict[str, int] = {}
        self._told: dict[str, str] = {}

    def next(self) -> str | None:
        """The next event, JSON in one line; None while there is nothing new."""
        sections = self._sections()
        if sections is None:
            return None
        first = not self._told
        event: dict[str, Any] = {"all": True} if first else {}
        known = len(self._hosts)
        self._revision, rows = self._changes(self._revision)
        if rows:
            event["rows"] = [self._row(index, row) for index, row in rows]
            event["hosts"] = list(self._hosts)[known:]
        for name, section in sections.items():
            text = json.dumps(section)
            if self._told.get(name) != text:
                self._told[name] = text
                event[name] = section
        return json.dumps(event, separators=(",", ":")) if event else None

    def _row(self, index: int, row: FrameRow) -> list[Any]:
        return [
            index,
            row.letter,
            _short(row.seconds),
            _short(row.cpu_seconds),
            None if row.peak_memory_bytes is None else round(row.peak_memory_bytes / 2**20, 1),
            self._hosts.setdefault(row.host, len(self._hosts)) if row.host else -1,
            row.attempts,
            round(row.started, 2),
            round(row.ended, 2),
            row.version,
        ]


def _short(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)
