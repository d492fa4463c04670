"""report.html in a real browser, from file:// with no network: it works, offline and on a phone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from povstorm_client import InputError, Job, JobError
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from tasks.report.build import build_report
from tasks.report.job_run import JobRun
from tests.conftest import SPHERE
from tests.e2e.browser import PHONE, browser, needs_browser
from tests.recording import until_recorded
from tests.synthetic_job import (
    START,
    cloud_run,
    failed,
    finished,
    local_run,
    make_manifest,
    make_units,
    rendered,
)

__all__ = ["browser"]

POVSTORM = str(Path(sys.executable).with_name("povstorm"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> FolderStorage:
    return FolderStorage(tmp_path_factory.mktemp("storage"))


@contextmanager
def opened(browser: Browser, file: Path, *, quiet: bool = True, **options) -> Iterator[Page]:
    """The report in a browser; afterwards, that it asked for nothing and complained of nothing."""
    context = browser.new_context(**options)
    complaints: list[str] = []
    asked_for: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda line: complaints.append(line.text) if line.type in ("error", "warning") else None,
    )
    page.on("request", lambda request: asked_for.append(request.url))
    page.route(lambda url: not url.startswith(("file:", "data:")), lambda route: route.abort())
    page.goto(file.as_uri())
    yield page
    context.close()
    if quiet:
        assert complaints == []
        assert [url for url in asked_for if not url.startswith("data:")] == [file.as_uri()]


def written(storage: FolderStorage, run: JobRun) -> Path:
    """The file of a run's report, where the flow puts it."""
    file = storage.path(layout.report(run.manifest.job_id))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(build_report(storage, run).html)
    return file


@pytest.fixture(scope="module")
def local_report(folder: FolderStorage) -> Path:
    return written(folder, local_run(folder, 60))


@pytest.fixture(scope="module")
def cloud_report(folder: FolderStorage) -> Path:
    return written(folder, cloud_run(folder))


def now(page: Page, name: str) -> str:
    return page.locator(f"[data-now={name}]").inner_text()


@needs_browser
def test_the_scrubber_moves_by_keys_thumbnails_and_plots(browser: Browser, local_report: Path):
    with opened(browser, local_report) as page:
        assert now(page, "frame") == "1"
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Shift+ArrowRight")
        assert now(page, "frame") == "12"
        assert now(page, "at") == "0.46 s"
        assert float(now(page, "clock")) == pytest.approx(11 / 59, abs=1e-4)
        page.keyboard.press("End")
        assert now(page, "frame") == "60"
        page.keyboard.press("ArrowRight")
        assert now(page, "frame") == "60"
        page.keyboard.press("Home")
        assert now(page, "frame") == "1"

        page.get_by_role("slider", name="Frame").fill("29")
        assert now(page, "frame") == "30"
        page.get_by_role("button", name="Frame 42", exact=True).click()
        assert now(page, "frame") == "42"

        plot = page.locator("[data-plot=seconds] .wide")
        box = plot.bounding_box()
        left, _, right, _ = map(float, plot.get_attribute("data-box").split())
        at_frame_15 = left + (15 - 0.5) / 60 * (right - left)
        plot.hover(position={"x": at_frame_15 * box["width"] / 1040, "y": 100})
        expect(page.locator("[data-plot=seconds] .tip")).to_contain_text("frame 15: ")
        plot.click(position={"x": at_frame_15 * box["width"] / 1040, "y": 100})
        assert now(page, "frame") == "15"


@needs_browser
def test_the_pixels_change_with_the_frame(browser: Browser, local_report: Path):
    with opened(browser, local_report) as page:
        shown = set()
        for key in ("Home", "ArrowRight", "End"):
            page.keyboard.press(key)
            page.wait_for_timeout(100)
            shown.add(page.evaluate("document.getElementById('stage').toDataURL()"))
        assert len(shown) == 3


@needs_browser
def test_it_plays_only_when_told_to(browser: Browser, local_report: Path):
    with opened(browser, local_report, reduced_motion="reduce") as page:
        page.wait_for_timeout(200)
        assert now(page, "frame") == "1"
        page.keyboard.press("Space")
        expect(page.locator("[data-now=frame]")).to_have_text(re.compile(r"^([4-9]|\d\d)"))
        page.keyboard.press("Space")
        stopped_at = now(page, "frame")
        page.wait_for_timeout(200)
        assert now(page, "frame") == stopped_at


