"""Job: a collection of WorkUnits and the shared resources they see in ``./shared``.

Client programs fill one, run it, and take images, video and statistics from it.
"""

from __future__ import annotations

import getpass
import os
import re
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from fractions import Fraction
from functools import partial
from pathlib import Path

from povstorm_client.argument_checks import check_path, check_type
from povstorm_client.cleaning.job_deletion import delete_job, reasons_to_keep
from povstorm_client.cleaning.sweep_marker import last_sweep, swept_since
from povstorm_client.cluster import Cluster
from povstorm_client.errors import InputError, JobError, RecordError, StorageError
from povstorm_client.frames.developing import developed
from povstorm_client.frames.doubled_outputs import doubled_outputs
from povstorm_client.frames.job_settings import STALL_SECONDS, JobSettings, preference
from povstorm_client.frames.ranges import check_frame_count
from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.shared_use import SharedUse
from povstorm_client.frames.video_losses import announce_losses
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs import shared_resources
from povstorm_client.jobs.frame_results import FoundResults, FrameResults
from povstorm_client.jobs.manifest import (
    JobManifest,
    Tracing,
    check_frames,
    check_job_name,
    read_manifest,
    read_work_units,
    write_manifest,
)
from povstorm_client.jobs.prediction import Prediction
from povstorm_client.jobs.state import JobState, read_state
from povstorm_client.jobs.statistics import JobStatistics, read_statistics
from povstorm_client.jobs.stored_frames import (
    damaged_error,
    find_damage,
    read_image,
    save_outputs,
)
from povstorm_client.launch.running_flow import RunningFlow
from povstorm_client.paths import check_workspace_path
from povstorm_client.programs.sandbox_mode import SandboxMode, check_sandbox_mode, sandbox_mode_here
from povstorm_client.quantities import counted
from povstorm_client.storage import disk_full, layout
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.job_address import check_job_id, job_uri
from povstorm_client.storage.parallel import in_parallel
from povstorm_client.storage.povstorm_home import home_folder
from povstorm_client.storage.protocol import make_output_folder
from povstorm_client.terminal import printable
from povstorm_client.terminal_picture import picture_way
from povstorm_client.version import povstorm_version


