"""What a client program's objects look like: a line in a terminal, a picture in a notebook."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from povstorm_client import Cluster, Job, RenderSettings, WorkUnit
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.state import JobState, write_state
from povstorm_client.jobs.summarize import summarize
from povstorm_client.storage import layout
from tests.synthetic_job import picture

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\x1b[2J\n</div>"


def make_job(cluster: Cluster, frames: int = 30, *, size: tuple[int, int] = (64, 48), **options):
    job = Job(cluster, "orbit <b>", **options)
    settings = RenderSettings("orbit.pov", width=size[0], height=size[1], final_frame=frames)
    for frame in range(1, frames + 1):
        unit = WorkUnit(settings, frame)
        unit.add_inline_resource("orbit.pov", "sphere { 0, 1 }")
        job.add_work_unit(unit)
    return job


def store_images(job: Job, frames: int) -> None:
    for unit in job.work_units[:frames]:
        data = picture(unit.frame, unit.settings.width, unit.settings.height)
        job.cluster.storage.write(f"{layout.output(job.job_id)}/{unit.image_name}", data)


def store_state(job: Job, phase: str, done: int, **changes: object) -> None:
    state = JobState(phase, len(job.work_units), done=done, **changes)
    write_state(job.cluster.storage, job.job_id, state)


class Elements(HTMLParser):
    """The elements of a page with their attributes, and its text; every element is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def tags(self) -> list[str]:
        return [tag for tag, _ in self.found]


def test_a_job_tells_its_state_in_a_line(cluster: Cluster):
    job = make_job(cluster, 3)
    assert repr(job) == f"<Job {job.job_id}: 3 frames, not submitted>"
    job.submit()
    assert repr(job) == f"<Job {job.job_id}: 3 frames, submitted>"
    store_state(job, "failed", 2, failed=1)
    assert repr(job) == f"<Job {job.job_id}: failed, 2 of 3 frames, 1 failed>"
    cluster.storage.write(layout.job_state(job.job_id), b"nonsense")
    assert repr(job) == f"<Job {job.job_id}: 3 frames, its state cannot be read>"


def test_the_other_objects_are_a_line_too(cluster: Cluster):
    unit = make_job(cluster, 3).work_units[1]
    assert repr(unit) == "<WorkUnit frame 2: 'orbit.pov', 64x48, 1 inline>"
    assert repr(cluster) == f"<Cluster this machine, {cluster.storage_uri}>"
    result = FrameResult("id", "orbit-1", 7, "failed", 2, "here", 1.0, 2.0, error=HOSTILE * 9)
    assert repr(result).startswith("<FrameResult frame 7 of orbit-1: failed, attempt 2, '<script>")
    assert "\n" not in repr(result)
    assert "\x1b" not in repr(result)
    assert len(repr(result)) < 300
    statistics = summarize(
        [result], job_id="j", name="n", expected_frames=[7], started=1, ended=3.5, video=None
    )
    assert repr(statistics) == (
        "<JobStatistics j: 0 of 1 frames, 0 from cache, 1 failed, rendering took 2.5 s>"
    )


def test_before_a_run_a_job_is_what_it_will_render(cluster: Cluster, tmp_path: Path):
    page = Elements(make_job(cluster, 3)._repr_html_())
    assert "not submitted" in page.text
    assert "3 frames · orbit.pov · 64x48 · mp4" in page.text
    assert "img" not in page.tags
    assert "no frames" not in page.text
    assert Elements(Job(cluster, "empty")._repr_html_()).text.count("0 frames") == 1


def test_a_finished_job_is_its_state_a_sheet_and_its_video(cluster: Cluster):
    job = make_job(cluster)
    job.submit()
    store_images(job, 30)
    store_state(job, "completed", 30, cached=4)
    cluster.storage.write(layout.video(job.job_id, "mp4"), b"a video")
    page = Elements(job._repr_html_())
    assert "completed" in page.text
    assert "30 of 30 frames · 4 from the cache" in page.text
    assert str(cluster.storage.path(layout.video(job.job_id, "mp4"))) in page.text
    [sheet] = [attributes for tag, attributes in page.found if tag == "img"]
    with Image.open(io.BytesIO(base64.b64decode(sheet["src"].partition(",")[2]))) as image:
        # Of 24 images, six in a row.
        assert image.size == (6 * 124 - 4, 4 * (90 + 4) - 4)
    assert sheet["alt"].startswith("frames 1-2, 4-7, 9-")
    [video] = [attributes for tag, attributes in page.found if tag == "video"]
    assert base64.b64decode(video["src"].removeprefix("data:video/mp4;base64,")) == b"a video"


