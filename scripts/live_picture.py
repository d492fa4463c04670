"""Make docs/images/live.webp: a job on its live page from the first frame to the last.

Runs `povstorm render SCENE --live` and takes a picture of the page whenever frames are done:

    .venv/bin/python scripts/live_picture.py examples/spiral/spiral.ini docs/images/live.webp
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

_VIEW = {"width": 860, "height": 1180}
# Past the name of the scene, so that the contact sheet is in sight.
_SCROLLED = 150
_WIDE = 640
_MOST_BYTES = 1_000_000
_MILLISECONDS, _LAST_MILLISECONDS = 160, 3000
_START_SECONDS = 120.0


def main(scene: str, target: str) -> None:
    """Render the scene, and write an animated WebP to the target."""
    povstorm = Path(sys.executable).with_name("povstorm")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        opener, note = Path(folder) / "browser", Path(folder) / "opened"
        opener.write_text(f'#!/bin/sh\necho "$1" > {note}.new && mv {note}.new {note}\n')
        opener.chmod(0o755)
        environment = os.environ | {"BROWSER": str(opener), "POVSTORM_HOME": f"{folder}/home"}
        words = [povstorm, "render", scene, "+W640", "+H360", "--live", "--output", f"{folder}/out"]
        with subprocess.Popen(words, env=environment) as command:
            deadline = time.monotonic() + _START_SECONDS
            while not note.exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            page = browser.new_page(viewport=_VIEW)
            page.goto(note.read_text().strip())
            page.wait_for_url("http://127.0.0.1:*/**")
            pictures = _while_it_renders(page)
            page.wait_for_url("**/report.html")
            browser.close()
        if command.returncode:
            sys.exit(command.returncode)
    _write(pictures, Path(target))


def _while_it_renders(page: Page) -> list[Image.Image]:
    """A picture for each number of frames that are done, of those that could be seen."""
    pictures: list[Image.Image] = []
    done = ""
    while not page.url.endswith("report.html"):
        try:
            tiles = page.locator("#tiles").inner_text(timeout=500)
            match = re.search(r"\d+ of \d+", tiles)
            if match and match[0] != done:
                done = match[0]
                pictures.append(_picture(page))
        except Exception as error:
            # The page turns into the report in any moment.
            if "report.html" not in page.url and "Timeout" not in str(error):
                raise
        page.wait_for_timeout(50)
    return pictures


def _picture(page: Page) -> Image.Image:
    page.evaluate(f"window.scrollTo({{ top: {_SCROLLED}, behavior: 'instant' }})")
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    return image.resize(
        (_WIDE, round(_WIDE * image.height / image.width)), Image.Resampling.LANCZOS
    )


def _write(pictures: list[Image.Image], target: Path) -> None:
    """As good as fits."""
    durations = [_MILLISECONDS] * (len(pictures) - 1) + [_LAST_MILLISECONDS]
    for quality in (80, 70, 60, 50, 40):
        pictures[0].save(
            target,
            "WEBP",
            save_all=True,
            append_images=pictures[1:],
            duration=durations,
            loop=0,
            quality=quality,
            method=4,
        )
        if target.stat().st_size < _MOST_BYTES:
            break
    print(f"{target}: {len(pictures)} pictures, {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
