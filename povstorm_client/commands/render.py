"""``povstorm render`` and ``povstorm retry``: run a job to its end, and save what it made."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import psutil
import typer

from povstorm_client.commands.chosen_cluster import chosen_cluster
from povstorm_client.commands.dry_run import print_plan
from povstorm_client.commands.idle_options import warn_of_idle_options
from povstorm_client.commands.job_argument import JobArgument
from povstorm_client.commands.live import live_beside
from povstorm_client.commands.notification import Notify, Teller, tell_end, teller
from povstorm_client.commands.output_folder import (
    destination_of_new,
    destination_of_stored,
    reserved,
    warn_of_kept,
    whole_folder,
)
from povstorm_client.commands.prospect import print_prospect, sample_of, wants_to_go_on
from povstorm_client.commands.scene_options import (
    Audio,
    Declare,
    DryRun,
    Frames,
    Go,
    Include,
    InOrder,
    Live,
    MotionBlur,
    NoOpen,
    Output,
    Povray,
    Preview,
    Sandbox,
    SceneArgument,
    Shutter,
    Size,
    Switches,
    Threads,
    Trace,
    sandbox_mode,
    with_job_options,
)
from povstorm_client.commands.warn import tell_trace, warn
from povstorm_client.errors import InputError, JobError, PovstormError, StorageError
from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.frames.ranges import frame_ranges
from povstorm_client.job import Job
from povstorm_client.jobs.frame_outputs import damage_lines
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.jobs.kept_prediction import keep_prediction, kept_prediction
from povstorm_client.jobs.statistics_table import statistics_table
from povstorm_client.jobs.stored_frames import damaged_error
from povstorm_client.saving.frame_saver import FrameSaver
from povstorm_client.saving.output_memory import Destination, remember_destination
from povstorm_client.saving.results_folder import FRAMES, Rendering, ResultsFolder
from povstorm_client.saving.sound import check_sound
from povstorm_client.scene_job import read_scene, scene_job
from povstorm_client.terminal import work_unread
from povstorm_client.termination import ToldInterrupt, tell_stopped

T = TypeVar("T")
# What becomes of a live page: it is opened, only told of, or there is none.
_PageWay = Literal["open", "tell"] | None


@with_job_options
def render(
    context: typer.Context,
    scene: SceneArgument,
    switches: Switches = None,
    frames: Frames = None,
    size: Size = None,
    output: Output = None,
    include: Include = None,
    preview: Preview = False,
    dry_run: DryRun = False,
    sandbox: Sandbox = None,
    threads: Threads = None,
    trace: Trace = False,
    in_order: InOrder = False,
    declare: Declare = None,
    motion_blur: MotionBlur = None,
    shutter: Shutter = 180.0,
    povray: Povray = None,
    notify: Notify = None,
    live: Live = False,
    no_open: NoOpen = False,
    go: Go = False,
    audio: Audio = None,
    *,
    settings: JobSettings,
) -> None:
    """Render a scene: an ini file's animation, or a .pov file, without any change to it."""
    if go and not preview:
        raise InputError(
            "--go renders all after a preview: give it with --preview, or leave it out"
        )
    tell = None if notify is None else teller(notify)
    if not dry_run:
        work_unread()
    cluster = chosen_cluster(context)
    if povray is not None and cluster.outputs is not None:
        raise InputError(
            "--povray is for rendering on this machine, and the render container has a POV-Ray of "
            "its own: leave out one of --povray and --cluster"
        )
    mode = sandbox_mode(sandbox)
    read = partial(
        read_scene,
        scene,
        switches=switches,
        frames=frames,
        size=size,
        include=include,
        threads=threads,
        always_trace=trace,
        declare=declare,
        motion_blur=motion_blur or 0,
        shutter=shutter,
        refuse_unparsable=cluster.outputs is not None,
        sandbox=mode,
    )
    video = settings.video or "none"
    given = [*(switches or ()), *(f"--declare={text}" for text in declare or ())]
    words = partial(_words, given, frames=frames, size=size, video=video)

    def run(job: Job, folder: Path | None, *, as_preview: bool) -> None:
        rendering = Rendering.of(job, str(Path(scene).absolute()), words(preview=as_preview))
        destination = destination_of_new(job, folder, rendering)
        _run_and_tell(job, destination, tell, live=_page_way(live, no_open), audio=audio)

    loaded = read(preview=preview, warn=warn)
    tell_trace(loaded)
    whole = read(preview=False, warn=lambda _line: None) if preview else loaded
    shown = sample_of(loaded, whole, chosen=frames is not None) if preview else loaded
    first = scene_job(cluster, shown, settings, sandbox=mode, in_order=in_order)
    warn_of_idle_options(context, shown, first, settings)
    first.bisected = preview
    if audio is not None:
        check_sound(audio, first.video)
    if dry_run:
        print_plan(shown, first)
        return
    if not preview:
        first.prediction = kept_prediction(first.cluster.storage, first.name, first.work_units)
    run(first, output, as_preview=preview)
    if not preview:
        return
    job = scene_job(cluster, whole, settings, sandbox=mode, in_order=in_order)
    job.prediction = print_prospect(first, job)
    if job.prediction is not None:
        keep_prediction(job.cluster.storage, job.name, job.work_units, job.prediction)
    beside = None if output is None else whole_folder(output)
    if go or wants_to_go_on(job, beside):
        run(job, beside, as_preview=False)


