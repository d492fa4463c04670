"""A client program with a cluster on Google Cloud: a bucket, waves of array tasks, lost containers.

The GCS server, the google clients, the flow, POV-Ray and ffmpeg are real; the stand-in for the
Cloud Run Admin API runs the container's entrypoint for each task.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import ffmpeg
import psutil
import pytest
from PIL import Image

from povstorm_client import Cluster, InputError, Job, JobError, RenderSettings, WorkUnit
from povstorm_client.cleaning.job_deletion import delete_job
from povstorm_client.cloud_run.wave_share import read_index
from povstorm_client.frames.developing import light_of
from povstorm_client.frames.tone_mapping import ToneMapping, srgb
from povstorm_client.storage import layout
from tests.conftest import SPHERE
from tests.e2e.google_cloud import RENDERER, GoogleCloud, google_cloud
from tests.emulators.gcs.server import GcsServer
from tests.recording import until_recorded

# The later a frame, the longer it takes: some are finished while others have just begun.
SLOW = SPHERE.replace(
    "#version 3.7;", "#version 3.7;\n#for (I, 1, 1e5 + 2e6 * clock) #declare X = I; #end"
)


def make_job(
    cluster: Cluster, frames: int = 12, scene: str = SPHERE, folder: Path | None = None, **options
) -> Job:
    job = Job(cluster, "sphere", **options)
    settings = RenderSettings(scene="sphere.pov", width=64, height=48, final_frame=frames)
    if folder is not None:
        job.add_shared_resources(folder)
    for frame in range(1, frames + 1):
        unit = WorkUnit(settings, frame=frame)
        unit.add_inline_resource("sphere.pov", scene)
        job.add_work_unit(unit)
    return job


def pixels(images: dict[int, bytes]) -> dict[int, str]:
    return {
        frame: hashlib.sha256(Image.open(io.BytesIO(image)).tobytes()).hexdigest()
        for frame, image in images.items()
    }


def calls(cloud: GoogleCloud) -> Counter[str]:
    return Counter(cloud.run.statistics()["calls"])


def attempts(job: Job) -> dict[int, int]:
    return {result.frame: result.attempt for result in job.results()}


def test_the_cloud_gives_the_pixels_of_a_local_run_its_video_and_statistics(
    cloud: GoogleCloud, tmp_path: Path
):
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "colour.inc").write_text("#declare Colour = rgb <0.2, 0.9, 0.4>;\n")
    scene = '#include "shared/colour.inc"\n' + SPHERE.replace("rgb <1, 0.4, 0.1>", "Colour")
    local = make_job(Cluster.local(tmp_path / "local"), scene=scene, folder=shared)
    local.run(show_progress=False)
    job = make_job(
        Cluster.from_terraform_outputs(cloud.outputs), scene=scene, folder=shared, lean="cheapest"
    )

    job.run(show_progress=False)

    assert pixels(job.images()) == pixels(local.images())
    assert job.save_video(tmp_path / "video.mp4").stat().st_size > 1000
    assert job.statistics().frames_rendered == 12
    hosts = {result.host for result in job.results()}
    assert all(host.startswith("render-512m-") for host in hosts)
    assert calls(cloud)["jobs.run"] == 1
    plan = json.loads(job.cluster.storage.read(layout.plan(job.job_id)))
    assert plan["frames"] == 12
    assert plan["billed_usd"] > 0
    executions = job.cluster.executions(job.job_id)
    assert [execution.task_count for execution in executions] == [plan["tasks"]]
    assert "Render Statistics" in job.cluster.frame_log(job.job_id, 3)


def test_a_second_run_renders_nothing_and_starts_nothing(cloud: GoogleCloud):
    cluster = Cluster.from_terraform_outputs(cloud.outputs)
    first = make_job(cluster)
    first.run(show_progress=False)
    before = calls(cloud)["jobs.run"]

    second = make_job(cluster)
    second.run(show_progress=False)

    assert calls(cloud)["jobs.run"] == before
    assert pixels(second.images()) == pixels(first.images())
    assert all(result.cache_hit for result in second.results())

    # As if the first run had been killed before it had listed its frames.
    cluster.storage.delete(layout.RESULT_CACHE)
    first.run(show_progress=False)
    delete_job(cluster.storage, second.job_id, with_cache=True)
    for _ in range(2):
        heir = make_job(cluster)
        heir.run(show_progress=False)
        assert calls(cloud)["jobs.run"] == before
        assert all(result.cache_hit for result in heir.results())
        delete_job(cluster.storage, first.job_id, with_cache=True)
        first = heir


def test_the_next_run_of_a_scene_needs_no_sample(cloud: GoogleCloud):
    cluster = Cluster.from_terraform_outputs(cloud.outputs)
    make_job(cluster, frames=20).run(show_progress=False)
    assert calls(cloud)["jobs.run"] == 2  # a sample, and the rest

    changed = make_job(cluster, frames=20, scene=SPHERE.replace("phong 1", "phong 0.5"))
    changed.run(show_progress=False)

    assert calls(cloud)["jobs.run"] == 3


def test_a_killed_container_costs_only_the_frames_it_had_not_stored(cloud: GoogleCloud):
    cluster = Cluster.from_terraform_outputs(cloud.outputs)
    job = make_job(cluster, scene=SLOW, lean="cheapest")
    job.submit()
    flow = cluster.start(job.job_id)
    victims: list[psutil.Process] = []
    try:
        wait_for(lambda: len(job.images()) >= 1)
        # Between two frames it has none.
        wait_for(lambda: victims.extend(c for c in containers() if children_of(c)) or victims)
        victim = victims[0]
        unfinished = set(range(1, 13)) - set(job.images())
        victim.kill()
        wait_for(lambda: flow.returncode is not None)
    finally:
        flow.stop()

    assert job.state().phase == "completed"
    again = {frame for frame, attempt in attempts(job).items() if attempt > 1}
    assert again
    assert again <= unfinished
    assert set(attempts(job).values()) == {1, 2}


def test_out_of_memory_is_tried_again_with_more(tmp_path: Path, gcs: GcsServer):
    # The small job's containers end as the kernel would end them.
    entrypoint = (
        "import os, runpy, sys; small = 'render-512m' in os.environ['CLOUD_RUN_JOB']; "
        "sys.exit(137) if small else runpy.run_module('render_image.entrypoint', "
        "run_name='__main__', alter_sys=False)"
    )
    with google_cloud(tmp_path, gcs, (sys.executable, "-P", "-c", entrypoint)) as cloud:
        job = make_job(Cluster.from_terraform_outputs(cloud.outputs), frames=3)
        job.run(show_progress=False)

        assert {result.host.rsplit("-", 2)[0] for result in job.results()} == {"render-2g"}
        assert set(attempts(job).values()) == {2}


def test_a_submit_without_an_answer_is_not_sent_twice(cloud: GoogleCloud):
    cloud.run.set_knobs(lose_answers=1)
    job = make_job(Cluster.from_terraform_outputs(cloud.outputs), frames=4)

    job.run(show_progress=False)

    assert calls(cloud)["jobs.run"] == 1
    assert set(attempts(job).values()) == {1}


def test_a_quota_that_is_used_up_is_waited_for(cloud: GoogleCloud):
    cloud.run.set_knobs(refuse_runs=1)
    job = make_job(Cluster.from_terraform_outputs(cloud.outputs), frames=4)

    job.run(show_progress=False)

    assert calls(cloud)["jobs.run"] == 2
    assert set(attempts(job).values()) == {1}


def test_a_failed_frame_keeps_povrays_line_and_the_others(cloud: GoogleCloud, on_server: str):
    job = make_job(Cluster.from_terraform_outputs(cloud.outputs), frames=3)
    bad = WorkUnit(RenderSettings(scene="sphere.pov", width=64, height=48, final_frame=4), frame=4)
    bad.add_inline_resource("sphere.pov", SPHERE + "sphere {")
    other = Job(job.cluster, "mixed")
    for unit in job.work_units:
        other.add_work_unit(
            WorkUnit(bad.settings, frame=unit.frame, inline_resource=unit.inline_resource)
        )
    other.add_work_unit(bad)

    with pytest.raises(JobError, match=r"frame 4: .*Parse Error") as error:
        other.run(show_progress=False)

    assert error.value.failed_frames == (4,)
    assert sorted(other.images()) == [1, 2, 3]
    assert until_recorded(other).unrecorded == ""


def test_above_the_most_it_may_cost_nothing_is_started(cloud: GoogleCloud):
    job = make_job(
        Cluster.from_terraform_outputs(cloud.outputs), max_usd=0.0001, seconds_per_frame=60
    )

    with pytest.raises(JobError, match=r"not started: 12 frames in .*--max-cost"):
        job.run(show_progress=False)

    assert calls(cloud)["jobs.run"] == 0


def test_a_render_job_that_is_not_there_is_named_before_anything_runs(cloud: GoogleCloud):
    content = json.loads(cloud.outputs.read_text())
    content["render_jobs"]["value"][0]["name"] = "elsewhere"
    cloud.outputs.write_text(json.dumps(content))

    # Who has rights on single jobs is not told more.
    remedy = r"jobs/elsewhere: permission denied, or there is no such job: .*Run `terraform apply`"
    with pytest.raises(JobError, match=remedy):
        make_job(Cluster.from_terraform_outputs(cloud.outputs)).run(show_progress=False)


def test_cancelling_a_job_stops_its_flow_and_its_executions(cloud: GoogleCloud):
    cluster = Cluster.from_terraform_outputs(cloud.outputs)
    job = make_job(cluster, frames=20, scene=SLOW)
    job.submit()
    flow = cluster.start(job.job_id)
    try:
        wait_for(lambda: len(job.images()) >= 2)
        cluster.cancel(job.job_id)
        wait_for(lambda: flow.returncode is not None)
    finally:
        flow.stop()

    assert job.state().phase == "cancelled"
    assert all(execution.completed for execution in cluster.executions(job.job_id))
    wait_for(lambda: not containers())
    kept = set(job.images())
    assert 2 <= len(kept) < 20

    job.run(show_progress=False)
    assert len(job.images()) == 20


def test_a_killed_orchestrators_executions_are_taken_over(cloud: GoogleCloud):
    cluster = Cluster.from_terraform_outputs(cloud.outputs)
    job = make_job(cluster, scene=SLOW, lean="cheapest")
    job.submit()
    flow = cluster.start(job.job_id)
    wait_for(lambda: any(cluster.storage.list(layout.results(job.job_id))))
    # However long it takes to look at what there is: they do not end meanwhile.
    held = containers()
    for container in held:
        container.suspend()
    os.kill(flow_process().pid, signal.SIGKILL)
    wait_for(lambda: flow.returncode is not None)
    runs = calls(cloud)["jobs.run"]
    assert len(job.images()) < 12
    for container in held:
        container.resume()

    job.run(show_progress=False)

    assert calls(cloud)["jobs.run"] == runs
    assert len(job.images()) == 12
    assert set(attempts(job).values()) == {1}


def test_containers_need_no_more_rights_than_to_read_their_inputs_and_create_their_outputs(
    tmp_path: Path, cloud: GoogleCloud
):
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "colour.inc").write_text("#declare Colour = rgb x;\n")
    scene = '#include "shared/colour.inc"\n' + SPHERE
    # A frame that POV-Ray is stopped at is tried again, which stores its result again.
    endless = SPHERE + "#while (1) #end"
    job = make_job(
        Cluster.from_terraform_outputs(cloud.outputs),
        frames=4,
        scene=scene,
        folder=shared,
        frame_timeout=5,
        retries=1,
    )
    job.work_units[3].inline_resource.clear()
    job.work_units[3].add_inline_resource("sphere.pov", endless)
    with pytest.raises(JobError, match=r"frame 4: .*stopped after 5 s"):
        job.run(show_progress=False)

    assert sorted(job.images()) == [1, 2, 3]
    assert attempts(job) == {1: 1, 2: 1, 3: 1, 4: 2}
    assert cloud.storage_calls(RENDERER)["insert"] > 0
    assert cloud.storage_calls(RENDERER)["delete"] == 0


def test_each_frame_costs_only_the_calls_that_store_it_and_one_that_shows_it(tmp_path: Path):
    frames = 60
    with GcsServer() as gcs, google_cloud(tmp_path, gcs) as cloud:
        cluster = Cluster.from_terraform_outputs(cloud.outputs)
        job = make_job(cluster, frames, video=None, prefer="fastest")
        job.run(show_progress=False)
        asked = Counter(cloud.storage.asked)
        make_job(cluster, frames, video=None, prefer="fastest").run(show_progress=False)
        of_cached = Counter(cloud.storage.asked) - asked
        storage = job.cluster.storage
        (wave,) = storage.folders(f"{layout.job(job.job_id)}/waves")
        claims = list(storage.list(layout.wave_claims(layout.wave(job.job_id, wave))))
        shares = read_index(storage, layout.wave(job.job_id, wave))

    stored = ("jobs/logs", "jobs/output", "jobs/results")
    assert {kind: asked.pop(f"insert {kind}") for kind in stored} == dict.fromkeys(stored, frames)
    # The cache's lists: the fewer, the more frames become known together.
    assert 1 < asked.pop(f"insert {layout.RESULT_CACHE}") < frames
    # The previews; a result is read by itself only where few are new, and told by a listing else.
    assert frames <= asked.pop("read jobs/output") < 1.5 * frames
    assert asked.pop("read jobs/results", 0) <= frames
    # Who loses a claim is told in the next call whose the frame is.
    lost = asked.pop("insert jobs/waves/claims") - len(claims)
    assert asked.pop("read jobs/waves/claims", 0) == lost
    # One that tells a task that its share is done, and what it looks in vain for others' frames.
    assert lost <= sum(1 + max(1, len(share) // 10) for share in shares)
    # These are of looks, however many frames there are: by time, not by frame.
    of_looks = {"read jobs/state.json", "insert jobs/state.json", "stat jobs/state.json",
                "list jobs/results", "stat jobs/cancel.json"}  # fmt: skip
    left = {kind: count for kind, count in asked.items() if kind not in of_looks}
    assert max(left.values()) < frames / 2, left
    assert sum(left.values()) < 2 * frames, left

    # Those that another job takes over are told by a listing; their images are compared.
    taken = ("stat jobs/output", "copy jobs/output", "copy jobs/logs", "insert jobs/results")
    assert {kind: of_cached.pop(kind) for kind in taken} == dict.fromkeys(taken, frames)
    assert of_cached.pop(f"insert {layout.RESULT_CACHE}") < frames
    assert frames <= of_cached.pop("read jobs/output") < 1.5 * frames, "the previews"
    assert of_cached.pop("list jobs/results") < frames / 2
    left = {kind: count for kind, count in of_cached.items() if kind not in of_looks}
    assert sum(left.values()) < 2 * frames, left


def test_submitting_needs_a_deployment(cloud: GoogleCloud):
    with pytest.raises(InputError, match="--deployment render-job/cloud"):
        Cluster.from_terraform_outputs(cloud.outputs).submit("some-job")


def povstorm(cloud: GoogleCloud, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("povstorm")), "--cluster", str(cloud.outputs)]
    return subprocess.run(
        [*command, *words], cwd=cwd, capture_output=True, text=True, check=False, timeout=300
    )


def test_the_command_line_plans_renders_and_fetches(cloud: GoogleCloud, tmp_path: Path):
    (tmp_path / "anim.pov").write_text(SPHERE)
    (tmp_path / "anim.ini").write_text("Input_File_Name=anim.pov\nFinal_Frame=6\n")
    size = ["--size", "64x48"]

    unknown = povstorm(cloud, "render", "anim.ini", *size, "--dry-run", cwd=tmp_path)
    assert "a first wave of a few frames will measure it" in unknown.stdout
    here = ["--frame-memory", "2", "--no-sandbox"]
    known = povstorm(
        cloud, "render", "anim.ini", "--dry-run", "--seconds-per-frame", "30", *here, cwd=tmp_path
    )
    assert "--frame-memory does nothing: it is for this machine, and Google" in known.stderr
    assert "--sandbox does nothing: it is for this machine, and the render" in known.stderr
    assert "--seconds-per-frame does nothing" not in known.stderr
    assert "30.00 CPU seconds a frame, as given" in known.stdout
    assert re.search(r"\* balanced  6 frames in \d tasks of render-512m .*\$0\.00\d", known.stdout)
    assert calls(cloud)["jobs.run"] == 0

    rendered = povstorm(cloud, "render", "anim.ini", *size, cwd=tmp_path)
    assert rendered.returncode == 0, rendered.stderr
    assert (tmp_path / "anim_render" / "anim.mp4").is_file()
    job_id = next(
        line.split()[1] for line in rendered.stdout.splitlines() if line.startswith("job")
    )

    fetched = povstorm(cloud, "fetch", job_id, "--output", "again", cwd=tmp_path)
    assert fetched.returncode == 0, fetched.stderr
    assert len(list((tmp_path / "again" / "frames").glob("*.png"))) == 6
    assert (tmp_path / "again" / "anim.mp4").is_file()
    assert (tmp_path / "again" / "statistics.json").is_file()
    shown = povstorm(cloud, "status", job_id, "--watch", cwd=tmp_path).stdout
    assert "6 of 6 rendered" in shown
    assert "2 of 2 tasks done" in shown
    assert "has ended already" in povstorm(cloud, "cancel", job_id, cwd=tmp_path).stdout


def test_light_without_bounds_comes_back_as_povray_made_it_and_is_shown_by_its_tone_mapping(
    cloud: GoogleCloud, tmp_path: Path
):
    source = "#version 3.7; global_settings { assumed_gamma 1 }\n"
    # Light of 4, which hable shows as less than white, and an exposure of -1 as less than that.
    (tmp_path / "sun.pov").write_text(f"{source}background {{ rgb <4, 2, clock> }}\n")
    tone = ["--tone-map", "hable", "--exposure", "-1"]
    words = ["render", "sun.pov", "+FE", "+KFF3", "+W32", "+H24", *tone]
    done = povstorm(cloud, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "video and previews show it by hable, exposure -1" in done.stderr

    made = tmp_path / "sun_render"
    frames = [made / "frames" / f"frame_{frame}.exr" for frame in (1, 2, 3)]
    own = ["povray", "+Isun.pov", "+Oown.exr", *words[2:6], "+WT1", "-D"]
    subprocess.run(own, cwd=tmp_path, check=True, capture_output=True)
    for frame, file in enumerate(frames, start=1):
        assert light_of(file.read_bytes()) == light_of((tmp_path / f"own{frame}.exr").read_bytes())
    shown = ToneMapping(tone_map="hable", exposure=-1.0)
    wanted = [round(255 * srgb(shown.shown(light))) for light in (4.0, 2.0)]
    assert 0 < wanted[1] < wanted[0] < 255
    [stream] = ffmpeg.probe(str(made / "sun.mp4"), count_frames=None)["streams"]
    assert stream["nb_read_frames"] == "3"
    raw, _ = (
        ffmpeg.input(str(made / "sun.mp4"))
        .output("pipe:", format="rawvideo", pix_fmt="rgb24")
        .run(capture_stdout=True, quiet=True)
    )
    assert list(raw[:2]) == pytest.approx(wanted, abs=3)
    report = (made / "report.html").read_text()
    assert report.count('src="data:image/webp;base64,') == 3
    assert "hable, exposure -1" in report


def test_frames_that_go_on_from_each_other_take_their_time_only_if_asked_to(
    cloud: GoogleCloud, tmp_path: Path
):
    (tmp_path / "own.pov").write_text(
        f"{SPHERE}#if (frame_number > 1)\nplane {{ z, 3 pigment {{ image_map {{ "
        'png concat("own", str(frame_number - 1, -1, 0), ".png") } } }\n#end\n'
    )
    words = ["render", "own.pov", "+W64", "+H48", "+KFF3", "--video", "none"]

    refused = povstorm(cloud, *words, cwd=tmp_path)
    assert refused.returncode == 1
    assert "the 3 frames of this scene go on from each other's images" in refused.stderr
    assert "at least 30 s" in refused.stderr
    assert calls(cloud)["jobs.run"] == 0

    rendered = povstorm(cloud, *words, "--in-order", cwd=tmp_path)
    assert rendered.returncode == 0, rendered.stderr
    images = sorted((tmp_path / "own_render" / "frames").iterdir())
    assert len({path.read_bytes() for path in images if path.suffix == ".png"}) == 3
    assert calls(cloud)["jobs.run"] == 3


def test_the_doctor_finds_what_is_wrong_with_its_remedy(
    cloud: GoogleCloud, tmp_path: Path, on_server: str
):
    healthy = povstorm(cloud, "doctor", cwd=tmp_path)
    assert healthy.returncode == 0, healthy.stdout
    assert "FAILED" not in healthy.stdout

    content = json.loads(cloud.outputs.read_text())
    content["render_jobs"]["value"][0]["name"] = "elsewhere"
    content["bucket"]["value"] = "no-such-bucket-anywhere"
    content["render_image"]["value"] = content["render_image"]["value"].rpartition(":")[0] + ":9.9"
    cloud.outputs.write_text(json.dumps(content))
    ill = povstorm(cloud, "--deployment", "render-job/nowhere", "doctor", cwd=tmp_path)

    assert ill.returncode == 1
    for words in (
        "FAILED  storage: ",
        "FAILED  render job elsewhere: ",
        "FAILED  image of render-2g: ",
        "FAILED  image version: the render image is 9.9",
        "FAILED  deployment render-job/nowhere: ",
        "run `terraform apply`",
        "prefect deploy",
    ):
        assert words in ill.stdout


def containers() -> list[psutil.Process]:
    """The entrypoints that this test's stand-in has started."""
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if "render_image.entrypoint" in " ".join(command_line(child))
        and "tests.emulators.cloud_run" not in command_line(child)
    ]


def flow_process() -> psutil.Process:
    return next(
        child
        for child in psutil.Process().children(recursive=True)
        if "flows.local_run" in command_line(child)
    )


def children_of(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def wait_for(condition, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
