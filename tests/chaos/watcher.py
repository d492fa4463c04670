"""Watcher: sees, from outside, what a run does: POV-Ray processes, and images as they appear.

It believes neither results nor statistics: it looks at the process table and into storage.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import psutil

from povstorm_client.errors import StorageError
from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage, StoredObject
from tests.chaos.animation import digest
from tests.chaos.processes import povray_processes

# A POV-Ray process lives for 0.7 s at least, most of it asleep: this often none is missed, also
# where looks come late on a busy machine.
_PROCESS_SECONDS = 0.05
_STORAGE_SECONDS = 0.2
_NICENESS = -10


@dataclass
class Seen:
    """What a run has shown.

    renderings: POV-Ray processes by frame. broken: images that could be read and not decoded.
    undone: frames that were rendered, and then were not.
    """

    renderings: Counter[int] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    undone: list[int] = field(default_factory=list)


class Watcher:
    """Watches while ``with`` runs; the end of it raises what kept it from watching.

    storage: another way to the job's storage than the one with the faults.
    """

    def __init__(self, name: str, job_id: str, storage: Storage) -> None:
        self.scene = f"{name}.pov"
        self._job_id = job_id
        self._storage = storage
        self._processes: set[psutil.Process] = set()
        self._versions: set[StoredObject] = set()
        self._rendered: dict[str, int] = {}
        self._lock = threading.Lock()
        self._results_lock = threading.Lock()
        self._ended = threading.Event()
        self._pool = ThreadPoolExecutor()
        self._watching: list[Future[None]] = []
        self.seen = Seen()

    def __enter__(self) -> Watcher:
        for look, seconds in (
            (self.look_at_processes, _PROCESS_SECONDS),
            (self._look_at_images, _STORAGE_SECONDS),
            (self.rendered, _STORAGE_SECONDS),
        ):
            self._watching.append(self._pool.submit(self._repeat, look, seconds))
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._pool.shutdown()
        for each in self._watching:
            each.result()

    def rendered(self) -> Set[int]:
        """The frames that have a result that says so now."""
        with self._results_lock:
            for entry, content in self._changed(layout.results(self._job_id)):
                result = json.loads(content)
                if result["state"] == "rendered":
                    self._rendered[entry.key] = result["frame"]
                elif self._rendered.pop(entry.key, None) is not None:
                    self.seen.undone.append(result["frame"])
            return set(self._rendered.values())

    def renderings(self) -> Counter[int]:
        """How many POV-Ray processes were seen until now, by frame."""
        with self._lock:
            return self.seen.renderings.copy()

    def look_at_processes(self) -> dict[psutil.Process, int]:
        """The POV-Ray processes of now, and the frame that each renders."""
        rendering = povray_processes(self.scene)
        with self._lock:
            for process, frame in rendering.items():
                if process not in self._processes:
                    self._processes.add(process)
                    self.seen.renderings[frame] += 1
        return rendering

    def _repeat(self, look: Callable[[], object], seconds: float) -> None:
        # Before all that keeps the machine busy, where that may be asked for.
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while not self._ended.wait(seconds):
            look()
        look()

    def _look_at_images(self) -> None:
        for entry, image in self._changed(layout.output(self._job_id)):
            try:
                digest(image)
            except (OSError, SyntaxError) as error:
                self.seen.broken.append(f"{entry.key}: {error}")

    def _changed(self, prefix: str) -> Iterator[tuple[StoredObject, bytes]]:
        """What is new below the prefix since the last look, or has another content."""
        for entry in self._storage.list(prefix):
            if entry in self._versions:
                continue
            self._versions.add(entry)
            try:
                content = self._storage.read(entry.key)
            except StorageError:
                continue  # deleted since it was listed, for another attempt
            yield entry, content