@needs_browser
def test_a_keyboard_alone_reaches_everything(browser: Browser, cloud_report: Path):
    with opened(browser, cloud_report) as page:
        reached = []
        for _ in range(40):
            page.keyboard.press("Tab")
            focused = page.evaluate(
                "(e => e === document.body ? '' : e.id || e.dataset.frame || e.tagName)"
                "(document.activeElement)"
            )
            if not focused:
                break
            reached.append(focused)
        assert reached[:3] == ["play", "scrub", "sharp"]
        assert len(reached) < 30, "the thumbnails are one stop"
        page.get_by_role("button", name="Frame 7", exact=True).focus()
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.dataset.frame") == "8"
        names = page.evaluate(
            "[...document.querySelectorAll('button, a, input')]"
            ".map(e => e.ariaLabel || e.innerText.trim())"
        )
        assert all(names)


@pytest.fixture(scope="module")
def still_report(folder: FolderStorage) -> Path:
    units = make_units("still", 1)
    results = [rendered(units[0], started=START, seconds=0.03)]
    return written(folder, finished(folder, make_manifest("still", 1), units, results))


@needs_browser
def test_a_single_frame_cannot_be_played(browser: Browser, still_report: Path):
    with opened(browser, still_report) as page:
        expect(page.locator("#play")).to_be_hidden()
        expect(page.locator("#scrub")).to_be_hidden()
        page.keyboard.press("Space")
        assert page.locator("#play").get_attribute("aria-pressed") == "false"
        assert (now(page, "frame"), now(page, "memory")) == ("1", "57.2 MiB")


def ragged_rows(page: Page, grid: str) -> list[str]:
    """The last cells of rows that end before the grid does."""
    found: list[str] = page.evaluate(
        """(name) => {
          const grid = document.querySelector(name), rows = new Map();
          for (const cell of grid.children) rows.set(cell.offsetTop, cell);
          const end = grid.getBoundingClientRect().right;
          return [...rows.values()].filter(
            (cell) => Math.abs(cell.getBoundingClientRect().right - end) > 1
          ).map((cell) => cell.innerText);
        }""",
        grid,
    )
    return found


@needs_browser
@pytest.mark.parametrize("kind", ["local_report", "cloud_report", "still_report"])
def test_a_phone_scrolls_down_only(browser: Browser, kind: str, request):
    with opened(browser, request.getfixturevalue(kind), viewport=PHONE) as page:
        assert ragged_rows(page, ".now") == ragged_rows(page, ".tiles") == []
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        if kind != "still_report":
            expect(page.locator("[data-plot=seconds] .narrow")).to_be_visible()
            expect(page.locator("[data-plot=seconds] .wide")).to_be_hidden()


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_light_and_dark(browser: Browser, cloud_report: Path, scheme: str):
    with opened(browser, cloud_report, color_scheme=scheme) as page:
        luminance = page.evaluate("""() => {
          const parts = (css) => {
            const box = document.createElement("canvas").getContext("2d");
            box.fillStyle = css;
            box.fillRect(0, 0, 1, 1);
            return [...box.getImageData(0, 0, 1, 1).data].slice(0, 3).map((c) => {
              c /= 255;
              return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
            });
          };
          const style = getComputedStyle(document.documentElement);
          return Object.fromEntries(["page", "raised", "text", "muted", "lost", "failed",
            "rendered", "good-back", "good-text", "bad-back", "bad-text"].map((name) => {
              const [r, g, b] = parts(style.getPropertyValue("--" + name));
              return [name, 0.2126 * r + 0.7152 * g + 0.0722 * b];
            }));
        }""")

    def contrast(one: str, other: str) -> float:
        low, high = sorted((luminance[one], luminance[other]))
        return (high + 0.05) / (low + 0.05)

    # https://www.w3.org/TR/WCAG22/#contrast-minimum and #non-text-contrast
    assert (luminance["page"] > 0.5) == (scheme == "light")
    for text in ("text", "muted", "lost"):
        assert contrast(text, "page") >= 4.5
        assert contrast(text, "raised") >= 4.5
    assert contrast("good-text", "good-back") >= 4.5
    assert contrast("bad-text", "bad-back") >= 4.5
    assert min(contrast("rendered", "page"), contrast("failed", "page")) >= 3


