"""The ``povstorm`` command: render a scene as it is, without a client program."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Optional

import typer

from povstorm_client.cluster import Cluster
from povstorm_client.errors import InputError, JobError, PovstormError
from povstorm_client.frame_ranges import frame_ranges
from povstorm_client.job import VIDEO_ENDINGS, Job
from povstorm_client.render_settings import RenderSettings
from povstorm_client.scene.scene import Scene, load_scene
from povstorm_client.work_unit import WorkUnit

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Render POV-Ray animations: frames in parallel, images, video and statistics back.",
)


@app.callback()
def _povstorm() -> None:
    """Render POV-Ray animations: frames in parallel, images, video and statistics back."""


@app.command(context_settings={"ignore_unknown_options": True})
def render(
    scene: Annotated[str, typer.Argument(help="FILE.ini, FILE.ini\\[section] or FILE.pov")],
    switches: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer reads it at run time
        typer.Argument(
            metavar="[POV-RAY OPTIONS]...", help="As for povray: +W640 +KFF60 +A0.3 Quality=9"
        ),
    ] = None,
    frames: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Frames to render: 1-120, 1-100x10 (every tenth), 1,5,9-12"),
    ] = None,
    size: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="WxH", help="Image size, e.g. 1920x1080"),
    ] = None,
    fps: Annotated[str, typer.Option(help="Frames a second of the video; 24000/1001 works")] = "24",
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FOLDER", help="Where to put the results; NAME_render by default"),
    ] = None,
    video: Annotated[
        str, typer.Option(help=f"Video format: {', '.join(VIDEO_ENDINGS)}, or none")
    ] = "mp4",
    include: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option(metavar="PATH", help="A file or folder the scene needs under a computed name"),
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Small and fast, to see the motion")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the frames, files and command, render nothing")
    ] = False,
    allow_missing_frames: Annotated[
        bool, typer.Option("--allow-missing-frames", help="Make the video even if frames failed")
    ] = False,
    retries: Annotated[int, typer.Option(help="Further attempts for a frame that was lost")] = 3,
    frame_timeout: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(metavar="SECONDS", help="Stop a frame that takes longer"),
    ] = None,
    threads: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="POV-Ray's threads a frame; 1 for an animation, all cores for a still"),
    ] = None,
) -> None:
    """Render a scene: an ini file's animation, or a .pov file, without any change to it."""
    for word in switches or ():
        if word.startswith("--"):
            raise InputError(f"there is no option {word}: `povstorm render --help` lists them")
    loaded = load_scene(
        scene,
        switches=tuple(switches or ()),
        frames=frames,
        size=_size(size) if size else None,
        preview=preview,
        includes=tuple(include or ()),
    )
    for warning in loaded.warnings:
        print(f"povstorm: warning: {warning}", file=sys.stderr)
    loaded = replace(loaded, settings=_with_threads(loaded, threads))
    if dry_run:
        _print_plan(loaded)
        return
    target = output or Path(f"{loaded.name}_render")
    _require_writable(target)
    is_still = len(loaded.frames) == 1
    job = Job(
        Cluster.local(),
        loaded.name,
        fps=fps,
        video=None if video == "none" or is_still else video,
        allow_missing_frames=allow_missing_frames,
        retries=retries,
        frame_timeout=frame_timeout,
    )
    job.add_shared_files(loaded.files)
    for frame in loaded.frames:
        unit = WorkUnit(loaded.settings, frame=frame)
        for name, local in loaded.inline.items():
            unit.add_inline_resource(name, local.read_bytes())
        job.add_work_unit(unit)
    _run_and_save(job, target)


@app.command()
def retry(
    job_id: Annotated[str, typer.Argument(help="The job's id, as `povstorm render` printed it")],
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FOLDER", help="Where to put the results; NAME_render by default"),
    ] = None,
) -> None:
    """Run a stored job again: renders only the frames that are not there yet."""
    job = Job.open(Cluster.local(), job_id)
    target = output or Path(f"{job.name}_render")
    _require_writable(target)
    _run_and_save(job, target)


def _run_and_save(job: Job, target: Path) -> None:
    try:
        job.run()
    except KeyboardInterrupt:
        print(
            f"povstorm: stopped; finished frames are kept. Go on with: povstorm retry {job.job_id}",
            file=sys.stderr,
        )
        raise
    except JobError:
        job.save_images(target / "frames")
        print(
            f"povstorm: what was rendered is in {target}. "
            f"Try the rest again with: povstorm retry {job.job_id}",
            file=sys.stderr,
        )
        raise
    images = job.save_images(target / "frames")
    print(job.statistics())
    print(f"job     {job.job_id}")
    print(f"images  {images[0]}" + (f" … {images[-1].name}" if len(images) > 1 else ""))
    if job.video:
        print(f"video   {job.save_video(target / f'{job.name}.{job.video}')}")


def _print_plan(scene: Scene) -> None:
    settings = scene.settings
    first = scene.frames[0]
    print(f"scene    {scene.name}, {settings.width}x{settings.height}")
    print(f"frames   {len(scene.frames)}: {frame_ranges(scene.frames)}")
    print("files    in the workspace, from this machine")
    for name, path in sorted(scene.files.items()):
        print(f"         shared/{name}  <-  {path}")
    for name, path in sorted(scene.inline.items()):
        print(f"         {name}  <-  {path}  (instead of POV-Ray's own)")
    print(f"command  {' '.join(WorkUnit(settings, frame=first).cmd)}")


def _with_threads(scene: Scene, threads: int | None) -> RenderSettings:
    """One thread gives the same pixels on every run; a still would leave other cores idle."""
    if threads is None:
        threads = 1 if scene.settings.is_animation else os.cpu_count() or 1
        if threads > 1:
            print(
                f"povstorm: a still: rendering with {threads} threads. With radiosity or jittered "
                "lights its pixels can differ between runs; --threads 1 makes them repeatable.",
                file=sys.stderr,
            )
    return replace(scene.settings, threads=threads)


def _size(text: str) -> tuple[int, int]:
    width, separator, height = text.lower().partition("x")
    if not (separator and width.isdecimal() and height.isdecimal()):
        raise InputError(f"size {text!r} is not WIDTHxHEIGHT: give for example 1920x1080")
    return int(width), int(height)


def _require_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(
            f"the output folder {folder} cannot be written to ({error.strerror}): "
            "choose another with --output"
        ) from error


def main() -> None:
    """Entry point: errors are one message on stderr and exit code 1, Ctrl-C is 130."""
    try:
        app(standalone_mode=False)
    except PovstormError as error:
        print(f"povstorm: {error}", file=sys.stderr)
        sys.exit(1)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
