"""Who asks for a sandbox gets one, an error or a warning; who asks for none is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from povstorm_client import Cluster, InputError, Job, ToolError
from povstorm_client.programs import sandbox_mode
from povstorm_client.programs.bubblewrap import bubblewrap_problem
from povstorm_client.programs.sandbox_mode import announce_sandbox, sandbox_mode_here


@pytest.fixture(autouse=True)
def fresh_probe():
    bubblewrap_problem.cache_clear()
    yield
    bubblewrap_problem.cache_clear()


@pytest.fixture
def no_bwrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture
def forbidden_bwrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that may make no namespaces."""
    program = tmp_path / "bwrap"
    words = "bwrap: No permissions to create new namespace"
    program.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


def test_without_bubblewrap_one_line_warns_and_names_the_remedies(no_bwrap, capsys):
    announce_sandbox("auto")
    warning = capsys.readouterr().err
    assert warning.count("\n") == 1
    for words in ("uncontained", "apt install bubblewrap", "--no-sandbox"):
        assert words in warning


def test_a_bubblewrap_that_may_not_work_is_told_with_its_reason(forbidden_bwrap, capsys):
    announce_sandbox("auto")
    assert "No permissions to create new namespace" in capsys.readouterr().err
    with pytest.raises(ToolError, match="No permissions"):
        announce_sandbox("required")


def test_off_is_silent(no_bwrap, capsys):
    announce_sandbox("off")
    assert capsys.readouterr().err == ""


def test_the_operators_choice_holds_where_a_job_makes_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv(sandbox_mode.VARIABLE, "required")
    assert sandbox_mode_here() == "required"
    monkeypatch.setenv(sandbox_mode.VARIABLE, "of")
    with pytest.raises(InputError, match="'of' is not known: auto, required, off"):
        Job(Cluster.local(tmp_path), "job")
    with pytest.raises(InputError, match="'no' is not known"):
        Job(Cluster.local(tmp_path), "job", sandbox="no")
