"""Render one frame of a stored job into a folder that stays, to see what POV-Ray sees.

``povstorm frame`` runs it as a child process: ``python -P -m render_image.open_frame JOB_URI FRAME
FOLDER``. The job is only read. What POV-Ray prints goes to standard error as it comes, or only into
the folder with ``--quiet``.
"""

from __future__ import annotations

import argparse
import asyncio
import codecs
import hashlib
import io
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

from povstorm_client.errors import InputError, PovstormError, RecordError, StorageError
from povstorm_client.frames.developing import is_unbounded, light_of
from povstorm_client.frames.ranges import frame_ranges
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.jobs.manifest import JobManifest, read_manifest, read_work_units
from povstorm_client.jobs.shared_resources import sha256
from povstorm_client.jobs.storage_marker import check_storage
from povstorm_client.programs.sandbox_mode import announce_sandbox, sandbox_mode_here
from povstorm_client.programs.tools import require_povray
from povstorm_client.scene.changed_settings import changed_settings
from povstorm_client.storage import layout
from povstorm_client.storage.checksum import crc32c_of
from povstorm_client.storage.credentials import google_credentials
from povstorm_client.storage.job_address import open_job
from povstorm_client.storage.parallel import in_parallel
from povstorm_client.storage.protocol import Storage
from povstorm_client.terminal import print_only_text
from render_image.frame_limits import Limits
from render_image.image_check import check_image
from render_image.povray_environment import prepare_environment
from render_image.povray_failure import raise_for_exit
from render_image.process import run_process
from render_image.rerun_script import write_rerun_script
from render_image.sandbox import open_sandbox
from render_image.workspace import lay_out_workspace

_FAILED = 1
_TAIL_SECONDS = 0.1
# Both begin a line of their own in POV-Ray's output.
_LINE_ENDS = re.compile(r"\r\n?")


