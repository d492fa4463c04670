"""The live page in a real browser, while a job goes on beside it."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from povstorm_client.errors import InputError
from povstorm_client.live.job_feed import JobFeed
from povstorm_client.live.live_address import LiveAddress, live_address
from povstorm_client.live.live_server import LiveServer, live_server
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.protocol import Storage
from tests.conftest import SPHERE
from tests.e2e.browser import PHONE, browser, faint_texts, needs_browser
from tests.live_job import LiveJob

__all__ = ["browser"]

POVSTORM = str(Path(sys.executable).with_name("povstorm"))
# Of a busy machine: what is waited for comes in a second or two.
PATIENCE = 60_000
HOSTILE = (
    """</script><script>window.taken = 1</script><img src=x onerror="window.taken = 1">'"{{7*7}}"""
)


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path / "storage")


@contextmanager
def serving(job: LiveJob, home: Path | None = None) -> Iterator[LiveServer]:
    address = live_address(home or Path(job.storage.root), job.storage.uri, job.job_id)
    with live_server(job.storage, JobFeed.open(job.storage, job.job_id), address) as server:
        yield server


@contextmanager
def opened(browser: Browser, url: str, *, quiet: bool = True, **options: object) -> Iterator[Page]:
    """The page in a browser; afterwards, that nothing complained, and nobody else was asked."""
    context: BrowserContext = browser.new_context(**options)
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    complaints: list[str] = []
    asked: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda line: complaints.append(line.text) if line.type in ("error", "warning") else None,
    )
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    yield page
    context.close()
    if quiet:
        assert complaints == []
    assert [each for each in asked if not each.startswith((url, "data:"))] == []


def tile(page: Page, label: str):
    return page.locator("#tiles > div", has=page.locator("dt", has_text=re.compile(f"^{label}$")))


def now(page: Page, name: str):
    return page.locator(f"[data-now={name}]")


def stage(page: Page) -> str:
    return page.evaluate("document.getElementById('stage').toDataURL()")


@needs_browser
def test_frames_appear_while_the_job_goes_on(browser: Browser, storage: FolderStorage):
    job = LiveJob(storage, 24)
    with serving(job) as server, opened(browser, server.address.url) as page:
        expect(page.locator("#phase")).to_have_text("Not started")
        expect(page.locator("#blank")).to_have_text("No frame is done yet")
        job.publish(working=[1, 2])
        expect(page.locator("#phase")).to_have_text("Rendering")
        expect(page.get_by_role("button", name="Frame 2, in work")).to_be_visible()
        expect(tile(page, "Left")).to_contain_text("known after the first frames")

        job.render(*range(1, 7), host="a workstation")
        job.publish(working=[7, 8])
        expect(tile(page, "Frames")).to_contain_text("6 of 24")
        expect(tile(page, "Left")).to_contain_text(re.compile(r"≈ .* s.*between .* and .*until"))
        expect(page.locator("#sheet img")).to_have_count(6)
        expect(now(page, "frame")).to_have_text("6")
        expect(now(page, "host")).to_have_text("a workstation")
        expect(page.locator("#shares")).to_contain_text("a workstation")
        expect(page.locator("#seconds-lead")).to_contain_text("slowest 1.00 s")

        # Who has not chosen a frame sees the newest.
        job.render(9)
        expect(now(page, "frame")).to_have_text("9")
        expect(page.locator("#blank")).to_be_hidden()
        expect(page).to_have_title("29 % · orbit")


@needs_browser
def test_the_player_holds_the_nearest_frame_in_a_gap(browser: Browser, storage: FolderStorage):
    job = LiveJob(storage, 30)
    job.render(1, 10, 30)
    with serving(job) as server, opened(browser, server.address.url) as page:
        page.get_by_role("button", name="Frame 10", exact=True).click()
        expect(now(page, "frame")).to_have_text("10")
        page.wait_for_function("document.querySelectorAll('#sheet img').length === 3")
        page.wait_for_timeout(300)
        tenth = stage(page)
        page.keyboard.press("ArrowRight")
        expect(now(page, "frame")).to_have_text("11, waiting, shown: 10")
        assert stage(page) == tenth
        # What is chosen stays, whatever is done meanwhile.
        job.render(12)
        expect(page.locator("#sheet img")).to_have_count(4)
        expect(now(page, "frame")).to_have_text("11, waiting, shown: 10")
        job.render(11)
        expect(now(page, "frame")).to_have_text("11")
        page.wait_for_function(
            "before => document.getElementById('stage').toDataURL() !== before", arg=tenth
        )
        page.keyboard.press("Home")
        page.get_by_role("button", name="Play").click()
        expect(now(page, "frame")).to_have_text(re.compile("^(1[2-9]|2[0-9]), waiting, shown: 12"))


