"""The fixture for tests that run the render image; conftest files import it."""

from __future__ import annotations

import os

import pytest

from tests.emulators.container.render_container import (
    CannotRunContainersError,
    RenderContainer,
    build_render_container,
)


@pytest.fixture(scope="session")
def render_container() -> RenderContainer:
    """The image of this working tree; tests are skipped where it cannot run, but not in CI."""
    try:
        return build_render_container()
    except CannotRunContainersError as problem:
        if os.environ.get("CI"):
            pytest.fail(str(problem))
        pytest.skip(str(problem))
