"""A whole job on Cloud Run, from submit to a video that plays, with what each process takes.

``python -m benchmarks.end_to_end [--frames 14400] [--seconds 10] [--at-once 1000]
[--quota 1000] [--size 320x180]``. Client, flow, Prefect, the
Admin API's stand-in over HTTP and the making of the video are real, in real time; a container
waits as long as its frame is said to take, claims and stores as the real one does, and stores a
picture that was made before. For a segment of the video it waits as long as one vCPU takes, and
stores one that was encoded of these pictures before: a thousand containers are not to share the
cores of this machine. What the flow encodes, it does encode.

The storage is a folder; ``--bucket`` takes a GCS server instead and counts the calls to it, which
is for some hundred frames. What tells Prefect of all frames is ended with the job, or, with
``--told``, waited for. Aim: a minute beside the rendering, and 3 ms of the flow's and the client's
CPU time a frame.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import math
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import psutil
from PIL import Image, ImageDraw

from benchmarks.simulated_cloud_run import rendered
from povstorm_client import Cluster, Job, RenderSettings, WorkUnit
from povstorm_client.cloud_run.api import EMULATOR_VARIABLE
from povstorm_client.cloud_run.given_segments import look_for
from povstorm_client.cloud_run.stored_plan import read_plan
from povstorm_client.cloud_run.terraform_outputs import read_terraform_outputs
from povstorm_client.cloud_run.wave_share import SegmentWork, WaveShare, open_wave, read_share
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.programs.tools import require_ffmpeg
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.open_storage import open_storage
from povstorm_client.storage.protocol import Storage
from render_image.frame_queue import FrameQueue
from render_image.video.encode_share import LOOK_SECONDS
from render_image.video.segments import (
    Encoding,
    FrameImage,
    StoredImage,
    encode_segment,
    most_frames,
    plan_segments,
    segment_name,
)
from render_image.video.stored_segments import SegmentStore, StoredSegment
from render_image.video.video_formats import cost_of
from tests.e2e.google_cloud import terraform_outputs
from tests.emulators.cloud_run.containers import ContainerEnd, ContainerSpec
from tests.emulators.cloud_run.server import PROJECT, REGION
from tests.emulators.gcs.proxy import GcsProxy
from tests.emulators.gcs.server import GcsServer
from tests.emulators.processes import free_port, wait_for_port

ROOT = Path(__file__).parents[1]
RENDER_JOB = "render-2g"
STARTUP_SECONDS = 10.0
# So many different pictures, over and over.
PICTURES = 48
LOG = b"Render Statistics: none, as nothing was rendered\n" * 40
# Of a PNG, its last chunk, which says that it is.
_PNG_END = 12
ROW = "{:<34}{:>9}{:>10}{:>16}"


@dataclass(frozen=True)
class Film:
    """frames of so many seconds each, at_once of them at a time, of a size in pixels.

    quota: how many tasks may run at once, those that encode included.
    """

    frames: int
    seconds: float
    at_once: int
    quota: int
    size: tuple[int, int]

    @classmethod
    def of(cls, options: argparse.Namespace) -> Film:
        """As the command line says."""
        width, height = (int(part) for part in options.size.split("x"))
        quota = options.quota or options.at_once
        return cls(options.frames, options.seconds, options.at_once, quota, (width, height))

    def options(self) -> list[str]:
        """The same for another process of the benchmark."""
        return [
            *("--frames", str(self.frames), "--seconds", str(self.seconds)),
            *(
                "--at-once",
                str(self.at_once),
                "--quota",
                str(self.quota),
                "--size",
                "{}x{}".format(*self.size),
            ),
        ]

    @property
    def least_seconds(self) -> float:
        """From the first `run` to the last frame."""
        return STARTUP_SECONDS + math.ceil(self.frames / self.at_once) * self.seconds


def make_pictures(folder: Path, size: tuple[int, int]) -> None:
    """Something that moves, as PNG files."""
    folder.mkdir()
    for number in range(PICTURES):
        image = Image.new("RGB", size, (20, 40, 4 * number))
        place = size[0] * number // PICTURES
        ImageDraw.Draw(image).ellipse((place, 60, place + 60, 120), fill=(250, 160, 20))
        image.save(folder / f"{number}.png")


def _comment(text: str) -> bytes:
    """A PNG's chunk that says this."""
    chunk = b"tEXtComment\0" + text.encode()
    return struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))


