"""JobFeed: what the live page knows of one job, looked for in its storage, told as changes.

live_server.py has one for all browsers: it looks while anybody watches, and each browser asks for
what is new since it asked last. A look reads the job's state, the results of frames that are new in
it, and now and then a list of the attempts that failed; nothing is read twice, and nothing is kept
of a frame but its row.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from povstorm_client.cloud_run.cost import JobCost, job_cost
from povstorm_client.cloud_run.stored_plan import read_plan
from povstorm_client.errors import RecordError, StorageError
from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.spread import bisected
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.forecast import Forecast
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.jobs.manifest import (
    JobManifest,
    check_frames,
    read_manifest,
    read_work_units,
)
from povstorm_client.jobs.remaining_time import forecast_left
from povstorm_client.jobs.state import JobState, read_state
from povstorm_client.jobs.statistics import FrameLine, read_statistics
from povstorm_client.live.frame_row import FrameRow, Letter
from povstorm_client.storage import layout
from povstorm_client.storage.parallel import in_parallel
from povstorm_client.storage.protocol import Storage

# Results that one look reads: a bucket gives them in about two seconds, and the page goes on.
_READ_A_LOOK = 250
# A result that cannot be read now may be there at the next looks.
_TRIES = 3
# Of more failed frames than that nobody reads the reasons.
_MOST_FAILURES = 60
_MOST_ATTEMPTS = 200
# Between lists of failed attempts, in polls of the storage; a list is a call for each thousand.
_POLLS_A_LIST = 8
_SECONDS_AN_ATTEMPT = 0.002


@dataclass(frozen=True)
class HostShare:
    """What a machine or container has rendered: frames, their seconds, when the last ended."""

    host: str
    frames: int
    seconds: float
    last_end: float


@dataclass(frozen=True)
class Attempt:
    """An attempt that failed; lost: its container ended without a word."""

    frame: int
    number: int
    host: str
    ended: float
    error: str
    lost: bool


@dataclass(frozen=True)
class Outlook:
    """The job as a whole, at one moment.

    state: None before a flow began; left: the time until the last frame; cost: None on this
    machine; notes: what cannot be read. now: Unix seconds.
    """

    state: JobState | None
    counts: Mapping[Letter, int]
    left: Forecast | None
    cost: JobCost | None
    cpu_seconds: float
    failures: Sequence[FrameResult]
    attempts: Sequence[Attempt]
    hosts: Sequence[HostShare]
    has_report: bool
    notes: Sequence[str]
    now: float


class JobFeed:
    """Looks at a job; several threads may ask it at once."""

    def __init__(self, storage: Storage, manifest: JobManifest, units: Sequence[WorkUnit]) -> None:
        self.manifest = manifest
        self.units = units
        self._storage = storage
        self._results = FrameResults(storage, manifest.job_id)
        self._index = {unit.frame: index for index, unit in enumerate(units)}
        self._looking = threading.Lock()
        self._lock = threading.Lock()
        self._rows = [FrameRow() for _ in units]
        self._changed = [0] * len(units)
        self._revision = 0
        self._outlook: Outlook | None = None
        self._run = ""
        self._tries: Counter[int] = Counter()
        self._unread: set[int] = set()
        self._failures: dict[int, FrameResult] = {}
        self._attempts: deque[Attempt] = deque(maxlen=_MOST_ATTEMPTS)
        self._attempt_keys: set[str] = set()
        self._retried: set[int] = set()
        self._next_list = 0.0
        self._with_statistics = ""

    @classmethod
    def open(cls, storage: Storage, job_id: str) -> JobFeed:
        """The feed of a stored job; InputError if there is none, RecordError if it is damaged."""
        manifest = read_manifest(storage, job_id)
        units = read_work_units(storage, job_id)
        check_frames(manifest, units)
        return cls(storage, manifest, units)

    @property
    def poll_seconds(self) -> float:
        """How long to wait between two looks."""
        ended = self._outlook is not None and _has_ended(self._outlook.state)
        return self._storage.poll_seconds * (8 if ended else 2)

    @property
    def outlook(self) -> Outlook | None:
        """As of the last look; None before the first."""
        return self._outlook

    def unit(self, frame: int) -> WorkUnit | None:
        """The frame's work unit; None for a frame that the job does not have."""
        index = self._index.get(frame)
        return None if index is None else self.units[index]

    def changes(self, since: int) -> tuple[int, list[tuple[int, FrameRow]]]:
        """The revision, and the rows, by index, that changed after that one; 0: all but empty."""
        with self._lock:
            rows = [
                (index, self._rows[index])
                for index, revision in enumerate(self._changed)
                if revision > since
            ]
            return self._revision, rows

    def look(self) -> None:
        """See what is new. A storage that does not answer is a note of the outlook."""
        with self._looking:
            notes: list[str] = []
            state = self._outlook.state if self._outlook is not None else None
            cost = self._outlook.cost if self._outlook is not None else None
            try:
                state = read_state(self._storage, self.manifest.job_id)
                self._follow(state)
                cost = self._cost(state)
            except StorageError as error:
                notes.append(str(error))
            self._outlook = self._seen(state, cost, notes)

    def _follow(self, state: JobState | None) -> None:
        if state is None:
            return
        if state.run != self._run:
            self._begin_run(state)
        rendered = self._indices(state.rendered)
        failed = self._indices(state.failed_frames)
        working = set() if state.ended else self._indices(state.working)
        if state.ended:
            self._take_statistics(state)
        self._take_attempts(state)
        begun = state.phase not in ("submitted", "staging")
        for index, row in enumerate(self._rows):
            letter: Letter
            if index in rendered:
                letter = "c" if row.letter == "c" else "r"
            elif index in failed:
                letter = "f"
            elif row.version and not begun:
                letter = row.letter  # a further run has not looked yet at what is there
            elif index in working:
                letter = "w"
            else:
                letter = "t" if index in self._retried and not state.ended else "."
            if letter != row.letter:
                known = letter in "rc" and row.version
                self._set(index, _with(row, letter) if known else FrameRow(letter))
        self._unread |= {index for index in rendered | failed if self._wants(index)}
        self._read(sorted(self._unread))

    def _begin_run(self, state: JobState) -> None:
        """Another run may render anew what an earlier one has rendered or failed at."""
        self._run = state.run
        self._failures.clear()
        self._tries.clear()
        self._unread.clear()
        self._retried.clear()
        self._with_statistics = ""
        if state.phase not in ("submitted", "staging"):
            for index in range(len(self._rows)):
                self._set(index, FrameRow())

    def _wants(self, index: int) -> bool:
        row = self._rows[index]
        if row.letter == "f":
            frame = self.units[index].frame
            return frame not in self._failures and len(self._failures) < _MOST_FAILURES
        return not row.version

    def _read(self, wanted: Sequence[int]) -> None:
        """The results of some frames: those whose pictures fill the gaps first."""
        chosen = [index for index in bisected(wanted) if self._tries[index] < _TRIES]
        chosen = chosen[:_READ_A_LOOK]
        units = [self.units[index] for index in chosen]
        found = in_parallel(self._results.read_if_readable, units)
        for index, result in zip(chosen, found, strict=True):
            self._tries[index] += 1
            if result is None:
                continue
            row = self._rows[index]
            if row.letter == "f" and result.state != "rendered":
                self._failures[result.frame] = result
            elif row.letter in "rc" and result.state != "rendered":
                continue
            self._unread.discard(index)
            self._set(index, _row(result))
        self._unread -= {index for index in chosen if self._tries[index] >= _TRIES}

    def _take_statistics(self, state: JobState) -> None:
        """All rows from one object, where the job has ended: no result is read but of failures."""
        if self._with_statistics == state.run:
            return
        self._with_statistics = state.run
        if self._storage.stat(layout.statistics(self.manifest.job_id)) is None:
            return
        try:
            lines = read_statistics(self._storage, self.manifest.job_id).frames
        except RecordError:
            return  # another version's: the results tell the same
        for line in lines:
            index = self._index.get(line.frame)
            if index is not None and not self._rows[index].version and line.state == "rendered":
                self._set(index, _row_of_line(line))

    def _take_attempts(self, state: JobState) -> None:
        now = time.monotonic()
        if now < self._next_list and not state.ended:
            return
        keys, results = self._results.new_failed_attempts(self._attempt_keys, _MOST_ATTEMPTS)
        self._attempt_keys |= keys
        pause = _POLLS_A_LIST * self._storage.poll_seconds
        self._next_list = now + pause + _SECONDS_AN_ATTEMPT * len(self._attempt_keys)
        for result in results:
            self._attempts.append(
                Attempt(
                    result.frame,
                    result.attempt,
                    result.host,
                    result.ended,
                    result.error,
                    result.lost_container,
                )
            )
            index = self._index.get(result.frame)
            if index is not None and result.state == "retrying":
                self._retried.add(index)

    def _cost(self, state: JobState | None) -> JobCost | None:
        if self.manifest.cloud_run is None or state is None:
            return None
        plan = read_plan(self._storage, self.manifest.job_id)
        if plan is None:
            return None
        left = 0 if state.ended else state.total - state.done - state.failed
        return job_cost(plan, left, time.time())

    def _seen(self, state: JobState | None, cost: JobCost | None, notes: list[str]) -> Outlook:
        now = time.time()
        rows = self._rows
        return Outlook(
            state=state,
            counts=Counter(row.letter for row in rows),
            left=None if state is None else forecast_left(state, now, self.manifest.frames),
            cost=cost,
            cpu_seconds=sum(row.cpu_seconds or 0.0 for row in rows if row.letter == "r"),
            failures=[self._failures[frame] for frame in sorted(self._failures)],
            attempts=list(self._attempts),
            hosts=list(_hosts(rows)),
            has_report=_has_ended(state) and self._has_report(notes),
            notes=notes,
            now=now,
        )

    def _has_report(self, notes: list[str]) -> bool:
        try:
            return self._storage.stat(layout.report(self.manifest.job_id)) is not None
        except StorageError as error:
            notes.append(str(error))
            return False

    def _set(self, index: int, row: FrameRow) -> None:
        if self._rows[index] == row:
            return
        with self._lock:
            self._revision += 1
            self._rows[index] = row
            self._changed[index] = self._revision

    def _indices(self, runs: Sequence[tuple[int, int]]) -> set[int]:
        """Of the job's frames those in the runs, by index."""
        found: set[int] = set()
        for first, last in runs:
            # Not a search for each frame: a run's ends are frames of the job.
            low, high = self._index.get(first), self._index.get(last)
            if low is not None and high is not None:
                found.update(range(low, high + 1))
        return found


