"""What ``povstorm doctor`` looks at on this machine: programs, room, Prefect, the clock."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from povstorm_client.cleaning.job_deletion import storage_time
from povstorm_client.doctor.check import Check, checked, judged
from povstorm_client.errors import StorageError, ToolError
from povstorm_client.launch.prefect_home import require_prefect_home
from povstorm_client.launch.prefect_server import (
    VARIABLE,
    require_server,
    server_version,
)
from povstorm_client.programs import povray_waits
from povstorm_client.programs.bubblewrap import bubblewrap_problem
from povstorm_client.programs.cores import cores
from povstorm_client.programs.measure_waits import measure_waits
from povstorm_client.programs.sandbox_mode import sandbox_mode_here
from povstorm_client.programs.tools import require_ffmpeg, require_povray
from povstorm_client.quantities import byte_size, core_words, memory_size
from povstorm_client.scene.search import installed_folders, system_ini
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.protocol import Storage
from povstorm_client.terminal import one_line

# A job of some hundred small frames and their video; workspaces and images in work.
_LEAST_STORAGE_BYTES = 1 << 30
_LEAST_TEMPORARY_BYTES = 512 << 20
# Prefect's server takes some 250 MB (measured), a light frame 64 MB.
_LEAST_MEMORY_BYTES = 512 << 20
# Ages decide what is deleted, and whether a flow lives: in quarters of an hour.
_MOST_SECONDS_APART = 60.0
_PROBE_SECONDS = 30.0


def check_povray() -> Iterator[Check]:
    """POV-Ray, and the includes that scenes expect beside it."""
    remedy = "sudo apt install povray"
    yield checked("POV-Ray", lambda: require_povray().version, remedy)

    def includes() -> str:
        folders = [folder for folder in installed_folders() if (folder / "colors.inc").is_file()]
        if not folders:
            raise ToolError(
                f"colors.inc is in none of the library paths of {system_ini()}"
                if system_ini()
                else "POV-Ray's povray.ini, which names their folder, is neither in "
                "/etc/povray/3.7 nor in /usr/local/etc/povray/3.7"
            )
        return str(folders[0])

    yield checked("POV-Ray's includes", includes, "sudo apt install povray-includes")


def check_waits() -> Check:
    """What POV-Ray's waits take here, and whether povstorm's library ends them."""
    name = "POV-Ray's waits"
    remedy = "" if os.environ.get(povray_waits.VARIABLE) == "off" else povray_waits.INSTALL
    try:
        seconds = measure_waits(require_povray(), runs=2)
    except ToolError as error:
        return Check(name, passed=True, known=False, finding=f"not measured: {error}")
    takes = f"an empty picture takes {seconds['plain']:.2f} s"
    if why := povray_waits.why_without():
        slept = f"{takes}, most of which POV-Ray sleeps, as of each frame: {why}"
        return Check(name, passed=True, finding=slept, remedy=remedy)
    shorter = f"{seconds['short']:.2f} s with povstorm's library, by which frames are rendered"
    return Check(name, passed=True, finding=f"{takes}, and {shorter}")


def check_ffmpeg() -> Check:
    """Ffmpeg and ffprobe, which make the video, run."""

    def look() -> str:
        return ", ".join(_version_line(path) for path in require_ffmpeg())

    return checked("ffmpeg", look, "run `make setup`, or sudo apt install ffmpeg")


def check_sandbox() -> Check:
    """Scenes are contained, unless nobody wants that."""

    def look() -> str:
        if sandbox_mode_here() == "off":
            return "off, as POVSTORM_SANDBOX says: scenes can read and write your files"
        if problem := bubblewrap_problem():
            raise ToolError(problem)
        return "bubblewrap works"

    return checked(
        "sandbox",
        look,
        "sudo apt install bubblewrap, and allow unprivileged user namespaces; or accept with "
        "POVSTORM_SANDBOX=off that scenes can read and write your files",
    )


def check_storage_folder(open_storage: Callable[[], Storage]) -> Iterator[Check]:
    """The storage's folder is nobody else's to write to, and has room."""
    try:
        storage = open_storage()
    except StorageError:
        return  # said already, by who looked whether it can be written to
    if not isinstance(storage, FolderStorage):
        return

    def private() -> str:
        mode = storage.root.stat().st_mode
        if mode & 0o022:
            raise StorageError(f"{storage.root} may be written to by others: {mode & 0o777:04o}")
        return f"{storage.root} is written to by its owner alone"

    yield checked("storage's rights", private, f"chmod go-w {storage.root}")
    yield _check_room("storage's room", storage.root, _LEAST_STORAGE_BYTES, "povstorm clean")


def check_temporary_folder() -> Check:
    """Where frames are rendered before they are stored."""
    try:
        folder = Path(tempfile.gettempdir())
    except OSError as error:
        return Check(
            "temporary folder",
            passed=False,
            finding=one_line(error),
            remedy="make /tmp writable, or set TMPDIR to a folder that is",
        )
    return _check_room(
        "temporary folder", folder, _LEAST_TEMPORARY_BYTES, "or set TMPDIR to a folder with room"
    )


def _check_room(name: str, folder: Path, least: int, remedy: str) -> Check:
    def look() -> str:
        try:
            free = shutil.disk_usage(folder).free
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise StorageError(f"{folder}: {error.strerror}") from error
        if free < least:
            raise StorageError(f"{folder} has {byte_size(free)} left, of {byte_size(least)} needed")
        return f"{byte_size(free)} free in {folder}"

    return checked(name, look, f"make room there; {remedy}")


def check_memory() -> Check:
    """Memory and cores for POV-Ray and Prefect."""
    from povstorm_client.programs.memory import available_memory

    free = available_memory()
    return judged(
        "memory and cores",
        passed=free >= _LEAST_MEMORY_BYTES,
        finding=f"{memory_size(free)} free, {core_words(cores())}",
        remedy=f"end other programs: Prefect and a frame need {memory_size(_LEAST_MEMORY_BYTES)}",
    )


def check_prefect() -> Iterator[Check]:
    """Prefect's folder can be written to, and the chosen server answers, of a version that fits."""

    def home() -> str:
        return f"{require_prefect_home()} can be written to"

    yield checked("Prefect's folder", home, "make it writable, or set PREFECT_HOME to another")

    def server() -> str:
        chosen = require_server()
        if chosen is None:
            return "none is chosen: each run starts one of its own"
        theirs, ours = server_version(chosen), version("prefect")
        if theirs is not None and theirs.split(".")[:1] != ours.split(".")[:1]:
            raise ToolError(f"{chosen.url} is Prefect {theirs}, this client has {ours}")
        return f"{chosen.url} answers" + (f", version {theirs}" if theirs else "")

    yield checked(
        "Prefect's server",
        server,
        "start it with `prefect server start`, install the same version of Prefect, or unset "
        f"{VARIABLE} (or choose another profile with `prefect profile use`)",
    )


def check_clock(open_storage: Callable[[], Storage]) -> Check:
    """The clock of this machine agrees with the storage's."""

    def look() -> str:
        before = time.time()
        theirs = storage_time(open_storage())
        apart = max(0.0, before - theirs, theirs - time.time())
        if apart > _MOST_SECONDS_APART:
            raise StorageError(f"it is {apart:.0f} s apart from the storage's")
        return "agrees with the storage's"

    return checked("clock", look, "set it, or have it set: sudo timedatectl set-ntp true")


def _version_line(path: str) -> str:
    try:
        done = subprocess.run(
            [path, "-version"], capture_output=True, timeout=_PROBE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolError(f"{path} cannot be run: {one_line(error)}") from error
    if done.returncode != 0:
        raise ToolError(f"{path} -version ended with exit code {done.returncode}")
    words = done.stdout.decode(errors="replace").split()
    return f"{Path(path).name} {words[2] if len(words) > 2 else '?'}"
