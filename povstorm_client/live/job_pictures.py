"""JobPictures: the images of a job's frames, small copies, and the video; for the live page.

A small copy is made once, when a browser first asks for it, and lies in a temporary folder that is
gone with the server: memory and storage calls do not grow with who looks, or how often.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from povstorm_client.errors import StorageError
from povstorm_client.frames.developing import developed
from povstorm_client.frames.tone_mapping import ToneMapping
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.jobs.stored_frames import read_image
from povstorm_client.programs.priority import lower_thread
from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage

# POV-Ray may want all cores: pictures come after it.
_AT_ONCE = 2
_NICENESS = 10


class JobPictures:
    """Pictures by work unit; several threads may ask at once."""

    def __init__(self, storage: Storage, job_id: str, folder: Path, tone: ToneMapping) -> None:
        self._storage = storage
        self._job_id = job_id
        self._results = FrameResults(storage, job_id)
        self._folder = folder
        self._tone = tone
        self._pool = ThreadPoolExecutor(_AT_ONCE, "povstorm-pictures", lower_thread, (_NICENESS,))
        self._locks = [threading.Lock() for _ in range(64)]

    def image(self, unit: WorkUnit) -> bytes:
        """The frame's image as it was rendered; StorageError if there is none, or another."""
        result = self._results.read(unit)
        if result is None or result.state != "rendered":
            raise StorageError(f"frame {unit.frame} is not rendered")
        return read_image(self._storage, result)

    def shown(self, unit: WorkUnit) -> bytes:
        """The frame's image as a PNG, which browsers show; StorageError as image does."""
        try:
            return developed(self.image(unit), self._tone)
        except ValueError as error:
            raise StorageError(
                f"the image of frame {unit.frame} cannot be read: {error}"
            ) from error

    def small(self, unit: WorkUnit, version: str) -> bytes:
        """A WebP of the frame's image; version: what tells it from an earlier image of the frame.

        Raises StorageError as image does, and for an image that cannot be read.
        """
        file = self._folder / f"{unit.frame}-{version}.webp"
        with self._locks[unit.frame % len(self._locks)]:
            with suppress(FileNotFoundError):
                return file.read_bytes()
            data = self._pool.submit(self._made, unit).result()
            file.write_bytes(data)
        return data

    def video(self, ending: str) -> Path:
        """The job's video as a file; StorageError if there is none."""
        key = layout.video(self._job_id, ending)
        stored = self._storage.stat(key)
        if stored is None:
            raise StorageError(f"job {self._job_id} has no video")
        file = self._folder / f"{round(1000 * stored.changed)}.{ending}"
        with self._locks[0]:
            if not file.exists():
                self._storage.download(key, file)
        return file

    def _made(self, unit: WorkUnit) -> bytes:
        # Not at the top: Pillow.
        from povstorm_client.jobs.thumbnails import page_picture

        return page_picture(self.shown(unit), f"the image of frame {unit.frame}")

    def close(self) -> None:
        """Make no further picture."""
        self._pool.shutdown(cancel_futures=True)


@contextmanager
def job_pictures(storage: Storage, job_id: str, tone: ToneMapping) -> Iterator[JobPictures]:
    """Pictures of a job for as long as the block runs."""
    with tempfile.TemporaryDirectory(prefix="povstorm-live-") as folder:
        pictures = JobPictures(storage, job_id, Path(folder), tone)
        try:
            yield pictures
        finally:
            pictures.close()