def test_a_running_job_has_a_bar_and_the_images_that_are_there(cluster: Cluster):
    job = make_job(cluster)
    job.submit()
    store_images(job, 2)
    store_state(job, "rendering", 15)
    html = job._repr_html_()
    assert "width:50.0%" in html
    assert 'alt="frames 1-2"' in html


@pytest.mark.parametrize(("ending", "tag"), [("webm", "video"), ("gif", "img"), ("mov", None)])
def test_each_format_is_shown_as_browsers_can(cluster: Cluster, ending: str, tag: str | None):
    job = make_job(cluster, 1, video=ending)
    job.submit()
    store_state(job, "completed", 1)
    cluster.storage.write(layout.video(job.job_id, ending), b"small")
    assert [tag for tag in Elements(job._repr_html_()).tags if tag in ("video", "img")] == (
        [tag] if tag else []
    )


def test_it_asks_for_nothing_from_outside_and_stays_small(cluster: Cluster):
    job = make_job(cluster, 200, size=(640, 480))
    job.submit()
    store_images(job, 40)
    store_state(job, "completed", 40)
    for size, shown in ((1_000_000, True), (1_000_001, False)):
        cluster.storage.write(layout.video(job.job_id, "mp4"), bytes(size))
        html = job._repr_html_()
        assert len(html) < 2_000_000
        assert ("<video" in html) == shown
        for tag, attributes in Elements(html).found:
            assert tag not in ("script", "link", "iframe", "style")
            assert not [name for name in attributes if name.startswith("on")]
            assert (attributes.get("src") or "data:").startswith("data:")
        assert "url(" not in html


def test_images_of_an_extreme_shape_make_a_small_sheet(cluster: Cluster):
    job = make_job(cluster, 2, size=(2, 4000))
    job.submit()
    store_images(job, 2)
    store_state(job, "completed", 2)
    assert len(job._repr_html_()) < 100_000


def test_text_of_others_is_shown_and_does_nothing(cluster: Cluster):
    job = make_job(cluster, 1)
    job.submit()
    store_state(job, "failed", 0, message=HOSTILE * 50)
    html = job._repr_html_()
    page = Elements(html)
    assert "<script>alert(1)</script>" in page.text
    assert {"script", "img"} & set(page.tags) == set()
    assert len(html) < 20_000
    statistics = summarize(
        [FrameResult("id", "j", 1, "failed", 1, "here", 1.0, 2.0, error=HOSTILE)],
        job_id="j",
        name=HOSTILE,
        expected_frames=[1],
        started=1,
        ended=2,
        video=None,
    )
    assert Elements(statistics._repr_html_()).tags == ["pre"]


def test_what_cannot_be_read_is_said_and_breaks_no_cell(cluster: Cluster):
    job = make_job(cluster, 3)
    job.submit()
    store_images(job, 3)
    store_state(job, "completed", 3)
    bad = f"{layout.output(job.job_id)}/{job.work_units[1].image_name}"
    cluster.storage.write(bad, b"no PNG")
    assert 'alt="frames 1, 3"' in job._repr_html_()
    cluster.storage.write(layout.job_state(job.job_id), b"nonsense")
    assert "not readable" in job._repr_html_()


def test_a_cluster_shows_its_newest_jobs_and_makes_no_folder(cluster: Cluster, tmp_path: Path):
    untouched = Cluster.local(tmp_path / "nowhere")
    assert "no job was submitted" in untouched._repr_html_()
    assert not (tmp_path / "nowhere").exists()
    for _ in range(10):
        make_job(cluster, 1).submit()
    page = Elements(cluster._repr_html_())
    assert page.tags.count("tr") == 8
    assert "submitted" in page.text


def test_a_line_shows_no_content(cluster: Cluster):
    unit = make_job(cluster, 1).work_units[0]
    assert base64.b64encode(b"sphere").decode()[:6] not in repr(unit)
    assert "sphere" not in repr(replace(unit, job_id="orbit-1"))
    assert re.search(r"of orbit-1", repr(replace(unit, job_id="orbit-1")))
    assert json.dumps(unit.to_json())