class SegmentCopies:
    """Segments that differ only in what they are called: each is encoded once, and stored often."""

    def __init__(self, film: Film, pictures: Path) -> None:
        self._pixels = math.prod(film.size)
        self._encoded: dict[tuple[int, ...], tuple[StoredSegment, bytes]] = {}
        encoding = Encoding.of(Path("video.mp4"), Fraction(24), "")
        frames = range(1, film.frames + 1)
        with tempfile.TemporaryDirectory(prefix="povstorm-segments-") as folder:
            store = SegmentStore(FolderStorage(Path(folder)), "segments")
            for segment in plan_segments(frames, most_frames(self._pixels, encoding)):
                shown = tuple(frame % PICTURES for frame in segment)
                if shown not in self._encoded:
                    images = [FrameImage(n, pictures / f"{n}.png") for n in shown]
                    made = encode_segment(
                        images, store, encoding, has_alpha=False, cancelled=threading.Event()
                    )
                    self._encoded[shown] = made.stored, b"".join(store.read(made.stored))

    async def store(self, work: SegmentWork, storage: Storage, job_id: str) -> None:
        """Be a container of one vCPU that encodes this segment."""
        _, seconds_per_pixel = cost_of(work.ending, work.options)
        await asyncio.sleep(self._pixels * seconds_per_pixel * len(work.images))
        encoded = self._encoded[tuple(image.frame % PICTURES for image in work.images)]
        await asyncio.to_thread(_store_copy, *encoded, work, storage, job_id)


def _store_copy(
    stored: StoredSegment, data: bytes, work: SegmentWork, storage: Storage, job_id: str
) -> None:
    """As encode_segment does; the images are not read."""
    encoding = Encoding.of(Path(f"video.{work.ending}"), Fraction(work.fps), "", work.options)
    images = [
        FrameImage(image.frame, StoredImage(storage, image.key), image.crc32c)
        for image in work.images
    ]
    name = segment_name(images, encoding, has_alpha=work.has_alpha)
    store = SegmentStore(storage, layout.segments(job_id))
    writer = store.writer(name)
    writer.add(data)
    store.commit(replace(stored, name=name, parts=writer.end()))


class Containers:
    """What the stand-in runs for each task: frames on the clock, segments for real."""

    def __init__(self, film: Film, pictures: Path) -> None:
        self._film = film
        self._pictures = [(pictures / f"{n}.png").read_bytes() for n in range(PICTURES)]
        self._segments = SegmentCopies(film, pictures)

    async def __call__(self, spec: ContainerSpec) -> ContainerEnd | None:
        """Do the share of one task."""
        storage, wave = open_wave(spec.arguments[-1])
        share = await asyncio.to_thread(read_share, storage, wave, spec.index)
        if share.segments or share.patience is not None:
            async for work in _segments_of(share, storage, wave, spec.index):
                await self._segments.store(work, storage, layout.job_of_wave(wave))
            return None
        queue = FrameQueue(storage, wave, spec.index, share)
        while frame := await queue.next_own() or await queue.next_of_others():
            began = time.time()
            await asyncio.sleep(self._film.seconds)
            host = f"{spec.execution}/task-{spec.index}"
            result = rendered(frame, self._film.seconds, began, host)
            await asyncio.to_thread(self._store, storage, result)
        return None

    def _store(self, storage: Storage, result: FrameResult) -> None:
        picture = self._pictures[result.frame % PICTURES]
        with tempfile.NamedTemporaryFile() as image:
            # No two are equal: segments of equal pictures would be encoded once.
            image.write(picture[:-_PNG_END] + _comment(str(result.frame)) + picture[-_PNG_END:])
            image.flush()
            size = image.tell()
            width, height = self._film.size
            sized = replace(result, image_bytes=size, width=width, height=height)
            results = FrameResults(storage, result.job_id)
            results.commit_files(sized, Path(image.name), {}, log=LOG)


