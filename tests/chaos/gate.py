"""Gate: holds calls to the storage until a fault that is to come before them has come.

The injector closes it, and opens it with each of its faults; the proxy before the bucket asks it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

# A fault that finds nothing to break holds nobody for longer.
_MOST_SECONDS = 60.0

# Told the kind of a call (GcsProxy.calls) and its object: whether it is to wait.
Holds = Callable[[str, str], bool]


class Gate:
    """By fault, which calls wait for it."""

    def __init__(self) -> None:
        self._holds: dict[str, Holds] = {}
        self._waiting: dict[str, int] = {}
        # Whoever was held is let go with each fault: it may be of a process that is gone by now.
        self._opened = 0
        self._changed = threading.Condition()

    def close(self, fault: str, holds: Holds) -> None:
        """Have such calls wait for the fault from now on."""
        with self._changed:
            self._holds[fault] = holds

    def open(self, fault: str) -> None:
        """The fault has come: no call waits for it any more."""
        with self._changed:
            self._holds.pop(fault, None)
            self._opened += 1
            self._changed.notify_all()

    def is_waited_for(self, fault: str) -> bool:
        """Whether a call waits for the fault at this moment."""
        with self._changed:
            return self._waiting.get(fault, 0) > 0

    def admit(self, kind: str, name: str) -> bool:
        """Whether a call is to be passed on; False: it was held, and is to be repeated."""
        with self._changed:
            faults = [fault for fault, holds in self._holds.items() if holds(kind, name)]
            if not faults:
                return True
            opened = self._opened
            for fault in faults:
                self._waiting[fault] = self._waiting.get(fault, 0) + 1
            has_come = self._changed.wait_for(lambda: self._opened != opened, _MOST_SECONDS)
            for fault in faults:
                self._waiting[fault] -= 1
                if not has_come:
                    self._holds.pop(fault, None)
            return not has_come
