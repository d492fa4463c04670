"""The page of ``povstorm watch`` in a real browser, while a scene is edited."""

from __future__ import annotations

import re
import time
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from povstorm_client.watch.scene_problem import SceneProblem
from tests.conftest import SPHERE
from tests.drafted_scene import DraftedScene
from tests.e2e.browser import PHONE, browser, faint_texts, needs_browser
from tests.e2e.test_live_page import HOSTILE, PATIENCE, now, opened, stage, tile
from tests.watched_scene import save, watched

__all__ = ["browser"]

BROKEN = SceneProblem(
    "orbit.pov, line 4",
    "Parse Error: No matching } in 'sphere', undeclared identifier 'pigmment' found instead",
    [(3, "light_source { 5, 1 }", False), (4, "sphere { 0, 1 pigmment { rgb x } }", True)],
    "In frame 1.",
)


@pytest.fixture
def scene(tmp_path: Path) -> DraftedScene:
    return DraftedScene(tmp_path / "drafts", 24)


@needs_browser
def test_a_save_is_seen_and_an_error_comes_and_goes(browser: Browser, tmp_path: Path):
    folder = tmp_path / "scene"
    folder.mkdir()
    file = folder / "sphere.pov"
    save(file, SPHERE)
    with (
        watched(folder, "sphere.pov", "+W128", "+H96", "+KFF6") as scene,
        opened(browser, scene.url) as page,
    ):
        expect(page.locator("#phase")).to_have_text("Up to date")
        expect(page.locator("#sheet img")).to_have_count(6)
        first = page.locator("#sheet img").first
        before = first.get_attribute("src")
        save(file, SPHERE.replace("rgb <1, 0.4, 0.1>", "rgb <0.1, 0.4, 1>"))
        expect(first).not_to_have_attribute("src", str(before))
        expect(page.locator("#message")).to_have_text("sphere.pov saved, all 6 frames change")
        expect(page.locator("#sheet .rendered img")).to_have_count(6)

        save(file, SPHERE.replace("sphere {", "spere {"))
        expect(page.locator("#problem-where")).to_have_text("sphere.pov, line 5")
        expect(page.locator("#problem-lines [aria-current]")).to_contain_text("spere {")
        expect(page.locator("#phase")).to_have_text("Error")
        expect(page.locator("#sheet .outdated img")).to_have_count(6)

        save(file, SPHERE)
        expect(page.locator("#problem")).to_be_hidden()
        expect(page.locator("#phase")).to_have_text("Up to date")
        expect(first).to_have_attribute("src", str(before))


@needs_browser
def test_in_place_of_a_frame_of_before_comes_the_nearest_that_is_new(
    browser: Browser, scene: DraftedScene, tmp_path: Path
):
    scene.draw(*range(1, 25))
    with scene.served(tmp_path / "home") as server, opened(browser, server.address.url) as page:
        expect(page.locator("#sheet img")).to_have_count(24)
        page.get_by_role("button", name="Frame 10", exact=True).click()
        scene.save(24)
        expect(now(page, "frame")).to_have_text("10, outdated")
        scene.draw(12)
        expect(now(page, "frame")).to_have_text("10, outdated, shown: 12")
        scene.draw(10)
        expect(now(page, "frame")).to_have_text("10")
        expect(tile(page, "Drawn")).to_contain_text("2 of 24")


@needs_browser
def test_the_page_goes_to_a_frame_that_the_save_changes(
    browser: Browser, scene: DraftedScene, tmp_path: Path
):
    scene.draw(*range(1, 25))
    with scene.served(tmp_path / "home") as server, opened(browser, server.address.url) as page:
        expect(now(page, "frame")).to_have_text("1")
        scene.save(24, changed={14, 15, 16})
        expect(now(page, "frame")).to_have_text(re.compile("^14, outdated"))
        scene.draw(14)
        expect(now(page, "frame")).to_have_text("14")
        expect(page.locator("#message")).to_have_text("orbit.pov saved, 3 of 24 frames change")
        # Whoever has chosen a frame stays there.
        page.get_by_role("button", name="Frame 15, outdated").click()
        scene.draw(15, 16)
        scene.save(24, changed={3})
        scene.draw(3)
        expect(page.locator("#sheet .rendered")).to_have_count(1)
        expect(now(page, "frame")).to_have_text("15, as before")


@needs_browser
def test_which_frame_is_looked_at_is_known_also_to_a_command_that_was_started_anew(
    browser: Browser, scene: DraftedScene, tmp_path: Path
):
    home = tmp_path / "home"

    def looked_at(frame: int) -> None:
        deadline = time.monotonic() + PATIENCE / 1000
        while scene.feed.looked_at != frame:
            assert time.monotonic() < deadline, f"{scene.feed.looked_at} instead of {frame}"
            time.sleep(0.02)

    with scene.served(home) as server:
        page = browser.new_context().new_page()
        page.goto(server.address.url)
        looked_at(1)
        page.get_by_role("button", name="Frame 7, waiting").click()
        looked_at(7)
    expect(page.locator("#lost")).to_be_visible(timeout=PATIENCE)
    scene.feed.looked_at = 0
    with scene.served(home) as server:
        looked_at(7)
        page.context.close()
        for what in ("looking-at/x", "looking-at/-1", f"looking-at/{'9' * 5000}"):
            assert httpx.get(f"{server.address.url}{what}", timeout=60).status_code == 404


