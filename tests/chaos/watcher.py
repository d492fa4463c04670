"""Watcher: sees, from outside, what a run does: POV-Ray processes, and images as they appear.

It believes neither results nor statistics: it looks at the process table and into storage.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from dataclasses import dataclass, field

import psutil

from povstorm_client import layout
from povstorm_client.errors import StorageError
from povstorm_client.storage import Storage
from tests.chaos.animation import digest

_FRAME = re.compile(r"\+SF(\d+)")
# A POV-Ray process lives for 0.7 s at least, most of it asleep: this often none is missed.
_PROCESS_SECONDS = 0.1
_STORAGE_SECONDS = 0.2


@dataclass
class Seen:
    """renderings: POV-Ray processes by frame. broken: images that could be read and not decoded."""

    renderings: Counter[int] = field(default_factory=Counter)
    images: int = 0
    broken: list[str] = field(default_factory=list)


class Watcher:
    """Watches while ``with`` runs.

    storage: another way to the job's storage than the one with the faults.
    """

    def __init__(self, name: str, job_id: str, storage: Storage) -> None:
        self._scene = f"{name}.pov"
        self._job_id = job_id
        self._storage = storage
        self._known: set[tuple[int, float]] = set()
        self._read: set[tuple[str, float, int]] = set()
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(look, seconds), daemon=True)
            for look, seconds in (
                (self._look_at_processes, _PROCESS_SECONDS),
                (self._look_at_images, _STORAGE_SECONDS),
            )
        ]
        self.seen = Seen()

    def __enter__(self) -> Watcher:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def stored(self) -> int:
        """How many frames have a result."""
        return sum(1 for _ in self._storage.list(layout.results(self._job_id)))

    def povray_processes(self) -> list[psutil.Process]:
        """Those that render a frame of the job now, without the processes that contain them."""
        found = []
        for process in psutil.process_iter(["name", "cmdline"]):
            words = process.info["cmdline"] or []
            if process.info["name"] == "povray" and any(self._scene in word for word in words):
                found.append(process)
        return found

    def _repeat(self, look, seconds: float) -> None:
        while not self._ended.wait(seconds):
            look()
        look()

    def _look_at_processes(self) -> None:
        for process in self.povray_processes():
            identity = (process.pid, process.create_time())
            if identity not in self._known:
                self._known.add(identity)
                frame = _FRAME.search(" ".join(process.info["cmdline"]))
                if frame is not None:
                    self.seen.renderings[int(frame[1])] += 1

    def _look_at_images(self) -> None:
        for entry in self._storage.list(layout.output(self._job_id)):
            version = (entry.key, entry.changed, entry.size)
            if version in self._read:
                continue
            self._read.add(version)
            try:
                image = self._storage.read(entry.key)
            except StorageError:
                continue  # deleted since it was listed, for another attempt
            self.seen.images += 1
            try:
                digest(image)
            except (OSError, SyntaxError) as error:
                self.seen.broken.append(f"{entry.key}: {error}")
