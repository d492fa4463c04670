"""The fixtures for tests that run povstorm's images; conftest files import them."""

from __future__ import annotations

import os
from typing import Literal

import pytest

from tests.emulators.container.built_image import (
    BuiltImage,
    CannotRunContainersError,
    build_image,
)
from tests.emulators.container.render_container import RenderContainer, build_render_container


@pytest.fixture(scope="session")
def render_container() -> RenderContainer:
    """The image of this working tree; tests are skipped where it cannot run, but not in CI."""
    _require("render")
    return build_render_container()


@pytest.fixture(scope="session")
def flow_image() -> BuiltImage:
    """The flow's on Cloud Run, likewise; it takes minutes to build the first time."""
    return _require("flow")


def _require(which: Literal["render", "flow"]) -> BuiltImage:
    try:
        return build_image(which)
    except CannotRunContainersError as problem:
        if os.environ.get("CI"):
            pytest.fail(str(problem))
        pytest.skip(str(problem))
