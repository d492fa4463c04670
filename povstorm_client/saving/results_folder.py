"""ResultsFolder: a folder of the user's that commands save a job's results into.

Beside the results lies a record of which job they are of and which files were put there, as they
were then. What the record has, and nobody has changed since, may be replaced and removed when
results of another job come; everything else in the folder is the user's and stays.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import stat
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from povstorm_client.errors import InputError, RecordError, StorageError
from povstorm_client.frames.ranges import first_and_last
from povstorm_client.job import Job
from povstorm_client.paths import check_workspace_path
from povstorm_client.storage.checksum import crc32c

RECORD = ".povstorm.jsonl"
FRAMES = "frames"
REPORT = "report.html"
_VERSION = 1
_PARTIAL = ".povstorm-partial-"
# A partial file that was not written to for so long belongs to nobody any more.
_ABANDONED_SECONDS = 3600.0
_LONGEST_LABEL = 24


@dataclass(frozen=True)
class Rendering:
    """What results are of, as far as it decides whether they may take the place of others.

    source: the ini or scene file with its section, absolute; "" where it is not known. words: the
    options that chose frames, size and the like; None where they are not known. frames: as ranges.
    """

    source: str
    words: tuple[str, ...] | None
    size: str
    frames: str
    video: str

    @classmethod
    def of(cls, job: Job, source: str = "", words: Iterable[str] | None = None) -> Rendering:
        """What a job renders."""
        settings = job.work_units[0].settings
        runs = first_and_last(unit.frame for unit in job.work_units)
        return cls(
            source,
            None if words is None else tuple(words),
            f"{settings.width}x{settings.height}",
            ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs),
            job.video or "",
        )

    def replaces(self, other: Rendering) -> bool:
        """Whether it is the other once more: the same command, or the same frames of one size.

        So a scene may be edited between two runs of a command, and an option that changes neither
        size nor frames may be tried out.
        """
        if self.source and other.source and self.source != other.source:
            return False
        if self.words is not None and self.words == other.words:
            return True
        return self._picture == other._picture

    @property
    def _picture(self) -> tuple[str, str, str]:
        return self.size, self.frames, self.video

    def unlike(self, other: Rendering) -> str:
        """What distinguishes it from the other, for a folder's name."""
        parts = []
        if self.source != other.source:
            parts.append(_source_label(self.source, other.source))
        # Sections are often called by their size.
        if self.size != other.size and self.size not in parts:
            parts.append(self.size)
        if self.frames != other.frames:
            parts.append(_frames_label(self.frames))
        if self.video != other.video:
            parts.append(self.video or "images")
        return re.sub(r"[^\w.,+-]+", "-", "_".join(filter(None, parts))) or "other"


def _source_label(source: str, other: str) -> str:
    """The section, the kind of file, or the folder: whichever differs first."""
    file, _, section = source.partition("[")
    other_file, _, other_section = other.partition("[")
    if section != other_section and section:
        return section.rstrip("]")
    if Path(file).suffix != Path(other_file).suffix:
        return Path(file).suffix.lstrip(".")
    return Path(file).parent.name if file != other_file else "plain"


def _frames_label(frames: str) -> str:
    if len(frames) <= _LONGEST_LABEL:
        return frames
    numbers = re.findall(r"\d+", frames)
    return f"{numbers[0]}-{numbers[-1]}-{frames.count(',') + 1}-parts"


@dataclass(frozen=True)
class _Mark:
    """A file as it was put there; crc32c "" where the storage's is not known."""

    size: int
    changed_ns: int
    crc32c: str = ""


