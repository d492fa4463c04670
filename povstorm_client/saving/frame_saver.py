"""FrameSaver: brings a job's results into the user's folder, frames while the job still runs.

``povstorm render`` and ``retry`` hand it each state of the job that they see. The state names the
frames that are done, so nothing is listed until the end, however many frames there are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

from povstorm_client.errors import RecordError, StorageError
from povstorm_client.frames.result import FrameResult
from povstorm_client.job import Job
from povstorm_client.jobs.frame_outputs import known_checksums, output_key
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.jobs.state import JobState
from povstorm_client.saving.results_folder import FRAMES, REPORT, Rendering, ResultsFolder
from povstorm_client.saving.sound import add_sound
from povstorm_client.storage import layout
from povstorm_client.storage.parallel import in_parallel

# So many at a time; between two lots is when it can be stopped.
_AT_A_TIME = 32


class FrameSaver:
    """Saves into a folder while the block runs; finish() brings all that is there.

    damage: frame → what is wrong with what is stored of it, known after finish(). on_progress is
    told by finish() how many of the files that were not there yet are saved, and of how many.
    """

    def __init__(
        self,
        job: Job,
        folder: ResultsFolder,
        rendering: Rendering,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.damage: dict[int, str] = {}
        self._job = job
        self._folder = folder
        self._rendering = rendering
        self._on_progress = on_progress
        self._units = {unit.frame: unit for unit in job.work_units}
        self._seen: set[int] = set()
        self._state: JobState | None = None
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="povstorm-save", daemon=True)

    def __enter__(self) -> FrameSaver:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def look(self, state: JobState) -> None:
        """Take note of a state; returns at once."""
        self._state = state
        self._news.set()

    def finish(self) -> list[Path]:
        """Save all frames that are rendered and not there yet; returns the images, ascending.

        What is not what was rendered is left out: ``damage`` has it. Raises StorageError where
        they cannot be saved.
        """
        self._stop()
        job = self._job
        stored = FrameResults(job.cluster.storage, job.job_id).of(job.work_units)
        self.damage = stored.unreadable | self._save(stored.rendered, self._on_progress)
        return [
            self._folder.path / FRAMES / result.image
            for result in stored.rendered
            if result.frame not in self.damage
        ]

    def save_video(self, audio: Path | None = None) -> Path | None:
        """Save the video, if there is one, with the sound of a file."""
        job = self._job
        if job.video is None:
            return None
        storage, key, ending = job.cluster.storage, layout.video(job.job_id, job.video), job.video
        if storage.stat(key) is None:
            return None

        def fetch(path: Path) -> None:
            storage.download(key, path)
            if audio is not None:
                add_sound(path, audio, ending)

        self._folder.begin(job.job_id, self._rendering)
        return self._folder.put(f"{job.name}.{ending}", fetch)

    def save_report(self) -> Path | None:
        """Save the report, if there is one."""
        return self._save_object(layout.report(self._job.job_id), REPORT)

    def save_statistics(self) -> Path | None:
        """Save statistics.json, if there is one."""
        return self._save_object(layout.statistics(self._job.job_id), "statistics.json")

    def _save_object(self, key: str, name: str) -> Path | None:
        storage = self._job.cluster.storage
        if storage.stat(key) is None:
            return None
        self._folder.begin(self._job.job_id, self._rendering)
        return self._folder.put(name, lambda path: storage.download(key, path))

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._news.wait()
            self._news.clear()
            try:
                for lot in self._new_frames():
                    self._save(self._results(lot))
                    self._seen.update(lot)
                    if self._stopping.is_set():
                        return
            except (StorageError, OSError):
                # The job comes first. finish() tries again, and tells what is wrong if it still is.
                return

    def _new_frames(self) -> Iterator[list[int]]:
        state = self._state
        runs = () if state is None else state.rendered
        first, last = min(self._units), max(self._units)
        new = [
            frame
            for start, end in runs
            for frame in range(max(start, first), min(end, last) + 1)
            if frame in self._units and frame not in self._seen
        ]
        for start in range(0, len(new), _AT_A_TIME):
            yield new[start : start + _AT_A_TIME]

    def _results(self, frames: Iterable[int]) -> list[FrameResult]:
        results = FrameResults(self._job.cluster.storage, self._job.job_id)
        found = in_parallel(lambda frame: results.read(self._units[frame]), frames)
        return [result for result in found if result is not None and result.state == "rendered"]

    def _save(
        self,
        results: Sequence[FrameResult],
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> dict[int, str]:
        """Save what these frames wrote; returns frame → what is wrong with it."""
        storage = self._job.cluster.storage
        known = known_checksums(results)
        writers = {name: result for result in results for name in result.checksums}
        wanted = [name for name in writers if not self._has(name, known[name])]
        if not wanted:
            return {}
        try:
            self._folder.begin(self._job.job_id, self._rendering)
        except OSError as error:
            raise StorageError(f"cannot write to {self._folder.path}: {error}") from error

        def save(name: str) -> str:
            key = output_key(writers[name].job_id, name)
            try:
                self._folder.put(
                    f"{FRAMES}/{name}", lambda path: storage.download(key, path), known[name]
                )
            except RecordError as error:
                return str(error)
            return ""

        problems = {}
        for done, (name, problem) in enumerate(
            zip(wanted, in_parallel(save, wanted), strict=True), start=1
        ):
            if problem:
                problems[writers[name].frame] = problem
            on_progress(done, len(wanted))
        return problems

    def _has(self, name: str, checksums: Collection[str]) -> bool:
        """Whether this job has put it there already, as it is stored."""
        folder = self._folder
        return folder.job_id == self._job.job_id and folder.has(f"{FRAMES}/{name}", checksums)

    def _stop(self) -> None:
        self._stopping.set()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join()