async def _segments_of(
    share: WaveShare, storage: Storage, wave: str, task: int
) -> AsyncIterator[SegmentWork]:
    """As given_segments does it; a thread for each of a thousand containers would be too many."""
    for work in share.segments:
        yield work
    left = share.patience or 0.0
    for number in itertools.count() if share.patience is not None else ():
        began = time.monotonic()
        while (gift := await asyncio.to_thread(look_for, storage, wave, task, number)) == "not yet":
            if time.monotonic() - began >= left:
                return
            await asyncio.sleep(LOOK_SECONDS)
        left -= time.monotonic() - began
        if gift.segment is None:
            return
        yield gift.segment


async def serve_cloud(port: int, film: Film, pictures: Path) -> None:
    """Be Cloud Run, until standard input is closed."""
    import uvicorn

    from tests.emulators.cloud_run.knobs import Knobs
    from tests.emulators.cloud_run.model import CloudRunModel
    from tests.emulators.cloud_run.rest import rest_app
    from tests.emulators.cloud_run.simulated_containers import SimulatedContainers

    knobs = Knobs(
        parallel_tasks=film.quota, vcpu_quota=float(film.quota), memory_gib_quota=4.0 * film.quota,
        startup_seconds=STARTUP_SECONDS, startup_jitter=0.2,
    )  # fmt: skip
    model = CloudRunModel(SimulatedContainers(Containers(film, pictures)), knobs)
    where = f"projects/{PROJECT}/locations/{REGION}"
    limits = {"cpu": "1", "memory": "2048Mi"}
    container = {"image": "render:benchmark", "resources": {"limits": limits}}
    template = {"containers": [container], "maxRetries": 0}
    model.create_job(where, RENDER_JOB, {"template": {"template": template}}, validate_only=False)
    server = uvicorn.Server(
        uvicorn.Config(rest_app(model), port=port, log_level="warning", lifespan="off")
    )
    asyncio.get_running_loop().add_reader(0, lambda: setattr(server, "should_exit", True))
    await server.serve()
    await model.close()


def be_client(storage_uri: str, folder: Path, film: Film) -> None:
    """What a user's program does; prints when it has submitted, and when it has the prompt."""
    outputs = read_terraform_outputs(folder / "outputs.json")
    cluster = Cluster(storage_uri, outputs)
    job = Job(cluster, "benchmark", video="mp4", prefer="fastest", fps=24)
    settings = RenderSettings("shared/scene.pov", *film.size, final_frame=film.frames)
    job.add_shared_files({"scene.pov": folder / "scene.pov"})
    for frame in range(1, film.frames + 1):
        job.add_work_unit(WorkUnit(settings, frame))
    begun = time.time()
    job.submit()
    submitted = time.time()
    job.run(show_progress=False)
    told = {"job_id": job.job_id, "begun": begun, "submitted": submitted, "ended": time.time()}
    print(json.dumps(told), flush=True)


@dataclass
class Taken:
    """CPU seconds so far and peak memory in bytes of one process.

    course: the CPU seconds by Unix time.
    """

    cpu: float = 0.0
    peak: int = 0
    course: list[tuple[float, float]] = field(default_factory=list)

    def until(self, moment: float) -> float:
        """CPU seconds by then."""
        return max((cpu for looked, cpu in self.course if looked <= moment), default=0.0)


class Watch:
    """Looks at a process and all that it starts, and those start, also after it has ended.

    programs: name → what a command line has that is of it.
    """

    def __init__(self, process: psutil.Process, programs: dict[str, str]) -> None:
        self.taken = {name: Taken() for name in programs}
        self._programs = programs
        self._known = {process.pid: process}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def is_at_work(self, name: str) -> bool:
        """Whether such a program runs."""
        return any(self._is(process) == name for process in list(self._known.values()))

    def end(self) -> None:
        """Look no more, and end what is left."""
        self._ended.set()
        self._thread.join()
        for process in self._known.values():
            with contextlib.suppress(psutil.Error):
                process.kill()

    def _run(self) -> None:
        while not self._ended.wait(0.1):
            self.look()

    def look(self) -> None:
        """Add what is there now."""
        for process in list(self._known.values()):
            try:
                for child in process.children(recursive=True):
                    self._known.setdefault(child.pid, child)
                name = self._is(process)
                if name:
                    taken = self.taken[name]
                    times = process.cpu_times()
                    taken.cpu = max(taken.cpu, times.user + times.system)
                    taken.course.append((time.time(), taken.cpu))
                    taken.peak = max(taken.peak, _peak(process.pid))
            except (psutil.Error, OSError):
                self._known.pop(process.pid, None)

    def _is(self, process: psutil.Process) -> str:
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            return ""
        return next((name for name, part in self._programs.items() if part in line), "")


