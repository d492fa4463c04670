"""Which part of a command's processes takes how much CPU time when; head_and_tail prints it.

Looks again and again at all processes below this one, which has to be the one that orphans are
given to (prctl(2), PR_SET_CHILD_SUBREAPER). What a process took between the last look at it and its
end is known of its parent only; such short-lived ones are POV-Ray's above all, and count as its.
"""

from __future__ import annotations

import os
import resource
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

POVRAY, OTHER = "POV-Ray, sandbox", "other"
# In their order: the first part whose word is among those of the command line.
_PARTS = (
    ("--version", OTHER),
    ("povray", POVRAY),
    ("ffmpeg", "video"),
    ("ffprobe", "video"),
    ("flows.recorder", "tells Prefect"),
    ("uvicorn", "Prefect's server"),
    ("prefect", "Prefect's server"),
    ("flows.local_run", "flow"),
    ("povstorm", "client"),
)
PARTS = tuple(dict.fromkeys(part for _, part in _PARTS))
_TICKS = os.sysconf("SC_CLK_TCK")
# Until the first frame is in work, and from then on.
_CLOSE_LOOK_SECONDS, _LOOK_SECONDS = 0.02, 0.05


@dataclass(frozen=True)
class Look:
    """CPU seconds of each part until a moment (time.time())."""

    moment: float
    cpu: dict[str, float]


@dataclass
class _Process:
    part: str = OTHER
    own: float = 0.0
    with_reaped: float = 0.0


@dataclass
class CpuOfParts:
    """``with`` it processes are looked at; looks: what was seen, in order.

    first_frame: when a POV-Ray with a picture to render was first seen (time.time()), 0.0 before.
    """

    looks: list[Look] = field(default_factory=list)
    first_frame: float = 0.0

    def __enter__(self) -> CpuOfParts:
        self._family: dict[int, _Process] = {}
        self._strangers: set[int] = set()
        self._seen: dict[str, float] = defaultdict(float)
        # Those that lived before have used some already.
        self._before: dict[str, float] = {}
        self._reaped_before = _reaped()
        # Never less than before: what ends while it is looked at is missing for a moment.
        self._unseen = 0.0
        self._look()
        self._before = dict(self.looks.pop().cpu)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def until(self, moment: float) -> dict[str, float]:
        """CPU seconds of each part until then."""
        looks = [look for look in self.looks if look.moment <= moment]
        return looks[-1].cpu if looks else dict.fromkeys(PARTS, 0.0)

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS if self.first_frame else _CLOSE_LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        # Parents before their children, here and below: what ends meanwhile is not counted twice.
        everything = _reaped() - self._reaped_before
        living = {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
        for gone in self._family.keys() - living:
            process = self._family.pop(gone)
            self._seen[process.part] += process.own
        for pid in self._family:
            self._look_at(pid)
        self._strangers &= living
        new = living - self._family.keys() - self._strangers - {os.getpid()}
        while found := {pid for pid in new if self._look_at(pid)}:
            new -= found
        self._strangers |= new
        cpu = dict(self._seen)
        for process in self._family.values():
            cpu[process.part] = cpu.get(process.part, 0.0) + process.own
        everything += sum(process.with_reaped for process in self._family.values())
        self._unseen = max(self._unseen, everything - sum(cpu.values()))
        cpu[POVRAY] = cpu.get(POVRAY, 0.0) + self._unseen
        used = {part: cpu.get(part, 0.0) - self._before.get(part, 0.0) for part in PARTS}
        self.looks.append(Look(time.time(), used))

    def _look_at(self, pid: int) -> bool:
        """Whether it is one of ours; then what it is, and has used, is noted."""
        process = self._family.get(pid)
        try:
            text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
            # proc_pid_stat(5): after the name in brackets the state, the parent, …
            words = text.rpartition(")")[2].split()
            if process is None and int(words[1]) not in (os.getpid(), *self._family):
                return False
            arguments = Path(f"/proc/{pid}/cmdline").read_text("utf-8", "replace").split("\0")
        except OSError:
            # It has ended: what it used is its parent's now, or will be when that is looked at.
            if process is not None:
                process.with_reaped = 0.0
            return process is not None
        process = self._family.setdefault(pid, process or _Process())
        # Of a program that has ended the arguments are gone.
        if arguments[0]:
            process.part = _part(arguments)
            if process.part == POVRAY and Path(arguments[0]).name == "povray":
                self.first_frame = self.first_frame or time.time()
        own, reaped = (sum(map(int, words[at : at + 2])) / _TICKS for at in (11, 13))
        process.own, process.with_reaped = own, own + reaped
        return True


def _part(words: list[str]) -> str:
    for word, part in _PARTS:
        if any(word in each for each in words):
            return part
    return OTHER


def _reaped() -> float:
    """CPU seconds of all children that were waited for, and theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