@needs_browser
def test_a_failed_frame_is_there_with_povrays_own_line(browser: Browser, storage: FolderStorage):
    job = LiveJob(storage, 8)
    line = "File 'orbit.pov' line 31: Parse Error: Expected 'object', } found instead"
    with serving(job) as server, opened(browser, server.address.url) as page:
        job.render(1, 2, 3)
        job.fail(4, line, log_tail=f"{line}\nFatal error in parser: Cannot parse input.")
        expect(page.locator(".failure .error")).to_have_text(line)
        expect(page.locator(".failure .command")).to_have_text("povstorm frame orbit-live 4")
        page.locator(".failure summary").click()
        expect(page.locator(".failure details pre")).to_contain_text("Cannot parse input")
        page.locator(".failure .jump").click()
        expect(page.locator("#blank")).to_have_text(f"Frame 4 failed: {line}")
        expect(tile(page, "Frames")).to_contain_text("1 failed")


@needs_browser
def test_retries_and_lost_containers_are_told(browser: Browser, storage: FolderStorage):
    job = LiveJob(storage, 8)
    with serving(job) as server, opened(browser, server.address.url) as page:
        lost = "its container render-x/task-3 was lost with exit code 137"
        job.fail(5, lost, state="retrying", host="render-x/task-3", lost_container=True)
        job.fail(6, "POV-Ray was stopped after 3 s", state="retrying")
        expect(page.locator("#attempts li")).to_have_count(2)
        expect(page.locator("#attempts li", has_text=lost)).to_contain_text("container lost")
        expect(page.get_by_role("button", name="Frame 5, to be tried again")).to_be_visible()
        expect(tile(page, "Frames")).to_contain_text("2 to be tried again")
        job.render(5, attempt=2)
        expect(page.get_by_role("button", name="Frame 5", exact=True).first).to_be_visible()
        expect(tile(page, "Frames")).to_contain_text("1 to be tried again")


@needs_browser
def test_the_page_goes_on_when_its_server_was_started_anew(
    browser: Browser, storage: FolderStorage
):
    job = LiveJob(storage, 12)
    job.render(1, 2)
    with serving(job) as server:
        url = server.address.url
        context = browser.new_context()
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.goto(url)
        expect(page.locator("#sheet img")).to_have_count(2)
        page.evaluate("window.same = true")
    expect(page.locator("#lost")).to_contain_text("does not answer")
    job.render(3, 4, 5)
    with serving(job) as again:
        assert again.address.url == url
        expect(page.locator("#sheet img")).to_have_count(5)
        expect(page.locator("#lost")).to_be_hidden()
        assert page.evaluate("window.same"), "the page was not loaded again"
        context.close()


@needs_browser
def test_when_the_job_has_ended_the_page_is_its_report(browser: Browser, storage: FolderStorage):
    job = LiveJob(storage, 3)
    with serving(job) as server, opened(browser, server.address.url) as page:
        job.render(1, 2, 3)
        expect(page.locator("#sheet img")).to_have_count(3)
        storage.write(layout.report(job.job_id), b"<!doctype html><title>The report</title>")
        job.publish(phase="completed", message="3 of 3 frames")
        expect(page).to_have_title("The report")
        assert page.url == f"{server.address.url}report.html"
        # So it is for whoever comes later.
        page.goto(server.address.url)
        expect(page).to_have_title("The report")