@needs_browser
def test_other_frames_are_another_page_at_the_same_frame(
    browser: Browser, scene: DraftedScene, tmp_path: Path
):
    with scene.served(tmp_path / "home") as server, opened(browser, server.address.url) as page:
        page.get_by_role("button", name="Frame 7").click()
        expect(now(page, "frame")).to_have_text("7, waiting")
        scene.save(9)
        expect(page.get_by_role("slider")).to_have_attribute("max", "8")
        expect(now(page, "frame")).to_have_text("7, waiting")


@needs_browser
def test_a_keyboard_alone_hides_an_error_and_plays(
    browser: Browser, scene: DraftedScene, tmp_path: Path
):
    scene.draw(*range(1, 25))
    scene.save(24)
    scene.fail(1, BROKEN)
    with scene.served(tmp_path / "home") as server, opened(browser, server.address.url) as page:
        problem = page.locator("#problem")
        expect(problem).to_be_visible()
        # Nobody has to scroll for the line that is wrong, or reads in vain where that is.
        expect(page.locator("#problem-lines [aria-current]")).to_be_in_viewport(ratio=1)
        expect(page.locator("#message")).to_contain_text("orbit.pov, line 4: Parse Error")
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name="Hide the error")).to_be_focused()
        page.keyboard.press("Enter")
        expect(problem).to_be_hidden()
        scene.save(24)
        scene.fail(2, BROKEN)
        scene.draw(3)
        expect(page.locator("#sheet .rendered")).to_have_count(1)
        page.reload()
        expect(problem).to_be_visible()
        page.keyboard.press("Escape")
        expect(problem).to_be_hidden()
        page.keyboard.press("End")
        expect(now(page, "frame")).to_have_text(re.compile("^24"))
        scene.draw(*range(4, 25))
        expect(page.locator("#sheet .rendered")).to_have_count(22)
        page.keyboard.press("Home")
        page.keyboard.press(" ")
        expect(page.get_by_role("button", name="Pause")).to_be_visible()


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_contrast_in_light_and_dark(
    browser: Browser, scene: DraftedScene, tmp_path: Path, scheme: str
):
    scene.draw(1, 2)
    scene.save(24, changed={2})
    scene.fail(2, BROKEN)
    with (
        scene.served(tmp_path / "home") as server,
        opened(browser, server.address.url, color_scheme=scheme, reduced_motion="reduce") as page,
    ):
        expect(page.locator("#problem")).to_be_visible()
        expect(page.locator("#sheet img")).to_have_count(2)
        assert faint_texts(page) == []


@needs_browser
def test_a_phone_scrolls_down_only(browser: Browser, scene: DraftedScene, tmp_path: Path):
    scene.draw(1)
    long = [(1, "x" * 240, True), (2, "y " * 120, False)]
    scene.fail(2, SceneProblem("a/folder/" * 20 + "orbit.pov, line 1", "word" * 200, long))
    with (
        scene.served(tmp_path / "home") as server,
        opened(browser, server.address.url, viewport=PHONE) as page,
    ):
        expect(page.locator("#problem")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


@needs_browser
def test_hostile_text_stays_text(browser: Browser, tmp_path: Path):
    scene = DraftedScene(tmp_path / "drafts", 4, name="<title>" + HOSTILE.replace("/", "\\"))
    scene.draw(1)
    scene.fail(2, SceneProblem(HOSTILE, HOSTILE, [(1, HOSTILE, True)], HOSTILE))
    with scene.served(tmp_path / "home") as server, opened(browser, server.address.url) as page:
        expect(page.locator("#problem-words")).to_have_text(HOSTILE)
        expect(page.locator("#problem-lines li")).to_have_text(HOSTILE)
        expect(page.locator("h1")).to_have_text(scene.name)
        assert page.evaluate("window.taken") is None
        assert page.locator("script").count() == 2
        assert page.locator("img[src='x']").count() == 0


@needs_browser
def test_the_page_goes_on_when_the_command_was_started_anew(
    browser: Browser, scene: DraftedScene, tmp_path: Path
):
    scene.draw(1, 2)
    home = tmp_path / "home"
    expect.set_options(timeout=PATIENCE)
    with scene.served(home) as server:
        page = browser.new_context().new_page()
        page.goto(server.address.url)
        expect(page.locator("#sheet img")).to_have_count(2)
        before = stage(page)
        assert before
    expect(page.locator("#lost")).to_contain_text("Is `povstorm watch` still running?")
    scene.draw(3)
    with scene.served(home):
        expect(page.locator("#sheet img")).to_have_count(3)
        expect(page.locator("#lost")).to_be_hidden()
    page.context.close()


def test_pictures_that_are_shown_are_served_and_nothing_else(scene: DraftedScene, tmp_path: Path):
    scene.draw(1)
    version = scene.drafts[0].version
    with scene.served(tmp_path / "home") as server:
        url = server.address.url
        png = httpx.get(f"{url}frames/1/{version}.png", timeout=60)
        assert png.content.startswith(b"\x89PNG")
        assert httpx.get(f"{url}frames/1/{version}.webp", timeout=60).status_code == 200
        for path in (
            f"frames/2/{version}.png",
            f"frames/01/{version}.png",
            f"frames/2/{scene.drafts[1].version}.png",
            f"frames/1/..%2f{version}.png",
            "frames/1/.png",
            "orbit.pov",
            "storage/",
            "live.html",
        ):
            assert httpx.get(url + path, timeout=60).status_code == 404, path
        assert httpx.get(url, headers={"host": "evil.example"}, timeout=60).status_code == 421
        assert (
            httpx.get(url, headers={"origin": "https://a.example"}, timeout=60).status_code == 403
        )
        assert httpx.post(url, timeout=60).status_code == 405
        assert httpx.get(url.replace(server.address.token, "0" * 32), timeout=60).status_code == 404