def _has_ended(state: JobState | None) -> bool:
    return state is not None and state.ended


def _row(result: FrameResult) -> FrameRow:
    taken = result.statistics
    rendered: Letter = "c" if result.cache_hit else "r"
    return FrameRow(
        letter=rendered if result.state == "rendered" else "f",
        seconds=taken.wall_seconds if taken else None,
        cpu_seconds=taken.cpu_seconds if taken else None,
        peak_memory_bytes=taken.peak_memory_bytes if taken else None,
        host=result.host,
        attempts=result.attempt,
        started=result.started,
        ended=result.ended,
        version=_version(result.ended) if result.state == "rendered" else "",
    )


def _row_of_line(line: FrameLine) -> FrameRow:
    return FrameRow(
        letter="c" if line.cache_hit else "r",
        seconds=line.wall_seconds,
        cpu_seconds=line.cpu_seconds,
        peak_memory_bytes=line.peak_memory_bytes,
        host=line.host,
        attempts=line.attempts,
        started=line.started,
        ended=line.ended,
        version=_version(line.ended),
    )


def _version(ended: float) -> str:
    return str(round(ended * 1000))


def _with(row: FrameRow, letter: Letter) -> FrameRow:
    return FrameRow(
        letter,
        row.seconds,
        row.cpu_seconds,
        row.peak_memory_bytes,
        row.host,
        row.attempts,
        row.started,
        row.ended,
        row.version,
    )


def _hosts(rows: Sequence[FrameRow]) -> Iterator[HostShare]:
    """Those that rendered something in this job, the busiest lately first."""
    frames: Counter[str] = Counter()
    seconds: defaultdict[str, float] = defaultdict(float)
    last: dict[str, float] = {}
    for row in rows:
        if row.letter == "r" and row.host:
            frames[row.host] += 1
            seconds[row.host] += row.seconds or 0.0
            last[row.host] = max(last.get(row.host, 0.0), row.ended)
    for host in sorted(last, key=lambda each: -last[each]):
        yield HostShare(host, frames[host], seconds[host], last[host])
