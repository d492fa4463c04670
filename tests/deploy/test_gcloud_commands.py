"""The stand-in for gcloud takes no command and no flag that gcloud does not have."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.programs.gcloud_commands import (
    COMMANDS,
    EVERYWHERE,
    SWITCHES_EVERYWHERE,
    UsageError,
    understood,
)


@pytest.fixture(scope="module")
def gclouds_own() -> dict[str, Any]:
    """All commands with their flags, which gcloud has for completing what is typed."""
    program = shutil.which("gcloud")
    if program is None:
        pytest.skip("there is no gcloud here: https://cloud.google.com/sdk/docs/install")
    file = Path(program).resolve().parents[1] / "data" / "cli" / "gcloud_completions.py"
    if not file.is_file():
        pytest.skip("this gcloud has no table of its commands")
    spec = importlib.util.spec_from_file_location("gcloud_completions", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, Any] = module.STATIC_COMPLETION_CLI_TREE
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_gcloud_has_the_command_and_each_of_its_flags(gclouds_own: dict[str, Any], name: str):
    command = gclouds_own
    for word in name.split():
        command = command["commands"][word]

    # Those that switch something off stand in the table without their "no-".
    known = set(command["flags"]) | {f"--no-{flag[2:]}" for flag in command["flags"]}
    assert COMMANDS[name].flags | COMMANDS[name].switches <= known
    assert set(gclouds_own["flags"]) >= EVERYWHERE | SWITCHES_EVERYWHERE


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        ("auth log-in", "Invalid choice"),
        ("secrets create", "0 arguments"),
        ("secrets create a --data-files=-", "unrecognized arguments: --data-files=-"),
        ("secrets versions access latest", "argument --secret: Must be specified"),
        ("storage cp a", "1 arguments"),
        ("run services proxy povstorm-prefect --region", "expected one argument"),
    ],
)
def test_what_gcloud_would_refuse_is_refused(words: str, refusal: str):
    with pytest.raises(UsageError, match=refusal):
        understood(words.split())