def _words(switches: list[str] | None, *, preview: bool, **options: str | None) -> list[str]:
    """What of the command decides whose results may take the place of others."""
    given = [f"--{name}={value}" for name, value in options.items() if value is not None]
    return [*(switches or ()), *given, *(["--preview"] if preview else [])]


def retry(
    context: typer.Context,
    job_id: JobArgument,
    output: Output = None,
    sandbox: Sandbox = None,
    notify: Notify = None,
    live: Live = False,
    no_open: NoOpen = False,
) -> None:
    """Run a stored job again: renders only the frames that are not there yet."""
    tell = None if notify is None else teller(notify)
    work_unread()
    job = Job.open(chosen_cluster(context), job_id, sandbox=sandbox_mode(sandbox))
    destination = destination_of_stored(job, output)
    frames = [unit.frame for unit in job.work_units]
    damage = job.damage()
    for line in damage_lines(damage):
        warn(line)
    rendered = {result.frame for result in job.results() if result.state == "rendered"}
    missing = [frame for frame in frames if frame not in rendered or frame in damage]
    print(
        f"povstorm: {len(frames) - len(missing)} of {len(frames)} frames are there"
        + (f"; rendering {frame_ranges(missing)}" if missing else ""),
        file=sys.stderr,
    )
    _run_and_tell(job, destination, tell, live=_page_way(live, no_open))


def _page_way(live: bool, no_open: bool) -> _PageWay:
    return ("tell" if no_open else "open") if live else None


def _page(job: Job, way: _PageWay) -> AbstractContextManager[None]:
    if way is None:
        return nullcontext()
    return live_beside(job.cluster, job.job_id, no_open=way == "tell")


def _run_and_tell(
    job: Job,
    destination: Destination,
    tell: Teller | None,
    *,
    live: _PageWay,
    audio: Path | None = None,
) -> None:
    try:
        with reserved(destination.folder):
            _run_and_save(job, destination, live=live, audio=audio)
    except PovstormError as error:
        tell_end(job, tell, why=str(error))
        raise
    tell_end(job, tell)


def _run_and_save(
    job: Job, destination: Destination, *, live: _PageWay = None, audio: Path | None = None
) -> None:
    job.cluster.require_tools(job.settings)
    job.submit()
    try:
        _run_and_save_submitted(job, destination, live=live, audio=audio)
    except ToldInterrupt:
        raise
    except KeyboardInterrupt as stop:
        if _is_complete(job):
            tell_stopped(
                f". The job is complete; its results are saved by: povstorm fetch {job.job_id}"
            )
        else:
            tell_stopped(f". Go on with: povstorm retry {job.job_id}")
        raise ToldInterrupt from stop