@needs_browser
def test_a_keyboard_alone_reaches_everything(browser: Browser, storage: FolderStorage):
    job = LiveJob(storage, 40)
    job.render(*range(1, 21))
    job.fail(30, "no light")
    with serving(job) as server, opened(browser, server.address.url) as page:
        expect(page.locator("#sheet img")).to_have_count(20)
        expect(page.locator(".failure")).to_be_visible()
        reached = []
        for _ in range(30):
            page.keyboard.press("Tab")
            focused = page.evaluate(
                "(e => e === document.body ? '' : e.id || e.dataset.frame || e.tagName)"
                "(document.activeElement)"
            )
            if not focused:
                break
            reached.append(focused)
        assert reached[:4] == ["play", "scrub", "newest", "sharp"]
        assert len(reached) < 15, "the thumbnails are one stop"
        page.get_by_role("button", name="Frame 7", exact=True).focus()
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.dataset.frame") == "8"
        expect(now(page, "frame")).to_have_text("8")
        page.keyboard.press("End")
        expect(now(page, "frame")).to_have_text("40, waiting, shown: 20")
        names = page.evaluate(
            "[...document.querySelectorAll('button, a, input')]"
            ".map(e => e.ariaLabel || e.innerText.trim())"
        )
        assert all(names)


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_contrast_in_light_and_dark(
    browser: Browser, storage: FolderStorage, scheme: str
):
    job = LiveJob(storage, 12)
    job.render(1, 2)
    job.fail(3, "no light", log_tail="no light at all")
    job.fail(4, "lost", state="retrying", lost_container=True)
    job.publish(working=[5])
    with (
        serving(job) as server,
        opened(browser, server.address.url, color_scheme=scheme, reduced_motion="reduce") as page,
    ):
        expect(page.locator("#attempts li")).to_have_count(2)
        expect(page.locator("#sheet img")).to_have_count(2)
        back = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (back == "rgb(250, 249, 247)") == (scheme == "light")
        assert faint_texts(page) == []


@needs_browser
def test_a_phone_scrolls_down_only(browser: Browser, storage: FolderStorage):
    job = LiveJob(storage, 300, name="a_name_without_any_blank_" * 3)
    job.render(*range(1, 9), host="render-512m-x7k2q/task-0-of-a-long-name/" * 3)
    job.fail(10, "x" * 300)
    with serving(job) as server, opened(browser, server.address.url, viewport=PHONE) as page:
        expect(page.locator(".failure")).to_be_visible()
        expect(page.locator("#shares tr")).to_have_count(1)
        table = "document.getElementById('shares').closest('.scroll')"
        assert page.evaluate(f"{table}.scrollWidth <= {table}.clientWidth"), "a column is cut off"
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


@needs_browser
def test_hostile_text_stays_text(browser: Browser, storage: FolderStorage):
    # A name has no slash: it becomes part of file names.
    name = "<title>" + HOSTILE.replace("/", "\\")
    job = LiveJob(storage, 4, name=name)
    job.render(1, host="<b>" + HOSTILE)
    job.fail(2, HOSTILE, log_tail="]]>-->" + HOSTILE, host="\x00" + HOSTILE)
    job.publish(message=HOSTILE, phase="stitching")
    with serving(job) as server, opened(browser, server.address.url) as page:
        expect(page.locator(".failure .error")).to_have_text(HOSTILE)
        expect(page.locator("#message")).to_have_text(HOSTILE)
        expect(page.locator("h1")).to_have_text(name)
        expect(page.locator("#shares th")).to_have_text("<b>" + HOSTILE)
        expect(page.locator("#attempts")).to_contain_text(HOSTILE)
        page.locator(".failure .jump").click()
        expect(page.locator("#blank")).to_contain_text(HOSTILE)
        assert page.evaluate("window.taken") is None
        assert page.locator("script").count() == 2
        assert page.locator("img[src='x']").count() == 0


@needs_browser
def test_ten_thousand_frames_are_a_few_dozen_thumbnails(browser: Browser, storage: FolderStorage):
    job = LiveJob(storage, 10_000)
    job.render(1, 2, 5000, 10_000)
    with serving(job) as server, opened(browser, server.address.url) as page:
        expect(tile(page, "Frames")).to_contain_text("4 of 10000")
        expect(page.locator("#sheet img").first).to_be_visible()
        assert page.locator("#sheet button").count() < 200
        page.get_by_role("slider", name="Frame").focus()
        page.keyboard.press("Home")
        page.keyboard.press("End")
        expect(now(page, "frame")).to_have_text("10000")
        expect(page.get_by_role("button", name="Frame 10000", exact=True)).to_be_visible()
        assert page.locator("#sheet button").count() < 200
        assert page.evaluate("document.documentElement.scrollHeight") < 4000