def _peak(pid: int) -> int:
    """VmHWM: the most memory that was resident."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


@contextmanager
def cloud_process(folder: Path, film: Film) -> Iterator[tuple[str, psutil.Process]]:
    """Cloud Run as a process; its address."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.end_to_end", "--cloud", str(port)]
    process = subprocess.Popen(
        [*command, *film.options(), str(folder / "pictures")],
        stdin=subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        # Its segments are encoded first.
        wait_for_port(port, process, seconds=1800)
        yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
    finally:
        process.terminate()
        process.communicate(timeout=60)


def measure_job(film: Film, *, bucket: bool, told: bool) -> None:
    """Run one, and print what it took."""
    frames = film.frames
    with tempfile.TemporaryDirectory(prefix="povstorm-whole-") as name, ExitStack() as stack:
        folder = Path(name)
        make_pictures(folder / "pictures", film.size)
        (folder / "scene.pov").write_text("sphere { 0, 1 }\n", encoding="utf-8")
        os.environ.update(PREFECT_HOME=str(folder / "prefect"), POVSTORM_HOME=str(folder / "home"))
        os.environ["PREFECT_LOGGING_LEVEL"] = "WARNING"
        proxy: GcsProxy | None = None
        uri, bucket_name = (folder / "home").as_uri(), "none"
        if bucket:
            proxy = stack.enter_context(GcsProxy())
            (folder / "gcs").mkdir()
            gcs = stack.enter_context(GcsServer(proxy, folder / "gcs"))
            bucket_name = gcs.make_bucket()
            uri = f"gs://{bucket_name}"
            os.environ["STORAGE_EMULATOR_HOST"] = proxy.url
        outputs = terraform_outputs(bucket_name)
        (job,) = (each for each in outputs["render_jobs"]["value"] if each["name"] == RENDER_JOB)
        job.update(parallelism=film.at_once, task_timeout_seconds=3600)
        outputs["render_jobs"]["value"] = [job]
        (folder / "outputs.json").write_text(json.dumps(outputs), encoding="utf-8")
        address, cloud = stack.enter_context(cloud_process(folder, film))
        os.environ[EMULATOR_VARIABLE] = address
        command = [sys.executable, "-m", "benchmarks.end_to_end", "--client", uri, str(folder)]
        client = subprocess.Popen(
            [*command, *film.options()], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        watch = Watch(
            psutil.Process(client.pid),
            {
                "the client": "benchmarks.end_to_end --client",
                "the flow": "flows.local_run",
                "what tells Prefect": "flows.recorder",
                "its server": "uvicorn",
            },
        )
        output, _ = client.communicate()
        if client.returncode != 0:
            watch.end()
            raise SystemExit(f"the client ended with {client.returncode}")
        while told and watch.is_at_work("what tells Prefect"):
            time.sleep(0.5)
        told_prefect = time.time() if told else None
        watch.end()
        times_told = json.loads(output.splitlines()[-1])
        storage = open_storage(uri)
        print(
            f"\n{frames} frames of {film.seconds:g} s, {film.at_once} tasks at once, "
            "{}x{}".format(*film.size)
        )
        waited_for = [watch.taken["the client"], watch.taken["the flow"]]
        _print_times(storage, times_told, film, told_prefect, waited_for)
        print(ROW.format("", "CPU s", "peak MB", "CPU ms a frame"))
        for program, taken in watch.taken.items():
            _print_process(program, taken, frames)
        times = cloud.cpu_times()
        _print_process("(stand-in, containers)", Taken(times.user + times.system), frames)
        if proxy is not None:
            print(f"{proxy.asked.total() / frames:.2f} calls to GCS a frame")
            for kind, calls in proxy.asked.most_common(12):
                print(f"  {calls / frames:8.3f}  {kind}")


def _print_times(
    storage: Storage,
    told: dict[str, float],
    film: Film,
    told_prefect: float | None,
    waited_for: Sequence[Taken],
) -> None:
    job_id = str(told["job_id"])
    begun = told["begun"]
    plan = read_plan(storage, job_id)
    assert plan is not None  # noqa: S101 - it was rendered
    of_frames = [wave for wave in plan.waves if not wave.segments]
    of_segments = [wave for wave in plan.waves if wave.segments]
    results = [entry.changed for entry in storage.list(layout.results(job_id))]
    assert len(results) == film.frames, f"{len(results)} results"  # noqa: S101 - else it is no figure
    video = storage.stat(layout.video(job_id, "mp4"))
    page, numbers = storage.stat(layout.report(job_id)), storage.stat(layout.statistics(job_id))
    assert video is not None and page is not None and numbers is not None  # noqa: S101
    last = max(results)
    first_run, ended = min(wave.submitted for wave in of_frames), told["ended"]

    def cpu(moment: float) -> float:
        return sum(taken.until(moment) for taken in waited_for)

    print(f"{'seconds from submit to':<40}{'':>8}{'CPU s of client and flow':>28}")
    for words, moment in (
        ("  the manifest's being stored", told["submitted"]),
        ("  the first `run` call", first_run),
        ("  the last frame", last),
        ("  the last container for segments", max(w.submitted for w in of_segments or of_frames)),
        ("  the video", video.changed),
        ("  statistics", numbers.changed),
        ("  the report", page.changed),
        ("  the prompt", ended),
        ("  Prefect's knowing it all", told_prefect),
    ):
        if moment is not None:
            print(f"{words:<40}{moment - begun:>8.1f}{cpu(moment):>28.1f}")
    beside, cpu_beside = first_run - begun + ended - last, cpu(first_run) + cpu(ended) - cpu(last)
    print(f"{'before the first run, after the last frame':<42}{beside:>6.1f}{cpu_beside:>28.1f}")
    print(f"{'all but the least, to the prompt':<40}{ended - begun - film.least_seconds:>8.1f}")
    print(f"({len(of_frames)} waves of frames, {len(of_segments)} of segments; ", end="")
    print(f"least {film.least_seconds:g} s)")
    print(f"billed ${sum(wave.spent_usd for wave in plan.waves):.3f}")
    print(f"video {video.size / 1e6:.1f} MB, of {_frames_of(storage, job_id)} frames; ", end="")
    print(f"report {page.size / 1e6:.2f} MB, statistics {numbers.size / 1e6:.1f} MB")


def _frames_of(storage: Storage, job_id: str) -> int:
    """How many frames of the video can be decoded."""
    _, ffprobe = require_ffmpeg()
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "video.mp4"
        storage.download(layout.video(job_id, "mp4"), video)
        counted = subprocess.run(
            [
                ffprobe, "-v", "error", "-count_frames", "-select_streams", "v:0",
                "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", str(video),
            ],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
    return int(counted.stdout.strip().strip(","))


def _print_process(name: str, taken: Taken, frames: int) -> None:
    peak = f"{taken.peak / 1e6:.0f}" if taken.peak else ""
    numbers = (f"{taken.cpu:.1f}", peak, f"{1000 * taken.cpu / frames:.2f}")
    print(ROW.format(name, *numbers), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Be the benchmark, or one of its processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=14_400)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--at-once", type=int, default=1000)
    parser.add_argument("--quota", type=int, help="of tasks; default: as many as render at once")
    parser.add_argument("--size", default="320x180")
    parser.add_argument("--bucket", action="store_true")
    parser.add_argument("--told", action="store_true")
    parser.add_argument("--cloud", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--client", help=argparse.SUPPRESS)
    parser.add_argument("folder", nargs="?", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.cloud:
        asyncio.run(serve_cloud(options.cloud, Film.of(options), options.folder))
    elif options.client:
        be_client(options.client, options.folder, Film.of(options))
    else:
        measure_job(Film.of(options), bucket=options.bucket, told=options.told)


if __name__ == "__main__":
    main()