@needs_browser
def test_waves_lost_containers_and_cost_are_told(browser: Browser, cloud_report: Path):
    with opened(browser, cloud_report) as page:
        legend = page.locator("[data-plot=timeline] + .legend").inner_text()
        for words in ("rendered", "container lost", "failed for good", "from the cache", "wave"):
            assert words in legend
        assert "42 frames, 6 tasks" in page.locator("[data-plot=timeline] .wide").text_content()
        rows = page.locator("tbody tr", has_text="render-512m").last.inner_text()
        assert "1 lost" in rows
        assert "$0.007" in rows
        assert "predicted $0.014" in page.locator(".tiles").inner_text()
        failure = page.locator(".failure")
        assert "Parse Error: Expected 'object'" in failure.inner_text()
        assert "povstorm frame orbit-cloud 48" in failure.locator(".command").inner_text()
        page.keyboard.press("End")
        expect(page.locator("#blank")).to_contain_text("Frame 48 failed: shared/orbit.pov:31")


@needs_browser
def test_full_size_takes_the_images_beside_the_report(browser: Browser, local_report: Path):
    with opened(browser, local_report, quiet=False) as page:
        page.get_by_role("button", name="Full size").click()
        expect(page.locator("#full")).to_be_visible()
        assert page.locator("#full").get_attribute("src") == "output/frame_01.png"
        assert page.locator("#full").evaluate("image => image.naturalWidth") == 64


@needs_browser
def test_full_size_says_so_where_there_are_no_images(
    browser: Browser, local_report: Path, tmp_path: Path
):
    alone = shutil.copy(local_report, tmp_path / "report.html")
    with opened(browser, alone, quiet=False) as page:
        page.get_by_role("button", name="Full size").click()
        expect(page.get_by_role("status")).to_contain_text("frames/frame_01.png is not there")


@needs_browser
def test_a_thousand_frames_are_less_than_three_megabytes(browser: Browser, tmp_path: Path):
    storage = FolderStorage(tmp_path)
    file = written(storage, local_run(storage, 1000, at_once=12, width=320, height=180))
    assert 1_000_000 < file.stat().st_size < 3_000_000
    with opened(browser, file) as page:
        page.keyboard.press("End")
        assert now(page, "frame") == "1000"
        assert re.search(
            r"50\d of the 1,000 images are in this file", page.locator(".player").inner_text()
        )
        assert page.locator(".sheet button").count() == 120
        page.set_viewport_size(PHONE)
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


@needs_browser
def test_ten_thousand_frames_open_too(browser: Browser, tmp_path: Path):
    storage = FolderStorage(tmp_path)
    file = written(storage, local_run(storage, 10_000, at_once=300, stored=False))
    assert file.stat().st_size < 3_000_000
    with opened(browser, file) as page:
        assert "only their number at work is shown" in page.locator("main").inner_text()
        assert "No preview could be made of 1-10000" not in page.locator(".player").inner_text()
        page.keyboard.press("End")
        assert now(page, "frame") == "10000"


HOSTILE = (
    """</script><script>window.taken = 1</script><img src=x onerror="window.taken = 1">'"{{7*7}}"""
)


@needs_browser
def test_hostile_text_stays_text(browser: Browser, tmp_path: Path):
    storage = FolderStorage(tmp_path)
    manifest = make_manifest("hostile", 3, name="</title>" + HOSTILE.replace("/", "\\"))
    units = make_units("hostile", 3)
    results = [
        rendered(units[0], started=START, seconds=1, host="$\\frac{<b>" + HOSTILE),
        failed(units[1], started=START, error=HOSTILE, log_tail="]]>-->" + HOSTILE, host="\x00"),
        rendered(units[2], started=START, seconds=1, host="other"),
    ]
    file = written(storage, finished(storage, manifest, units, results))
    with opened(browser, file) as page:
        page.keyboard.press("ArrowRight")
        assert HOSTILE in page.locator("#blank").inner_text()
        assert HOSTILE in page.locator(".failure .error").inner_text()
        assert page.evaluate("window.taken") is None
        assert page.locator("script").count() == 2
        assert page.locator("main img[src='x']").count() == 0


@pytest.fixture
def mixed_job(sphere_job, on_server: str) -> Job:
    """A job in which one frame is stopped twice, and one has a parse error."""
    endless = "#version 3.7;\n#while (1) #end\n"
    job = sphere_job(
        frames=6,
        scenes={2: endless, 5: SPHERE + '#include "nowhere.inc"\n'},
        frame_timeout=3,
        retries=1,
    )
    with pytest.raises(JobError):
        job.run(show_progress=False)
    return job