class Counted:
    """A storage that counts the calls that reach it, by their name."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.calls: list[tuple[str, str]] = []

    def __getattr__(self, name: str):
        found = getattr(self._storage, name)
        if not callable(found):
            return found

        def counted(*words, **named):
            self.calls.append((name, str(words[0]) if words else ""))
            return found(*words, **named)

        return counted


def test_several_browsers_cost_no_more_than_one(storage: FolderStorage):
    job = LiveJob(storage, 300)
    job.render(*range(1, 301))
    counted = Counted(storage)
    feed = JobFeed.open(counted, job.job_id)
    address = live_address(storage.root, storage.uri, job.job_id)
    with live_server(counted, feed, address) as server:
        pictures = [httpx.get(f"{server.address.url}frames/7/1.webp", timeout=60) for _ in range(4)]
        assert {picture.status_code for picture in pictures} == {200}
        assert len({picture.content for picture in pictures}) == 1
        key = f"{layout.output(job.job_id)}/{job.units[6].image_name}"
        assert [call for call in counted.calls if call[1] == key] == [("read", key)]

        rows = [seen_rows(server.address.url, 300) for _ in range(3)]
        assert rows == [300, 300, 300]
        results = [key for name, key in counted.calls if key.startswith(layout.results(job.job_id))]
        # Of the frame whose picture was asked for once more.
        assert len(set(results)) == 300
        assert len(results) == 301
        assert "list" not in {
            name for name, key in counted.calls if key == layout.results(job.job_id)
        }


def seen_rows(url: str, most: int) -> int:
    """How many frames the events tell of until so many have an image."""
    known: dict[int, str] = {}
    with httpx.stream("GET", f"{url}events", timeout=60) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                for row in json.loads(line[6:]).get("rows", []):
                    known[row[0]] = row[9]
                if sum(map(bool, known.values())) >= most:
                    break
    return sum(map(bool, known.values()))


@pytest.fixture
def answering(storage: FolderStorage) -> Iterator[LiveServer]:
    job = LiveJob(storage, 3, job_id="orbit-live")
    LiveJob(storage, 3, job_id="another-job").render(1)
    job.render(1)
    with serving(job) as server:
        yield server


def test_it_listens_on_the_loopback_interface_alone(answering: LiveServer):
    mine = [
        connection.laddr
        for connection in psutil.Process().net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
        and connection.laddr.port == answering.address.port
    ]
    assert [where.ip for where in mine] == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "evil.example:{port}"}, 421),
        ({"host": "127.0.0.1"}, 421),
        ({"host": "127.0.0.1.evil.example:{port}"}, 421),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-dest": "image"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-dest": "script"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-dest": "iframe"}, 403),
        ({"sec-fetch-site": "same-site", "sec-fetch-dest": "empty"}, 403),
        ({"sec-fetch-site": "same-origin", "sec-fetch-dest": "empty"}, 200),
        ({"sec-fetch-site": "none", "sec-fetch-dest": "document"}, 200),
        ({"host": "localhost:{port}"}, 200),
        ({}, 200),
    ],
)
@pytest.mark.parametrize("what", ["", "events", "frames/1/1.webp", "output/frame_1.png"])
def test_only_its_own_page_is_answered(
    answering: LiveServer, headers: dict[str, str], status: int, what: str
):
    port = str(answering.address.port)
    sent = {name: value.replace("{port}", port) for name, value in headers.items()}
    with httpx.stream("GET", answering.address.url + what, headers=sent, timeout=60) as answer:
        assert answer.status_code == status
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_it_answers_below_its_token_only(answering: LiveServer):
    url = answering.address.url
    token = answering.address.token
    wrong = ("0" if token[0] != "0" else "1") + token[1:]
    for other in (url.replace(token, wrong), url.replace(f"/{token}", ""), f"{url[:-1]}x/"):
        answer = httpx.get(other, timeout=60)
        assert answer.status_code == 404
        # For who has come by an old address.
        assert "no such page here" in answer.text
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        assert httpx.request(method, url, timeout=60).status_code == 405


@pytest.mark.parametrize(
    "path",
    [
        "../another-job/output/frame_1.png",
        "..%2fanother-job/output/frame_1.png",
        "output/../job.json",
        "output/..%2fjob.json",
        "output/%2e%2e%2fjob.json",
        "output/..%2f..%2fanother-job%2foutput%2fframe_1.png",
        "output//etc/passwd",
        "output/%2fetc%2fpasswd",
        "output/frame_1.png%00.txt",
        "output/frame_01.png",
        "output/frame_2.png",
        "output/frame_9.png",
        "output/frame_+1.png",
        "output/frame_\N{ARABIC-INDIC DIGIT ONE}.png",
        "output/notes.txt",
        f"frames/{'9' * 5000}/1.webp",
        f"frames/1/{'9' * 5000}.webp",
        "frames/-1/1.webp",
        "frames/1/..%2f..%2fjob.webp",
        "frames/2/1.webp",
        "job.json",
        "state.json",
        "live.html",
        "video.mp4",
    ],
)
def test_files_are_served_by_frame_and_by_nothing_else(answering: LiveServer, path: str):
    address = answering.address
    with socket.create_connection(("127.0.0.1", address.port), timeout=60) as bare:
        # As it stands: a client would tidy the path up.
        asked = f"{address.prefix}{path}".encode()
        bare.sendall(
            b"GET %b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n"
            % (asked, address.port)
        )
        answer = b"".join(iter(lambda: bare.recv(65536), b""))
    status = int(answer.split(b" ", 2)[1])
    assert status in (400, 404), path
    assert b"\x89PNG" not in answer
    assert b"created_by" not in answer


def test_its_address_is_the_jobs_own_and_stays(storage: FolderStorage, tmp_path: Path):
    home = tmp_path / "home"
    one = live_address(home, storage.uri, "orbit-1")
    assert one == live_address(home, storage.uri, "orbit-1")
    assert one.token != live_address(home, storage.uri, "orbit-2").token
    assert one.token != live_address(home, "gs://a-bucket", "orbit-1").token
    assert one.token != live_address(tmp_path / "another", storage.uri, "orbit-1").token
    secret = home / layout.LIVE_PAGE / "secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert secret.parent.stat().st_mode & 0o777 == 0o700


def test_where_its_port_is_taken_it_takes_another(storage: FolderStorage):
    job = LiveJob(storage, 2)
    with serving(job) as first, serving(job) as second:
        assert isinstance(second.address, LiveAddress)
        assert first.address.port != second.address.port
        for server in (first, second):
            assert httpx.get(server.address.url, timeout=60).status_code == 200


def test_where_a_port_is_asked_for_and_taken_it_says_so(storage: FolderStorage, tmp_path: Path):
    job = LiveJob(storage, 2)
    address = live_address(tmp_path, storage.uri, job.job_id)
    with (
        serving(job) as first,
        pytest.raises(InputError, match=rf"port {first.address.port} cannot be had .* --port"),
        live_server(storage, JobFeed.open(storage, job.job_id), address, port=first.address.port),
    ):
        pass


def test_it_ends_while_a_browser_listens(storage: FolderStorage):
    job = LiveJob(storage, 2)
    with (
        serving(job) as server,
        httpx.stream("GET", f"{server.address.url}events", timeout=60) as answer,
    ):
        lines = answer.iter_lines()
        assert next(lines) == "retry: 1000"
    assert server.nobody_watches.wait(60)


@needs_browser
def test_render_with_live_opens_the_page_and_leaves_the_report_in_it(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The browser is started with a private file's address: all users see a process's arguments."""
    opener, note = tmp_path / "browser", tmp_path / "opened"
    opener.write_text(f"#!/bin/sh\necho \"$1\" > '{note}.part' && mv '{note}.part' '{note}'\n")
    opener.chmod(0o755)
    home = tmp_path / "home"
    monkeypatch.setenv("BROWSER", str(opener))
    monkeypatch.setenv("POVSTORM_HOME", str(home))
    # Frames that take a while, so that the page is there before they are.
    slow = SPHERE + "#declare I = 0; #while (I < 300000) #declare I = I + 1; #end\n"
    (tmp_path / "still.pov").write_text(slow)
    words = ["still.pov", "--size", "32x24", "--video", "none", "--live"]
    with subprocess.Popen(
        [POVSTORM, "render", *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as command:
        deadline = time.monotonic() + 120
        while not note.exists() and time.monotonic() < deadline and command.poll() is None:
            time.sleep(0.05)
        page_file = Path(note.read_text().strip().removeprefix("file://"))
        assert page_file.parent == home / layout.LIVE_PAGE
        assert page_file.stat().st_mode & 0o777 == 0o600
        context = browser.new_context()
        context.set_default_timeout(120_000)
        page = context.new_page()
        page.goto(page_file.as_uri())
        expect(page).to_have_url(re.compile(r"/report\.html$"), timeout=120_000)
        expect(page.locator(".kicker")).to_have_text("povstorm report")
        said = command.stdout.read() if command.stdout else ""
        context.close()
    assert command.returncode == 0, said
    assert "povstorm: live page http://127.0.0.1:" in said