class ResultsFolder:
    """A folder and its record; may be used by several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.job_id = ""
        self.rendering: Rendering | None = None
        # What was there already, of the user's, where a result would have gone.
        self.kept: list[str] = []
        self._files: dict[str, _Mark] = {}
        self._lock = threading.Lock()
        self._begun = False
        self._read_record()

    def check_free(self, names: Iterable[str]) -> None:
        """Raise InputError if a file is there that is not as povstorm put it there.

        Also for a link in the folder by which a result would get out of it: folders come with
        other people's scenes, and a scene chooses what its outputs are called.
        """
        for name in names:
            if not self._is_inside(name):
                raise InputError(
                    f"{self.path / name} would be written through a link that leads out of "
                    f"{self.path}: remove the link, or choose another folder with --output"
                )
            if self._is_taken(name):
                whose = "was changed since" if name in self._files else "is not povstorm's"
                raise InputError(
                    f"{self.path / name} {whose}, and a result would replace it: move it away, or "
                    "choose another folder with --output"
                )

    def begin(self, job_id: str, rendering: Rendering) -> None:
        """Make it this job's. What an earlier job has left, and nobody has changed, is removed."""
        with self._lock:
            if self._begun:
                return
            self.path.mkdir(parents=True, exist_ok=True)
            self._remove_partials()
            if self.job_id != job_id:
                for name in list(self._files):
                    if self.is_ours(name):
                        (self.path / name).unlink(missing_ok=True)
                self._files = {}
            self.job_id, self.rendering = job_id, rendering
            self._write_record()
            self._begun = True

    def has(self, name: str, checksums: Collection[str]) -> bool:
        """Whether the file is there, unchanged, with one of these crc32c."""
        mark = self._files.get(name)
        return mark is not None and mark.crc32c in checksums and self.is_ours(name)

    def put(
        self, name: str, fetch: Callable[[Path], None], checksums: Collection[str] = ()
    ) -> Path | None:
        """Put a file there, complete or not at all; returns it, None if the user's is in its place.

        fetch: writes the file to the path that it is given. checksums: what its crc32c may be, none
        if that is not known.

        Raises StorageError where the file cannot be written, RecordError if it is not what was
        stored.
        """
        check_workspace_path(name, "a result")
        target = self.path / name
        if self._is_taken(name):
            self.kept.append(name)
            return None
        partial = target.with_name(f"{_PARTIAL}{secrets.token_hex(8)}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                fetch(partial)
                checksum = crc32c(partial)
                if checksums and checksum not in checksums:
                    raise RecordError(
                        f"{name} in the storage is not what was rendered: render it again with "
                        f"`povstorm retry {self.job_id}`"
                    )
                status = partial.stat()
                # Recorded first: a file without a line would be taken for the user's.
                self._record(name, _Mark(status.st_size, status.st_mtime_ns, checksum))
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"cannot write {target}: {error.strerror or error}") from error
        return target

    def is_ours(self, name: str) -> bool:
        """Whether it is there as povstorm put it there."""
        return self._mark(name) is not None and not self._is_taken(name)

    def _is_inside(self, name: str) -> bool:
        """Whether the folder that it belongs into is below this one, wherever links lead."""
        parent = os.path.realpath((self.path / name).parent)
        return Path(parent).is_relative_to(os.path.realpath(self.path))

    def _is_taken(self, name: str) -> bool:
        """Whether something is there that povstorm did not put there like this."""
        found = self._mark(name)
        if found is None:
            return False
        mark = self._files.get(name)
        return mark is None or (found.size, found.changed_ns) != (mark.size, mark.changed_ns)

    def _mark(self, name: str) -> _Mark | None:
        """What is there now, None for nothing; what is no file below the folder never fits."""
        if not self._is_inside(name):
            return _Mark(-1, -1)
        try:
            status = (self.path / name).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:  # links in a circle, a folder that may not be looked into
            return _Mark(-1, -1)
        if not stat.S_ISREG(status.st_mode):
            return _Mark(-1, -1)
        return _Mark(status.st_size, status.st_mtime_ns)

    def _remove_partials(self) -> None:
        """What a command that was killed had not finished."""
        old = time.time() - _ABANDONED_SECONDS
        inside = (name for name in self._files if self._is_inside(name))
        for folder in {self.path, *((self.path / name).parent for name in inside)}:
            for partial in folder.glob(f"{_PARTIAL}*"):
                status = partial.lstat()
                if stat.S_ISREG(status.st_mode) and status.st_mtime < old:
                    partial.unlink()

    def _record(self, name: str, mark: _Mark) -> None:
        line = json.dumps({"file": name, **asdict(mark)})
        with self._lock:
            with (self.path / RECORD).open("a", encoding="utf-8") as record:
                record.write(f"{line}\n")
            self._files[name] = mark

    def _write_record(self) -> None:
        head = {
            "povstorm": _VERSION,
            "job": self.job_id,
            "rendering": asdict(self.rendering) if self.rendering else None,
        }
        lines = [head, *({"file": name, **asdict(mark)} for name, mark in self._files.items())]
        partial = self.path / f"{_PARTIAL}{secrets.token_hex(8)}"
        try:
            partial.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
            partial.replace(self.path / RECORD)
        finally:
            partial.unlink(missing_ok=True)

    def _read_record(self) -> None:
        """Take the record for what it is: a line that cannot be read says nothing."""
        record = self.path / RECORD
        try:
            # A pipe would be waited for, and a link leads to what is somebody else's.
            if not stat.S_ISREG(record.lstat().st_mode):
                return
            text = record.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            return  # none, or none of ours: all that is there is the user's
        head, *lines = (_plain_object(line) for line in text.splitlines() or [""])
        if head.get("povstorm") != _VERSION:
            return
        self.job_id = str(head.get("job", ""))
        self.rendering = rendering_from(head.get("rendering"))
        for line in lines:
            name, size, changed = line.get("file"), line.get("size"), line.get("changed_ns")
            checksum = line.get("crc32c", "")
            if isinstance(name, str) and type(size) is int and type(changed) is int:
                try:
                    check_workspace_path(name, "a result")
                except InputError:
                    continue
                self._files[name] = _Mark(size, changed, str(checksum))


def rendering_from(data: object) -> Rendering | None:
    """A Rendering of plain data; None for what is none."""
    if not isinstance(data, dict):
        return None
    words = data.get("words")
    texts = [data.get(name) for name in ("source", "size", "frames", "video")]
    if not all(isinstance(text, str) for text in texts):
        return None
    if words is not None and not isinstance(words, list | tuple):
        return None
    source, size, frames, video = (str(text) for text in texts)
    return Rendering(source, None if words is None else tuple(map(str, words)), size, frames, video)


def _plain_object(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def result_names(job: Job) -> list[str]:
    """What a job's results are called in the folder, as far as that is known beforehand."""
    video = [f"{job.name}.{job.video}"] if job.video else []
    return [*(f"{FRAMES}/{unit.image_name}" for unit in job.work_units), *video, REPORT]


def own_folder(plain: Path, rendering: Rendering) -> Path:
    """The folder, unless it has results that these must not replace: then one beside it."""
    held = ResultsFolder(plain).rendering
    if held is None or rendering.replaces(held):
        return plain
    beside = plain.with_name(f"{plain.name}_{rendering.unlike(held)}")
    held = ResultsFolder(beside).rendering
    if held is not None and not rendering.replaces(held):
        raise InputError(
            f"{plain} and {beside} have the results of other renders: choose a folder with --output"
        )
    return beside
