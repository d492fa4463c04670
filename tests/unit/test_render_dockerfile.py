"""What the render image's files say twice, so that it can be built by anything, stays the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def names(lines: list[str]) -> set[str]:
    return {re.split(r"[<>=\[; ]", line)[0] for line in lines if line and not line.startswith("#")}


def test_the_image_has_the_version_of_povstorm_on_its_label():
    dockerfile = (ROOT / "render_image" / "Dockerfile").read_text()
    assert f'org.opencontainers.image.version="{PROJECT["version"]}"' in dockerfile


def test_the_image_needs_nothing_that_povstorm_does_not_and_all_at_exact_versions():
    needed = names((ROOT / "render_image" / "requirements.txt").read_text().splitlines())
    pinned = (ROOT / "constraints.txt").read_text().splitlines()

    assert needed
    assert needed <= names(PROJECT["dependencies"])
    assert needed <= names([line for line in pinned if "==" in line])
