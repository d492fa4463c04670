"""``povstorm watch`` at work on a scene in a folder, and what it says and shows."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

POVSTORM = str(Path(sys.executable).with_name("povstorm"))
# Seconds; of a busy machine. What is waited for comes in a second or two.
PATIENCE = 120.0


def save(path: Path, text: str) -> None:
    """As an editor does: whole, in the old file's place."""
    partial = path.with_name(f".{path.name}.tmp")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


class WatchedScene:
    """The command, started in ``folder``; its temporary files go to ``folder.parent/tmp``."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder = folder
        self.temporary = folder.parent / "tmp"
        self.temporary.mkdir()
        self.home = folder.parent / "home"
        self.lines: list[str] = []
        self._said = threading.Condition()
        self.process = subprocess.Popen(
            [POVSTORM, "watch", *words, "--no-open"],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "POVSTORM_HOME": str(self.home), "TMPDIR": str(self.temporary)},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self._seen = 0

    def _read(self) -> None:
        for line in self.process.stdout or ():
            with self._said:
                self.lines.append(line.rstrip("\n"))
                self._said.notify_all()
        with self._said:
            self.lines.append("(it has ended)")
            self._said.notify_all()

    def says(self, pattern: str) -> str:
        """Wait for a line, after those that were waited for before, that has the pattern in it."""
        deadline = time.monotonic() + PATIENCE
        with self._said:
            while True:
                for at in range(self._seen, len(self.lines)):
                    if re.search(pattern, self.lines[at]):
                        self._seen = at + 1
                        return self.lines[at]
                ended = self.lines and self.lines[-1] == "(it has ended)"
                if ended or not self._said.wait(max(0.0, deadline - time.monotonic())):
                    raise AssertionError(f"no line has {pattern!r}:\n" + "\n".join(self.lines))

    @property
    def url(self) -> str:
        """Where the page is, once that is said."""
        for line in self.lines:
            if line.startswith("page"):
                return line.split()[1]
        return self.says("^page").split()[1]

    def shows(self, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """What the page is told, once that is what is waited for; rows: index → row."""
        shown: dict[str, Any] = {"rows": {}}
        deadline = time.monotonic() + PATIENCE
        with httpx.stream("GET", f"{self.url}events", timeout=PATIENCE) as answer:
            # There is a line each quarter of a minute.
            for line in answer.iter_lines():
                assert time.monotonic() < deadline, f"it is not shown: {shown}"
                if not line.startswith("data: "):
                    continue
                event = json.loads(line[6:])
                rows = {row[0]: row for row in event.pop("rows", [])}
                shown |= event
                shown["rows"] |= rows
                if is_it(shown):
                    return shown
        raise AssertionError(f"the stream has ended: {shown}")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code


@contextmanager
def watched(folder: Path, *words: str) -> Iterator[WatchedScene]:
    """The command for as long as the block runs."""
    scene = WatchedScene(folder, *words)
    try:
        yield scene
    finally:
        try:
            scene.end()
        finally:
            scene.process.kill()
