"""A video in the render container for real: its segments with the renderer's rights, its size."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from povstorm_client.cloud_run.wave_share import SegmentImage, SegmentWork, WaveShare, write_wave
from povstorm_client.frames.tone_mapping import ToneMapping
from povstorm_client.frames.video_options import CODECS_OF, VideoOptions
from povstorm_client.storage import layout
from povstorm_client.storage.bucket import GcsStorage
from povstorm_client.storage.checksum import crc32c_of
from tasks.video.job_video import segment_store
from tests.emulators.container.render_container import RenderContainer, task_environment
from tests.emulators.gcs.proxy import GcsProxy
from tests.emulators.gcs.server import GcsServer
from tests.emulators.iam.policy import Grant

ROOT = Path(__file__).parents[2]
JOB = "orbit-1"
FRAMES = range(1, 7)
RENDERER = [Grant("objects.get", "jobs/"), Grant("objects.create", "jobs/")]


def png(colour: int) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (96, 64), (colour, 90, 30)).save(made, "PNG")
    return made.getvalue()


def test_it_encodes_a_segment_twice_with_the_right_to_get_and_create_alone(
    render_container: RenderContainer, monkeypatch: pytest.MonkeyPatch
):
    with GcsProxy() as proxy, GcsServer(proxy) as gcs:
        proxy.grants = {"": RENDERER}
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.upstream)
        storage = GcsStorage(gcs.make_bucket())
        images = {frame: f"{layout.output(JOB)}/frame_{frame}.png" for frame in FRAMES}
        for frame, key in images.items():
            storage.write(key, png(30 * frame))
        checksums = {frame: crc32c_of(storage.read(key)) for frame, key in images.items()}
        work = SegmentWork(
            tuple(SegmentImage(frame, images[frame], checksums[frame]) for frame in FRAMES),
            "mp4",
            "24",
            has_alpha=False,
        )
        wave = layout.wave(JOB, "v0001-test")
        write_wave(storage, wave, [WaveShare((), None, segments=(work,))])

        # Delivered twice, as Cloud Run may: the second one finds what the first has stored.
        for _ in range(2):
            environment = task_environment(storage_emulator=proxy.url)
            command = render_container.command(f"{storage.uri}/{wave}", environment=environment)
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            assert "frames 1 to 6 of the video encoded" in done.stdout

        (record,) = [
            entry.key for entry in storage.list(layout.segments(JOB)) if entry.key.endswith(".json")
        ]
        stored = segment_store(storage, JOB).find(Path(record).stem)
        assert stored is not None
        assert (stored.frames, stored.width, stored.height, stored.codec) == (6, 96, 64, "h264")


@pytest.mark.parametrize(
    ("video", "codec", "option"),
    [("mp4", "h265", "+FE"), ("mp4", "av1", "+FH"), ("webm", None, "+FE")],
)
def test_its_own_ffmpeg_encodes_what_can_be_chosen(
    render_container: RenderContainer,
    tmp_path: Path,
    video: str,
    codec: str | None,
    option: str,
    monkeypatch: pytest.MonkeyPatch,
):
    """Debian's, which is older than the one beside the flow, of images that POV-Ray made here."""
    scene = "light_source { -9*z 3 } sphere { 5*z, 2 pigment { rgbt <2, 1, 0.2, 0.3> } }"
    (tmp_path / "a.pov").write_text(f"#version 3.7; {scene}", "utf-8")
    ending = {"+FE": "exr", "+FH": "hdr"}[option]
    subprocess.run(
        ["povray", "+Ia.pov", f"+Oa.{ending}", "+W96", "+H64", "-D", "+UA", option],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    data = (tmp_path / f"a.{ending}").read_bytes()
    with GcsProxy() as proxy, GcsServer(proxy) as gcs:
        proxy.grants = {"": RENDERER}
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.upstream)
        storage = GcsStorage(gcs.make_bucket())
        images = {frame: f"{layout.output(JOB)}/frame_{frame}.{ending}" for frame in FRAMES}
        for key in images.values():
            storage.write(key, data)
        work = SegmentWork(
            tuple(SegmentImage(frame, images[frame], crc32c_of(data)) for frame in FRAMES),
            video,
            "24",
            has_alpha=False,
            options=VideoOptions(codec=codec, crf=None, tone=ToneMapping(tone_map="reinhard")),
        )
        wave = layout.wave(JOB, "v0001-test")
        write_wave(storage, wave, [WaveShare((), None, segments=(work,))])
        environment = task_environment(storage_emulator=proxy.url)
        command = render_container.command(f"{storage.uri}/{wave}", environment=environment)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

        (record,) = [
            entry.key for entry in storage.list(layout.segments(JOB)) if entry.key.endswith(".json")
        ]
        stored = segment_store(storage, JOB).find(Path(record).stem)
        assert stored is not None
        own = {"h265": "hevc", "av1": "av1"}.get(str(codec), CODECS_OF[video][0])
        assert (stored.frames, stored.codec, stored.has_alpha) == (6, own, option == "+FE")


STITCH = """
import os, sys
from fractions import Fraction
from pathlib import Path
from povstorm_client.storage.checksum import crc32c
from povstorm_client.storage.folder import FolderStorage
from render_image.video.stored_segments import SegmentStore
from tasks.video.encode import encode_video

prefect = os.urandom(96 << 20)  # what a flow has imported beside
noise = [Path(f"/data/noise_{number}.png") for number in range(3)]
shown = {frame: noise[frame // 20 % 3] for frame in range(int(sys.argv[1]))}
checksums = {path: crc32c(path) for path in noise}
info = encode_video(
    list(shown.items()),
    SegmentStore(FolderStorage(Path("/data/storage")), "segments"),
    "video.mp4",
    fps=Fraction(24),
    expected_frames=list(shown),
    checksums={frame: checksums[path] for frame, path in shown.items()},
)
print(info.frames, info.width, info.height, len(prefect))
"""


def test_however_many_frames_of_1080p_noise_are_stitched_within_512_mib_and_on_no_disk(
    render_container: RenderContainer, tmp_path: Path
):
    # Their images take more than twice the memory that is there.
    frames = 250
    for number in range(3):
        noise = Image.frombytes("RGB", (1920, 1080), os.urandom(1920 * 1080 * 3))
        noise.save(tmp_path / f"noise_{number}.png", compress_level=1)
    options = (
        *("--memory=512m", "--memory-swap=512m", "--cpuset-cpus=0", "--user=0"),
        *(f"--volume={tmp_path}:/data", f"--volume={ROOT / 'tasks'}:/flow/tasks:ro"),
        *("--env=PYTHONPATH=/opt/povstorm:/flow", "--entrypoint=python3"),
    )
    command = render_container.command("-c", STITCH, str(frames), options=options)
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:3] == [str(frames), "1920", "1080"]
    assert [path.name for path in (tmp_path / "storage").iterdir() if path.is_file()] == [
        "video.mp4"
    ]
