"""`from povstorm_client import …` gives all that a client program meets, and loads no more."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

import povstorm_client
from povstorm_client import errors

EXPORTED = {
    *("Cluster", "Job", "JobSettings", "RenderSettings", "SharedUse", "WorkUnit"),
    *("Check", "ExecutionState", "CloudRunJob", "TerraformOutputs"),
    *("FrameLine", "FrameResult", "FrameStatistics", "Percentiles"),
    *("JobState", "JobStatistics", "JobSummary"),
    *("AccessError", "CloudError", "FieldError", "InputError", "JobError", "PovstormError"),
    *("RecordError", "RenderError", "StorageError", "ToolError", "VideoError"),
}
# What Cluster, JobSettings and WorkUnit show to the rooms above: seams, and what lies behind them.
SEAMS = {
    "ChainLink",
    *("CloudRunApi", "CloudRunFleet", "TaskState"),
    *("DeployedFlow", "RunningFlow"),
    *("Storage", "StoredObject"),
    *("ToneMapping", "VideoOptions"),
}


def test_the_exported_names_are_these():
    assert set(povstorm_client.__all__) == EXPORTED
    assert list(povstorm_client.__all__) == sorted(EXPORTED)


@pytest.mark.parametrize("name", sorted(EXPORTED))
def test_an_exported_name_is_the_class_that_type_checkers_see(name: str):
    found = getattr(povstorm_client, name)

    assert found.__name__ == name
    assert (found.__module__, name) in type_checkers_imports()
    assert name in dir(povstorm_client)


def test_another_name_is_no_attribute():
    with pytest.raises(AttributeError, match="'Jobs'"):
        povstorm_client.Jobs  # noqa: B018


def test_every_error_is_exported():
    raised = {
        name
        for name, found in vars(errors).items()
        if inspect.isclass(found) and issubclass(found, Exception)
    }

    assert raised <= EXPORTED


def test_every_class_that_reaches_a_client_program_is_exported():
    """Through the fields, parameters and results of what is exported, however far."""
    reached: set[type] = set()
    waiting = [getattr(povstorm_client, name) for name in EXPORTED]
    while waiting:
        found = waiting.pop()
        if found not in reached:
            reached.add(found)
            waiting += classes_met_through(found)

    assert {found.__name__ for found in reached} - SEAMS == EXPORTED
    assert {found.__name__ for found in reached} >= SEAMS


def test_a_package_tells_type_checkers_that_it_is_typed():
    for package in ("povstorm_client", "render_image", "tasks", "flows"):
        assert Path(povstorm_client.__file__).parents[1].joinpath(package, "py.typed").exists()


def test_a_render_container_loads_no_module_of_the_client_programs():
    program = (
        "import sys, render_image.entrypoint\n"
        "print(*(name for name in sys.modules if name.startswith('povstorm_client.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())

    assert povstorm_client.WorkUnit.__module__ in loaded
    for name in ("Cluster", "Job", "Check", "JobState", "JobStatistics", "JobSummary"):
        assert getattr(povstorm_client, name).__module__ not in loaded


def type_checkers_imports() -> set[tuple[str | None, str]]:
    tree = ast.parse(Path(povstorm_client.__file__).read_text())
    return {
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def classes_met_through(found: type) -> Iterator[type]:
    functions = [
        getattr(member, "__func__", None)
        or getattr(member, "fget", None)
        or getattr(member, "func", None)
        or member
        for name, member in vars(found).items()
        if not name.startswith("_") or name == "__init__"
    ]
    annotated = [found, *(each for each in functions if inspect.isfunction(each))]
    for each in annotated:
        for name, hint in typing.get_type_hints(each).items():
            if not name.startswith("_"):
                yield from our_classes(hint)


def our_classes(hint: object) -> Iterator[type]:
    if inspect.isclass(hint) and hint.__module__.startswith("povstorm_client"):
        yield hint
    parts = hint if isinstance(hint, list | tuple) else typing.get_args(hint)
    for part in parts:
        yield from our_classes(part)