def _run_and_save_submitted(
    job: Job, destination: Destination, *, live: _PageWay, audio: Path | None
) -> None:
    remember_destination(job.job_id, destination)
    folder = ResultsFolder(destination.folder)
    late: KeyboardInterrupt | None = None
    with FrameSaver(job, folder, destination.rendering) as saver:
        try:
            with _page(job, live):
                job.run(on_state=saver.look)
        except JobError as error:
            _save_what_is_there(job, saver, folder, error.failed_frames)
            raise
        except KeyboardInterrupt as stop:
            if not _is_complete(job):
                _save_what_is_there(job, saver, folder, None)
                raise ToldInterrupt from stop
            # What is left is a moment's work.
            late = stop
            print("povstorm: it had ended already; its results are being saved", file=sys.stderr)
        images = _saved(job, folder, saver.finish)
        video = _saved(job, folder, partial(saver.save_video, audio))
        report = _saved(job, folder, saver.save_report)
    if saver.damage:
        raise damaged_error(job.job_id, saver.damage)
    print(statistics_table(job.statistics(), whole_seconds=_since_start()))
    print(f"\njob     {job.job_id}")
    print(f"images  {images[0]}" + (f" … {images[-1].name}" if len(images) > 1 else ""))
    if video is not None:
        print(f"video   {video}")
    _print_report(job, report)
    warn_of_kept(folder, job.job_id)
    if late is not None:
        raise ToldInterrupt from late


def _save_what_is_there(
    job: Job, saver: FrameSaver, folder: ResultsFolder, failed: tuple[int, ...] | None
) -> None:
    """After a run that did not come to its end; its own error matters more than one in saving.

    failed: frames that failed for good; None for a run that was stopped.
    """
    stopped = failed is None
    then = f"{'Go on' if stopped else 'Try the rest again'} with: povstorm retry {job.job_id}"
    try:
        images = saver.finish()
        # Alone it would take the place of whole results of an earlier job.
        report = saver.save_report() if images and not stopped else None
        if failed and _cannot_be_parsed(job, failed):
            then = (
                f"Correct the scene and render it anew (povstorm retry {job.job_id} renders it as "
                "it was submitted)"
            )
    except StorageError as error:
        words = _not_saved(job, folder, error)
    else:
        words = (
            f"{len(images)} of {len(job.work_units)} frames are in {folder.path / FRAMES}."
            if images
            else f"{'No' if stopped else 'no'} frame was rendered."
        )
        if report is not None:
            print(f"report  {report}")
    first = "stopped. " if stopped else ""
    print(f"povstorm: {first}{words} {then}", file=sys.stderr)
    warn_of_kept(folder, job.job_id)


def _is_complete(job: Job) -> bool:
    state = job.readable_state()
    return state is not None and state.phase == "completed"


def _cannot_be_parsed(job: Job, failed: tuple[int, ...]) -> bool:
    """Whether none of the failed frames can end better without another scene."""
    units = [unit for unit in job.work_units if unit.frame in set(failed)]
    stored = FrameResults(job.cluster.storage, job.job_id).of(units)
    return len(stored.results) == len(failed) and all(
        result.is_scenes_mistake for result in stored.results
    )


def _saved(job: Job, folder: ResultsFolder, save: Callable[[], T]) -> T:
    try:
        return save()
    except StorageError as error:
        raise StorageError(_not_saved(job, folder, error)) from error


def _not_saved(job: Job, folder: ResultsFolder, error: StorageError) -> str:
    return (
        f"not all results could be saved to {folder.path} ({error}). They are in the storage; get "
        f"them with: povstorm fetch {job.job_id} --output FOLDER"
    )


def _print_report(job: Job, report: Path | None) -> None:
    # A job is no less complete for want of one; the flow's message says why there is none.
    if report is not None:
        print(f"report  {report}")
        return
    state = job.state()
    if state is not None and state.phase == "completed":
        print(f"report  none: {state.message}")


def _since_start() -> float:
    """Seconds since this process was started, which is when its user pressed Enter."""
    return max(0.0, time.time() - psutil.Process().create_time())