def main(arguments: list[str]) -> int:
    """Render the frame; returns 0, 1 where it failed, or 130 where Ctrl-C stopped it."""
    parser = argparse.ArgumentParser(prog="python -m render_image.open_frame")
    parser.add_argument("job_uri")
    parser.add_argument("frame", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gcp-credentials", default="")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("switches", nargs="*")
    given = parser.parse_args(arguments)
    print_only_text()
    try:
        storage, job_id = open_job(given.job_uri, google_credentials(given.gcp_credentials))
        check_storage(storage)
        manifest = read_manifest(storage, job_id)
        stored = _find_unit(storage, manifest, given.frame)
        settings = changed_settings(stored.settings, given.switches)
        if given.threads is not None:
            settings = replace(settings, threads=given.threads)
        unit = replace(stored, settings=settings)
        announce_sandbox(sandbox_mode_here())
        image = asyncio.run(_render(unit, storage, manifest, given.folder, given.quiet))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except PovstormError as error:
        print(f"povstorm: {error}", file=sys.stderr)
        return _FAILED
    print(f"image   {image}{_compared(storage, stored, unit, image)}")
    return 0


def _find_unit(storage: Storage, manifest: JobManifest, frame: int) -> WorkUnit:
    for unit in read_work_units(storage, manifest.job_id):
        if unit.frame == frame:
            return unit
    raise InputError(
        f"job {manifest.job_id} has no frame {frame}: it has {frame_ranges(manifest.frames)}"
    )


async def _render(
    unit: WorkUnit, storage: Storage, manifest: JobManifest, folder: Path, quiet: bool
) -> Path:
    """The image's path; RenderError if it is not rendered."""
    povray = await asyncio.to_thread(require_povray)
    bwrap = await asyncio.to_thread(open_sandbox, povray, sandbox_mode_here())
    _make_empty(folder)
    root = folder.resolve()
    files = manifest.shared_files if unit.shared_resource_gcs_prefix else {}
    workspace = lay_out_workspace(
        unit,
        root,
        partial(_copy_shared, storage, unit, files) if files else None,
        left=FrameResults(storage, unit.job_id).left_to(unit),
    )
    environment = prepare_environment(workspace, povray, bwrap)
    limits = Limits.of_job(manifest.settings).for_image(unit.settings.width, unit.settings.height)
    limits = limits.beside(workspace.laid_out)
    command = [str(povray.path), *unit.cmd[1:]]
    script = write_rerun_script(
        root,
        f"Frame {unit.frame} of job {manifest.job_id}",
        command,
        folder=workspace.current,
        environment=environment,
        limits=limits,
        before=bwrap.arguments(workspace, environment) if bwrap else None,
    )
    print(f"again   {folder / script.name}")
    print(f"scene   {folder / workspace.folder.name}")
    print(f"log     {folder / workspace.log.name}", flush=True)
    async with nullcontext() if quiet else _printed(workspace.log):
        exited = await run_process(
            command,
            cwd=workspace.current,
            environment=environment,
            log=workspace.log,
            timeout=manifest.settings.frame_timeout,
            limits=limits,
            folders=(workspace.folder, workspace.temporary),
            sandbox=partial(bwrap.arguments, workspace, environment) if bwrap else None,
            system_calls=bwrap.system_calls if bwrap else b"",
        )
    log = workspace.log.read_text("utf-8", errors="replace")
    raise_for_exit(exited, log, manifest.settings.frame_timeout, limits, workspace.current)
    check_image(workspace.output / unit.image_name, unit.settings.width, unit.settings.height)
    return folder / workspace.folder.name / "output" / unit.image_name


def _make_empty(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = any(folder.iterdir())
    except OSError as error:
        raise InputError(
            f"the folder {folder} cannot be made ({error.strerror}): choose another with --output"
        ) from error
    if occupied:
        raise InputError(
            f"the folder {folder} is not empty: choose another with --output, or delete it"
        )


def _copy_shared(storage: Storage, unit: WorkUnit, files: dict[str, str], folder: Path) -> None:
    """Copy the shared resources: files that can be edited, and nothing of the job's own.

    files: path → SHA-256. Before the job's flow first ran there are only their blobs.
    """
    prefix = unit.shared_resource_gcs_prefix
    staged = {stored.key for stored in storage.list(prefix)}

    def fetch(path: str) -> None:
        key = f"{prefix}/{path}"
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        key = key if key in staged else layout.blob(files[path])
        storage.download(key, target)
        if sha256(target) != files[path]:
            raise StorageError(
                f"{key} in {storage.uri} is not what was submitted: submit the job again"
            )

    for _ in in_parallel(fetch, files):
        pass


@asynccontextmanager
async def _printed(log: Path) -> AsyncIterator[None]:
    """Print what is written to the log for as long as the block runs."""
    printing = asyncio.create_task(_follow(log))
    try:
        yield
    finally:
        printing.cancel()
        await asyncio.wait({printing})


async def _follow(log: Path) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    position = 0

    def print_more(*, last: bool = False) -> None:
        nonlocal position
        if not log.exists():
            return
        with log.open("rb") as file:
            file.seek(position)
            text = decoder.decode(file.read(), last)
            position = file.tell()
        sys.stderr.write(_LINE_ENDS.sub("\n", text))
        sys.stderr.flush()

    try:
        while True:
            print_more()
            await asyncio.sleep(_TAIL_SECONDS)
    finally:
        print_more(last=True)


def _compared(storage: Storage, stored: WorkUnit, unit: WorkUnit, image: Path) -> str:
    """How the image compares with the job's, in words; "" where that says nothing."""
    results = FrameResults(storage, stored.job_id)
    if unit.cmd != stored.cmd or not results.has_image(stored):
        return ""
    try:
        result = results.read(stored)
        checksum = result.image_crc32c if result is not None else ""
        data = results.image(stored)
        if checksum not in ("", crc32c_of(data)):
            raise RecordError("its checksum is another")
        pixels = _pixels(data)
    except (RecordError, OSError, ValueError, SyntaxError) as error:
        return (
            f"  (the job's own image is not what was rendered, {error}: "
            f"`povstorm retry {stored.job_id}` renders it again)"
        )
    same = pixels == _pixels(image.read_bytes())
    return "  (the job's pixels)" if same else "  (not the pixels of the job's image)"


def _pixels(data: bytes) -> tuple[str, str]:
    from PIL import Image

    if is_unbounded(data):
        return "light", hashlib.sha256(light_of(data)).hexdigest()
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        return image.mode, hashlib.sha256(image.tobytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
