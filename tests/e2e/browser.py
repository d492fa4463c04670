"""A real browser for the tests of the report and of the live page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium")
PHONE = {"width": 375, "height": 812}

needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is missing: scripts/require_chromium installs it"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


def faint_texts(page: Page) -> list[str]:
    """Texts whose contrast with what is behind them is too low.

    https://www.w3.org/TR/WCAG22/#contrast-minimum; what lies on pictures is left out.
    """
    return page.evaluate("""() => {
      const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
      const rgba = (css) => {
        pen.clearRect(0, 0, 1, 1);
        pen.fillStyle = css;
        pen.fillRect(0, 0, 1, 1);
        return [...pen.getImageData(0, 0, 1, 1).data];
      };
      const luminance = ([r, g, b]) => [r, g, b].map((c) => {
        c /= 255;
        return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
      }).reduce((sum, c, index) => sum + c * [0.2126, 0.7152, 0.0722][index], 0);
      const behind = (element) => {
        for (let each = element; each; each = each.parentElement) {
          const colour = rgba(getComputedStyle(each).backgroundColor);
          if (colour[3] === 255) return colour;
        }
        return [255, 255, 255, 255];
      };
      const faint = [];
      for (const element of document.querySelectorAll("body *")) {
        const words = [...element.childNodes].filter((node) => node.nodeType === 3)
          .map((node) => node.data.trim()).join("");
        const skipped = element.closest(".screen, script, .hidden");
        if (!words || !element.offsetParent || skipped) continue;
        if (element.closest("button")?.querySelector("img")) continue;
        const style = getComputedStyle(element);
        const [one, other] = [luminance(rgba(style.color)), luminance(behind(element))];
        const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        const large = parseFloat(style.fontSize) >= 24;
        if (contrast < (large ? 3 : 4.5)) faint.push(`${words}: ${contrast.toFixed(2)}`);
      }
      return faint;
    }""")