@needs_browser
def test_a_job_that_failed_has_a_report_and_prefect_links_to_it(
    mixed_job: Job, on_server: str, browser: Browser, tmp_path: Path, monkeypatch
):
    job = mixed_job
    storage = job.cluster.storage
    kept = [json.loads(storage.read(entry.key)) for entry in storage.list(attempts_of(job))]
    assert sorted((each["frame"], each["attempt"], each["state"]) for each in kept) == [
        (2, 1, "retrying"),
        (2, 2, "failed"),
        (5, 1, "failed"),
    ]

    saved = job.save_report(tmp_path / "saved" / "report.html")
    with opened(browser, saved) as page:
        text = page.locator("main").inner_text()
        assert "File 'sphere.pov' line 6: Parse Error" in text or "nowhere.inc" in text
        assert "POV-Ray was stopped after 3 s" in text
        assert f"povstorm frame {job.job_id} 5" in text
        assert f"povstorm retry {job.job_id}" in text
        legend = page.locator("[data-plot=timeline] + .legend").inner_text()
        assert "failed, tried again" in legend
        assert "4 of 6" in page.locator(".tiles").inner_text()

    assert until_recorded(job).unrecorded == ""
    with httpx.Client(base_url=on_server) as api:
        runs = {"flow_runs": {"name": {"any_": [job.job_id]}}}
        [flow_run] = api.post("flow_runs/filter", json=runs).json()
        of_run = {"artifacts": {"flow_run_id": {"any_": [flow_run["id"]]}}}
        found = api.post("artifacts/filter", json=of_run).json()
    artifacts = {artifact["key"]: artifact["data"] for artifact in found if artifact["key"]}
    # A browser blocks links to files: it is told how to open it.
    assert f"    {storage.path(layout.report(job.job_id))}" in artifacts["report"]
    assert f"povstorm report {job.job_id}" in artifacts["report"]
    assert "file://" not in artifacts["report"] + artifacts["summary"]
    assert "](data:image/jpeg;base64,/9j/" in artifacts["summary"]
    assert "2 of 6 frames were not rendered" in artifacts["summary"]

    # Opened by its command, from the storage, in whatever browser the user has chosen.
    opener, note = tmp_path / "browser", tmp_path / "opened"
    opener.write_text(f"#!/bin/sh\necho \"$1\" > '{note}'\n")
    opener.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(opener))
    monkeypatch.setenv("POVSTORM_HOME", str(storage.root))
    povstorm(tmp_path, "report", job.job_id)
    stored = storage.path(layout.report(job.job_id))
    assert note.read_text().strip() == stored.as_uri()
    done = povstorm(tmp_path, "report", job.job_id, "--no-open", "--output", "there/page.html")
    assert done.stdout == "report  there/page.html\n"
    assert (tmp_path / "there" / "page.html").read_bytes() == stored.read_bytes()


def attempts_of(job: Job) -> str:
    return layout.attempts(job.job_id)


def povstorm(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [POVSTORM, *words], cwd=folder, capture_output=True, text=True, check=True
    )


def test_a_report_that_cannot_be_made_fails_no_job(sphere_job: Callable[..., Job], tmp_path: Path):
    job = sphere_job(frames=2)
    job.submit()
    # A folder where the plan of the waves would be: it can't be read.
    job.cluster.storage.path(layout.plan(job.job_id)).mkdir()

    job.run(show_progress=False)

    state = job.state()
    assert state.phase == "completed"
    assert "2 of 2 frames; there is no report: " in state.message
    assert "plan.json" in state.message
    with pytest.raises(InputError, match="has no report"):
        job.save_report(tmp_path / "report.html")


def test_what_is_saved_has_the_report_beside_it(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("POVSTORM_HOME", str(tmp_path / "home"))
    (tmp_path / "still.pov").write_text(SPHERE)
    done = povstorm(tmp_path, "render", "still.pov", "--size", "32x24")
    assert "report  still_render/report.html" in done.stdout
    assert (tmp_path / "still_render" / "report.html").read_text().startswith("<!doctype html>")
    [job_id] = [path.name for path in (tmp_path / "home" / "jobs").iterdir()]
    done = povstorm(tmp_path, "fetch", job_id, "--output", "fetched")
    assert "report  fetched/report.html" in done.stdout