class Job:
    """Frames to be rendered together, and, once it ran, what came of them.

    name: becomes part of the job id. sandbox: whether scenes that this machine renders are
    contained ("auto": where that works, "required", "off"); it is not stored with the job. lean:
    prefer's older name. The others are the fields of JobSettings, which says what they mean;
    settings holds them.

    Raises InputError for values that cannot be meant.
    """

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        *,
        fps: float | str | Fraction = "24",
        video: str | None = "mp4",
        codec: str | None = None,
        crf: int | None = None,
        tone_map: str = "clip",
        exposure: float = 0.0,
        allow_missing_frames: bool = False,
        retries: int = 3,
        frame_timeout: float | None = None,
        stall_timeout: float | None = STALL_SECONDS,
        frame_memory: int | None = None,
        sandbox: SandboxMode | None = None,
        prefer: str = "balanced",
        max_usd: float | None = None,
        seconds_per_frame: float | None = None,
        lean: str = "",
    ) -> None:
        check_type("cluster", cluster, Cluster, "a Cluster: Cluster.local() makes one")
        check_type("name", name, str, "a text")
        check_job_name(name)
        self.cluster = cluster
        self.name = name
        self.job_id = _generate_job_id(name)
        self.settings = JobSettings(
            fps=fps,
            video=video,
            codec=codec,
            crf=crf,
            tone_map=tone_map,
            exposure=exposure,
            allow_missing_frames=allow_missing_frames,
            retries=retries,
            frame_timeout=frame_timeout,
            stall_timeout=stall_timeout,
            frame_memory=frame_memory,
            prefer=preference(prefer, lean),
            max_usd=max_usd,
            seconds_per_frame=seconds_per_frame,
        )
        self.video = self.settings.video
        self._sandbox = sandbox_mode_here() if sandbox is None else check_sandbox_mode(sandbox)
        self.fleet = cluster.fleet(self.settings)
        self._shared: dict[str, Path] = {}
        self._units: list[WorkUnit] = []
        self._uses: dict[int, SharedUse] = {}
        self._manifest: JobManifest | None = None
        # Set by scene_job before it is submitted.
        self.tracing: Tracing | None = None
        self.prediction: Prediction | None = None
        self.bisected = False

    def __repr__(self) -> str:
        frames = counted(len(self._units), "frame")
        if self._manifest is None:
            return f"<Job {self.job_id}: {frames}, not submitted>"
        try:
            state = self.state()
        except StorageError:
            return f"<Job {self.job_id}: {frames}, its state cannot be read>"
        if state is None:
            return f"<Job {self.job_id}: {frames}, submitted>"
        failed = f", {state.failed} failed" if state.failed else ""
        return f"<Job {self.job_id}: {state.phase}, {state.done} of {frames}{failed}>"

    def _repr_html_(self) -> str:
        """The job in a notebook: its state, a contact sheet of its frames, its video."""
        from povstorm_client.jobs.notebook import job_html

        return job_html(self)

    @classmethod
    def with_settings(
        cls,
        cluster: Cluster,
        name: str,
        settings: JobSettings,
        *,
        sandbox: SandboxMode | None = None,
    ) -> Job:
        """A job that is rendered as the settings say."""
        check_type("settings", settings, JobSettings, "a JobSettings: JobSettings() makes one")
        return cls(cluster, name, sandbox=sandbox, **asdict(settings))

    @classmethod
    def open(cls, cluster: Cluster, job_id: str, *, sandbox: SandboxMode | None = None) -> Job:
        """A stored job: to look at it, fetch from it, or run it again for what is missing.

        Raises InputError if the cluster has no such job.
        """
        check_type("cluster", cluster, Cluster, "a Cluster: Cluster.local() makes one")
        check_type("job_id", job_id, str, "a text")
        manifest = read_manifest(cluster.storage, job_id)
        job = cls.with_settings(cluster, manifest.name, manifest.settings, sandbox=sandbox)
        job.job_id = job_id
        job._manifest = manifest
        job.tracing = manifest.tracing
        job.prediction = manifest.prediction
        job.bisected = manifest.bisected
        job.fleet = manifest.cloud_run
        job._units = read_work_units(cluster.storage, job_id)
        check_frames(manifest, job._units)
        return job

    def add_shared_resources(self, path: str | Path, target: str = "") -> None:
        """Add a file, or a folder's content, below ``./shared/`` (below its folder ``target``).

        Raises InputError for what does not exist, leaves its folder, or is there already.
        """
        check_type("target", target, str, "a text: the folder's path below ./shared")
        found = shared_resources.files_below(check_path("path", path), target)
        for name, local in found.items():
            self._add_shared(name, local)

    def add_shared_files(self, files: dict[str, Path]) -> None:
        """Add files by name: path below ``./shared/`` → local file."""
        check_type("files", files, dict, "a dict: path below ./shared → local file")
        for name, given in files.items():
            check_type("a name in files", name, str, "a text")
            check_workspace_path(name, "shared resource")
            local = check_path(f"files[{name!r}]", given)
            if not local.is_file():
                raise InputError(f"shared resource {local} is no file: check the path")
            self._add_shared(name, local)

    def _add_shared(self, name: str, local: Path) -> None:
        self._refuse_if_submitted()
        other = self._shared.setdefault(name, local)
        if other.resolve() != local.resolve():
            raise InputError(f"shared/{name} would be both {other} and {local}: rename one")

    def add_work_unit(self, unit: WorkUnit, uses: SharedUse | None = None) -> None:
        """Add a frame; frames are added in ascending order, each once.

        uses: what it uses of the shared resources, where that is known: to the cache, the frame is
        the same as long as that is. None: all of them count.

        Raises InputError for a frame out of order or doubled, a second unit that would write the
        same image, a scene that is in neither the shared nor the inline resources, and for more
        frames than a job may have.
        """
        check_type("unit", unit, WorkUnit, "a WorkUnit: WorkUnit(settings, frame=1) makes one")
        self._refuse_if_submitted()
        check_frame_count(len(self._units) + 1)
        if self._units:
            last = self._units[-1].frame
            if unit.frame == last:
                raise InputError(
                    f"frame {unit.frame} was added twice: two work units would write the same "
                    f"output/{unit.image_name}"
                )
            if unit.frame < last:
                raise InputError(
                    f"frame {unit.frame} was added after frame {last}: "
                    "add frames in ascending order"
                )
        self._units.append(unit)
        if uses is not None:
            self._uses[unit.frame] = uses

    @property
    def work_units(self) -> tuple[WorkUnit, ...]:
        """The frames, ascending."""
        return tuple(self._units)

    @property
    def submitted(self) -> bool:
        """Whether it is stored, and so can no longer be changed."""
        return self._manifest is not None

    def submit(self) -> None:
        """Check and store the job: what is missing of its files, its work units, its manifest.

        Raises InputError for what cannot be rendered, StorageError if the storage fails.
        Submitting again changes nothing.
        """
        if self._manifest is not None:
            return
        self._check()
        announce_losses(self.settings, self._units[0].settings)
        storage = self.cluster.claimed_storage
        before = last_sweep(storage)
        digests = shared_resources.upload_missing(storage, self._shared)
        tree = shared_resources.tree_digest(digests)
        # Frames share what they use.
        used = {use: use.digest(digests) for use in set(self._uses.values())}
        previous, variant = "", ""
        for place, unit in enumerate(self._units):
            if unit.settings.variant != variant:
                previous, variant = "", unit.settings.variant
            assigned = unit.assigned(
                job_id=self.job_id,
                shared_prefix=layout.shared(tree),
                offload_prefix=layout.output(self.job_id),
                shared_digest=used[self._uses[unit.frame]] if unit.frame in self._uses else "",
                after=previous,
            )
            previous = assigned.work_unit_id if assigned.link is not None else ""
            self._units[place] = assigned
        manifest = JobManifest(
            job_id=self.job_id,
            name=self.name,
            frames=tuple(unit.frame for unit in self._units),
            shared_tree=tree,
            shared_files=digests,
            settings=self.settings,
            created=time.time(),
            created_by=_user(),
            version=povstorm_version(),
            cloud_run=self.fleet,
            tracing=self.tracing,
            prediction=self.prediction,
            bisected=self.bisected,
        )
        write_manifest(storage, manifest, self._units)
        if swept_since(storage, before):
            # What was there a moment ago may have been deleted before this job was seen.
            shared_resources.upload_missing(storage, self._shared)
        self._manifest = manifest

    def run(
        self,
        *,
        show_progress: bool = True,
        on_state: Callable[[JobState], None] | None = None,
    ) -> None:
        """Submit the job, start its flow, and poll until it ends, showing a progress bar.

        on_state is told the job's state at each poll, and must not take long. Ctrl-C stops the
        job; what is rendered stays, and run() goes on from there.

        Raises InputError or ToolError before any work is done, JobError if the job ended without
        all of its frames or its video.
        """
        from povstorm_client.jobs.progress_bar import progress_bar

        self.cluster.require_tools(self.settings)
        # What it cannot mean is told before there is work.
        picture_way(os.environ)
        self.submit()
        frames = [unit.frame for unit in self._units]
        before = self.readable_state()
        flow = self.cluster.start(self.job_id, sandbox=self._sandbox)
        try:
            with progress_bar(
                self.name, frames, visible=show_progress, read=self._reader()
            ) as show:
                while True:
                    returncode = flow.returncode
                    state = self.readable_state()
                    if state is not None and (before is None or state.run != before.run):
                        show(state)
                        if on_state is not None:
                            on_state(state)
                    if returncode is not None:
                        break
                    flow.wait(self.cluster.storage.poll_seconds)
        except BaseException:
            flow.stop()
            raise
        self._raise_unless_completed(before, returncode, flow)

    def _raise_unless_completed(
        self, before: JobState | None, returncode: int, flow: RunningFlow
    ) -> None:
        state = self.readable_state()
        if state is None or not state.ended or (before is not None and state.run == before.run):
            said = flow.last_words
            raise JobError(
                f"the flow of job {self.job_id} ended with exit code {returncode} before the job "
                f"did{f': {said}' if said else ''}; its output is in {flow.log}"
                f"{_disk_words(said, returncode, Path(flow.log))}. "
                f"`povstorm retry {self.job_id}` goes on"
            )
        if state.unrecorded and state.phase != "cancelled":
            from povstorm_client.launch.telling_time import is_never_told

            if not is_never_told():
                print(f"povstorm: {printable(state.unrecorded)}", file=sys.stderr)
        if state.phase != "completed":
            failed = tuple(result.frame for result in self.results() if result.state == "failed")
            raise JobError(f"job {self.job_id} {state.phase}: {printable(state.message)}", failed)

    def state(self) -> JobState | None:
        """What the flow is doing with the job; None before it started."""
        return read_state(self.cluster.storage, self.job_id)

    def readable_state(self) -> JobState | None:
        """The same; None too where what is stored is no state, which the next flow replaces."""
        try:
            return self.state()
        except RecordError:
            return None

    def _reader(self) -> Callable[[int], bytes] | None:
        """Reads a frame's image as a PNG, for the terminal; None where each look would be billed.

        It raises PovstormError where there is no such image.
        """
        storage = self.cluster.storage
        if not isinstance(storage, FolderStorage):
            return None
        units = {unit.frame: unit for unit in self._units}
        results = FrameResults(storage, self.job_id)

        def read(frame: int) -> bytes:
            result = results.read(units[frame])
            if result is None or result.state != "rendered":
                raise StorageError(f"frame {frame} is not rendered")
            return developed(read_image(storage, result), self.settings.tone_mapping)

        return read

    def _stored(self) -> FoundResults:
        return FrameResults(self.cluster.storage, self.job_id).of(self._units)

    def results(self) -> list[FrameResult]:
        """What is stored of each frame that was tried, ascending by frame.

        A frame whose result is not readable counts as not tried; damage() names it. InputError for
        a job that was never submitted.
        """
        self._refuse_before_submit()
        return self._stored().results

    def images(self) -> dict[int, bytes]:
        """Frame → its image as it was rendered, a PNG, OpenEXR or HDR; while the job runs too.

        Raises JobError, naming the frames, if a stored result or image is not what was rendered;
        InputError for a job that was never submitted.
        """
        self._refuse_before_submit()
        storage = self.cluster.storage
        stored = self._stored()
        if stored.unreadable:
            raise damaged_error(self.job_id, stored.unreadable)
        images = in_parallel(partial(read_image, storage), stored.rendered)
        frames = [result.frame for result in stored.rendered]
        return dict(zip(frames, images, strict=True))

    def follow(
        self,
        *,
        show_progress: bool = True,
        on_state: Callable[[JobState], None] | None = None,
    ) -> JobState:
        """Poll a job that somebody has started until it ends; returns its last state.

        As run() does, it shows a progress bar and tells on_state of the job's state at each poll.
        Ctrl-C ends it, and not the job. InputError for a job that was never submitted.
        """
        from povstorm_client.jobs.progress_bar import progress_bar

        self._refuse_before_submit()
        frames = [unit.frame for unit in self._units]
        with progress_bar(self.name, frames, visible=show_progress, read=self._reader()) as show:
            while True:
                state = self.readable_state()
                if state is not None:
                    show(state)
                    if on_state is not None:
                        on_state(state)
                    if state.ended:
                        return state
                time.sleep(self.cluster.storage.poll_seconds)

    def save_images(
        self, folder: str | Path, *, on_progress: Callable[[int, int], None] | None = None
    ) -> list[Path]:
        """Save the rendered images, and what else the frames wrote, into a folder.

        One after another, whatever their number; a file that is there already, as it was rendered,
        is not fetched again. on_progress is told how many files are there, and of how many.

        Returns the images' paths, ascending by frame. Raises JobError, naming the frames, after
        all others are saved, if a stored result or image is not what was rendered; InputError
        before the job ran.
        """
        target = check_path("folder", folder)
        self._refuse_before_run("images")
        storage = self.cluster.storage
        stored = self._stored()
        if doubled := doubled_outputs(stored.rendered):
            print(f"povstorm: {doubled}", file=sys.stderr)
        tell = on_progress or (lambda done, total: None)
        paths, damage = save_outputs(storage, stored.rendered, target, tell)
        if stored.unreadable or damage:
            raise damaged_error(self.job_id, stored.unreadable | damage)
        return paths

    def damage(self) -> dict[int, str]:
        """Frame → what is wrong with what is stored of it; running the job renders those again.

        Reads all results and compares all outputs with their checksums; "" for an image that is
        gone. Raises InputError for a job that was never submitted.
        """
        self._refuse_before_submit()
        storage = self.cluster.storage
        stored = self._stored()
        return stored.unreadable | find_damage(storage, stored.rendered, self._units)

    def save_video(self, path: str | Path) -> Path:
        """Save the video; InputError if the job has none, or one of another format."""
        target = check_path("path", path)
        if self.video is None:
            raise InputError(f"job {self.job_id} makes no video: give the Job a video format")
        if target.suffix != f".{self.video}":
            raise InputError(
                f"the video of job {self.job_id} is {self.video}, not {target.suffix or 'bare'}: "
                f"save {target.stem}.{self.video}, or give the Job another video format"
            )
        self._refuse_before_run("video")
        key = layout.video(self.job_id, self.video)
        if self.cluster.storage.stat(key) is None:
            raise InputError(f"job {self.job_id} has no video yet: run it, or look why it failed")
        make_output_folder(target.parent)
        self.cluster.storage.download(key, target)
        return target

    def has_report(self) -> bool:
        """Whether there is a report: the flow makes one when it ends."""
        return self.cluster.storage.stat(layout.report(self.job_id)) is not None

    def require_report(self) -> None:
        """InputError, with the remedy, if there is no report yet."""
        self._refuse_before_run("report")
        if not self.has_report():
            raise InputError(
                f"job {self.job_id} has no report: its flow makes one when it ends; "
                f"run it with `povstorm retry {self.job_id}`"
            )

    def save_report(self, path: str | Path) -> Path:
        """Save the report, a page that opens offline; InputError if the job has none yet."""
        target = check_path("path", path)
        self.require_report()
        make_output_folder(target.parent)
        self.cluster.storage.download(layout.report(self.job_id), target)
        return target

    def statistics(self) -> JobStatistics:
        """The job's statistics; InputError before it ran. Printing them shows a table."""
        self._refuse_before_run("statistics")
        key = layout.statistics(self.job_id)
        if self.cluster.storage.stat(key) is None:
            raise InputError(f"job {self.job_id} has no statistics yet: run it first")
        return read_statistics(self.cluster.storage, self.job_id)

    def delete(self) -> None:
        """Delete all that is stored of the job: frames, video, statistics, logs.

        Jobs that took over frames of it have their own. Raises InputError while it runs, or is to
        run: cancel it first.
        """
        cluster = self.cluster
        at_work = cluster.jobs_at_work()
        storage = cluster.claimed_storage
        reasons = reasons_to_keep(storage, [self.job_id], at_work=at_work)
        for reason in reasons.values():
            raise InputError(f"job {self.job_id} is not deleted: {reason}")
        delete_job(storage, self.job_id, with_cache=False)
        # Importing what knows of Prefect's servers takes time that other commands do not have.
        from povstorm_client.launch.kept_journals import forget_job

        forget_job(home_folder(), job_uri(storage, self.job_id))
        self._manifest = None

    def _check(self) -> None:
        if not self._units:
            raise InputError(f"job {self.name!r} has no frames: add a WorkUnit for each")
        images: dict[str, int] = {}
        for unit in self._units:
            other = images.setdefault(unit.image_name, unit.frame)
            if other != unit.frame:
                raise InputError(
                    f"frames {other} and {unit.frame} would both write output/{unit.image_name}: "
                    "give them the same RenderSettings"
                )
            scene = unit.settings.scene
            if scene.removeprefix("shared/") not in self._shared and (
                scene not in unit.inline_resource
            ):
                raise InputError(
                    f"frame {unit.frame} renders {scene}, which is neither among the shared "
                    "resources nor inline: add it with add_shared_resources"
                )

    def _refuse_before_submit(self) -> None:
        if self._manifest is None:
            raise InputError(f"job {self.name!r} has not run: call its run() first")

    def _refuse_before_run(self, what: str) -> None:
        self._refuse_before_submit()
        if self.state() is None and not self.results():
            raise InputError(f"job {self.job_id} has no {what} yet: it has not run; call its run()")

    def _refuse_if_submitted(self) -> None:
        if self._manifest is not None:
            raise InputError(
                f"job {self.job_id} is submitted and cannot be changed: make a new Job"
            )


def _generate_job_id(name: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-")[:60] or "job"
    job_id = f"{words}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    check_job_id(job_id)
    return job_id


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _disk_words(said: str, returncode: int, flow_log: Path) -> str:
    """That a disk was full, if that ended a flow, which may have had no room to say so.

    said: what the flow did say.
    """
    full = disk_full.full_folders(disk_full.folders_of_a_flow(flow_log.parent))
    if disk_full.is_said(said) or not (full or returncode == disk_full.EXIT_STATUS):
        return ""
    where = " and ".join(map(str, full)) or "a folder of the job's"
    return f"; {disk_full.disk_full_words(where, 'make room there')}"
