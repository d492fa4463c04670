"""DraftFeed: what the page of drafts knows, told as changes; draft_loop.py says what happens."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.live.frame_row import FrameRow, Letter
from povstorm_client.watch.known_frames import Draft
from povstorm_client.watch.scene_problem import SceneProblem

# Characters; the overlay has all of it.
_MOST_OF_A_LINE = 200


class DraftFeed:
    """The rows of a scene's frames, and what became of the last save; any thread may ask or tell.

    news: called when there is something new. units: of the frames as they are now. edition: another
    where the page has to begin anew, as there are other frames, or of another size. looked_at: the
    frame that a browser has shown last, 0 while nobody has looked.
    """

    def __init__(self) -> None:
        self.news: Callable[[], None] = lambda: None
        self.units: Sequence[WorkUnit] = ()
        self.edition = ""
        self.looked_at = 0
        self._lock = threading.Lock()
        self._rows: list[FrameRow] = []
        self._changed: list[int] = []
        self._revision = 0
        # By version; and those of the save before, whose pictures may still be asked for.
        self._results: dict[str, FrameResult] = {}
        self._earlier: dict[str, FrameResult] = {}
        self._problem: SceneProblem | None = None
        # Of an earlier save: until a frame of this one is there.
        self._is_old_problem = False
        self._what = ""
        self._saved = 0.0
        self._first: float | None = None
        self._last: float | None = None
        self._gave_up = False
        self._notes: Sequence[str] = ()

    def begin(
        self,
        drafts: Sequence[Draft],
        results: Sequence[FrameResult | None],
        *,
        what: str,
        saved: float,
        notes: Sequence[str] = (),
    ) -> None:
        """The frames after a save, with the results of those that are known.

        what: was saved, in words, at a moment in Unix seconds; notes: what its user should know.
        """
        units = [draft.unit for draft in drafts]
        edition = _edition(units)
        with self._lock:
            self.units = units
            if edition != self.edition:
                self.edition = edition
                self._rows = [FrameRow() for _ in units]
                self._changed = [0] * len(units)
            self._what, self._saved, self._notes = what, saved, notes
            self._first = self._last = None
            self._gave_up = False
            self._earlier, self._results = self._results, {}
            for index, (draft, result) in enumerate(zip(drafts, results, strict=True)):
                before = self._rows[index]
                if result is None:
                    self._set(index, _outdated(before, "."))
                    if (shown := self._earlier.get(before.version)) is not None:
                        self._results[before.version] = shown
                else:
                    is_same = before.version == draft.version and before.letter in "rc"
                    self._take(index, draft, result, "c" if is_same else "r")
            self._is_old_problem = None in results
            if not self._is_old_problem:
                self._problem = None
        self.news()

    def drew(self, index: int, draft: Draft, result: FrameResult) -> None:
        """A frame was drawn."""
        with self._lock:
            self._last = max(0.0, time.time() - self._saved)
            self._first = self._last if self._first is None else self._first
            if self._is_old_problem:
                self._problem, self._is_old_problem = None, False
            self._take(index, draft, result, "r")
        self.news()

    def fail(self, index: int, problem: SceneProblem) -> None:
        """A frame cannot be drawn. Of several the first is shown; pictures of before stay."""
        with self._lock:
            if self._problem is None or self._is_old_problem:
                self._problem, self._is_old_problem = problem, False
            self._set(index, _outdated(self._rows[index], "f"))
        self.news()

    def give_up(self) -> None:
        """The frames that are left are not tried."""
        with self._lock:
            self._gave_up = True
        self.news()

    def cannot_read(self, problem: SceneProblem) -> None:
        """The scene as it was saved cannot be read; pictures of before stay."""
        with self._lock:
            self._problem, self._is_old_problem = problem, False
        self.news()

    @property
    def is_in_trouble(self) -> bool:
        """Whether an error is shown."""
        return self._problem is not None

    @property
    def took(self) -> tuple[float, float] | None:
        """From the save to the first and to the last frame so far, seconds; None before."""
        with self._lock:
            return None if self._first is None or self._last is None else (self._first, self._last)

    def result(self, version: str) -> FrameResult | None:
        """Of a picture that is shown, what tells where it is."""
        with self._lock:
            return self._results.get(version) or self._earlier.get(version)

    def changes(self, since: int) -> tuple[int, list[tuple[int, FrameRow]]]:
        """The revision, and the rows, by index, that changed after that one; 0: all but empty."""
        with self._lock:
            rows = zip(self._rows, self._changed, strict=True)
            found = [(index, row) for index, (row, at) in enumerate(rows) if at > since]
            return self._revision, found

    def sections(self) -> dict[str, Any]:
        """What the page shows besides."""
        with self._lock:
            counts = Counter(row.letter for row in self._rows)
            left = 0 if self._gave_up else counts["o"] + counts["."]
            changed = len(self._rows) - counts["c"]
            problem = self._problem
            return {
                "edition": self.edition,
                "status": {
                    "phase": _phase(problem is not None, left),
                    "tone": "bad" if problem else "" if left else "good",
                    "message": problem.line[:_MOST_OF_A_LINE]
                    if problem
                    else f"{self._what}, {_frames(changed, len(self._rows))}",
                    "ended": False,
                    "report": False,
                    "counts": [counts[letter] for letter in ("r", "c", "f", "w", "t")],
                },
                "tiles": [
                    ["Drawn", f"{counts['r']} of {changed}", "of the frames that the save changed"],
                    ["First", self._took(self._first, left), "from the save to a picture"],
                    ["So far" if left else "All", self._took(self._last, left), "from the save"],
                ],
                "problem": None if problem is None else problem.to_json(),
                "notes": list(self._notes),
            }

    def _take(self, index: int, draft: Draft, result: FrameResult, letter: Letter) -> None:
        self._results[draft.version] = result
        taken = result.statistics
        self._set(
            index,
            FrameRow(
                letter=letter,
                seconds=taken.wall_seconds if taken else None,
                cpu_seconds=taken.cpu_seconds if taken else None,
                peak_memory_bytes=taken.peak_memory_bytes if taken else None,
                host=result.host,
                attempts=1,
                version=draft.version,
            ),
        )

    def _took(self, seconds: float | None, left: int) -> str:
        if seconds is not None:
            return f"{seconds:.2f} s"
        # Without an error all was known.
        return "none" if self._problem else "…" if left else "at once"

    def _set(self, index: int, row: FrameRow) -> None:
        if self._rows[index] != row:
            self._revision += 1
            self._rows[index] = row
            self._changed[index] = self._revision


def _edition(units: Sequence[WorkUnit]) -> str:
    settings = units[0].settings
    shape = [settings.width, settings.height, [unit.frame for unit in units]]
    clocks = [unit.settings.clock_of(unit.frame) for unit in units]
    return hashlib.sha256(json.dumps([shape, clocks]).encode()).hexdigest()[:16]


def _phase(is_in_trouble: bool, left: int) -> str:
    if is_in_trouble:
        return "Error"
    return "Drawing" if left else "Up to date"


def _frames(changed: int, total: int) -> str:
    if changed == 0:
        return "no frame changes"
    if changed == total:
        return "the frame changes" if total == 1 else f"all {total} frames change"
    return f"{changed} of {total} frames " + ("changes" if changed == 1 else "change")


def _outdated(row: FrameRow, otherwise: Letter) -> FrameRow:
    """The row with nothing but the picture of before; otherwise: where there is none."""
    return FrameRow("o" if row.version else otherwise, version=row.version)
