"""The folder that a command saves into: which one, and whether it may, before any work starts."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from povstorm_client.commands.warn import warn
from povstorm_client.errors import InputError
from povstorm_client.job import Job
from povstorm_client.saving.output_memory import Destination, remembered_destination
from povstorm_client.saving.results_folder import (
    RECORD,
    Rendering,
    ResultsFolder,
    own_folder,
    result_names,
)


def _unwritable(folder: Path, error: OSError) -> InputError:
    return InputError(
        f"the output folder {folder} cannot be written to ({error.strerror}): choose another with "
        "--output"
    )


@contextmanager
def reserved(folder: Path) -> Iterator[None]:
    """The folder, which is made, is this command's alone while the block runs.

    Raises InputError if another command saves there, or the folder cannot be made. One that nothing
    came into is removed.
    """
    made, descriptor = _locked(folder)
    try:
        yield
    finally:
        # While it is locked: what another command locks next is another folder, or this one.
        for each in made:
            with contextlib.suppress(OSError):
                each.rmdir()
        os.close(descriptor)


def _locked(folder: Path) -> tuple[list[Path], int]:
    """The folders that had to be made, innermost first, and the descriptor that holds the lock."""
    while True:
        made = [each for each in (folder, *folder.parents) if not each.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = _opened(folder)
        except OSError as error:
            raise _unwritable(folder, error) from error
        if descriptor is None:
            continue  # another command, which had made it, has just removed it
        try:
            _lock(descriptor, folder)
            if _is_at(folder, descriptor):
                return made, descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _opened(folder: Path) -> int | None:
    try:
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(
            f"another povstorm command is saving to {folder}: wait for its end, or choose "
            "another folder with --output"
        ) from error
    except OSError:
        pass  # a file system without locks; what two commands leave each other is told then


def _is_at(folder: Path, descriptor: int) -> bool:
    """Whether it is the opened folder that lies there, and not another, or none."""
    try:
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    except FileNotFoundError:
        return False


def destination_of_new(job: Job, output: Path | None, rendering: Rendering) -> Destination:
    """Where a new job's results go: to ``--output``, else NAME_render, or one beside it.

    Raises InputError if the folder cannot be written to, or has files of the user's in their place.
    """
    plain = Path(f"{job.name}_{'preview' if '--preview' in (rendering.words or ()) else 'render'}")
    folder = output or own_folder(plain, rendering)
    if output is None and folder != plain:
        _say(f"{plain} has results of another render; these go to {folder}")
    return _checked(job, Destination(folder, rendering))


def whole_folder(preview: Path) -> Path:
    """Where all frames go after a preview that somebody has chosen a folder for: beside that."""
    named = preview if preview.name not in ("", "..") else Path(os.path.abspath(preview))  # noqa: PTH100
    return named.parent / f"{named.name}_render"


def destination_of_stored(job: Job, output: Path | None) -> Destination:
    """Where a stored job's results go: to ``--output``, else where they went before.

    Where they never went anywhere from here, that is NAME_render; and if another job's results have
    come there since, a folder of the job's own. Raises InputError as destination_of_new does.
    """
    known = remembered_destination(job.job_id)
    rendering = known.rendering if known else Rendering.of(job)
    folder = output or (known.folder if known else Path(f"{job.name}_render"))
    if output is None and ResultsFolder(folder).job_id not in ("", job.job_id):
        other, folder = folder, folder.parent / job.job_id
        _say(f"{other} has results of another job; these go to {folder}")
    return _checked(job, Destination(folder, rendering))


def _checked(job: Job, destination: Destination) -> Destination:
    with reserved(destination.folder):
        _check_writable(destination.folder)
        _check_free(job, destination)
    return destination


def _check_writable(folder: Path) -> None:
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise _unwritable(folder, error) from error


def _check_free(job: Job, destination: Destination) -> None:
    folder = ResultsFolder(destination.folder)
    record = folder.path / RECORD
    if record.is_symlink() or (record.exists() and not record.is_file()):
        raise InputError(f"{record} is no file: move it away")
    folder.check_free(result_names(job))


def warn_of_kept(folder: ResultsFolder, job_id: str) -> None:
    """Warn of files that were left as they are: the user's, or those of another command."""
    now = ResultsFolder(folder.path)
    theirs = [name for name in folder.kept if now.is_ours(name)]
    if theirs:
        more = f" and {len(theirs) - 1} more" if len(theirs) > 1 else ""
        warn(
            f"another povstorm command saved to {folder.path} at the same time, and "
            f"{theirs[0]}{more} are its: `povstorm fetch {job_id} --output FOLDER` has this job's"
        )
    for name in folder.kept:
        if name not in theirs:
            warn(f"{folder.path / name} is not povstorm's and was left as it is")


def _say(line: str) -> None:
    print(f"povstorm: {line}", file=sys.stderr)
