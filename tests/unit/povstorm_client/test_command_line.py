"""What is typed wrong is a line, the usage and exit code 2; --help has an example that works."""

from __future__ import annotations

import contextlib
import re
import shlex
from pathlib import Path

import pytest
import typer

from povstorm_client import command_line
from povstorm_client.commands.job_argument import complete_job

GROUP = typer.main.get_command(command_line.app)
COMMANDS = sorted(GROUP.commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("stauts", "No such command 'stauts'. Did you mean 'status'?"),
        ("--verison", "--version"),
        ("--nonsense", "No such option: --nonsense"),
        ("render", "Missing argument 'SCENE'"),
        ("render a.ini --threads abc", "Invalid value for '--threads'"),
        ("render a.ini --thraeds 2", "No such option: --thraeds. Did you mean --threads?"),
        ("render --thraeds=2 a.ini", "No such option: --thraeds. Did you mean --threads?"),
        ("render a.ini --no-sandobx", "Did you mean --no-sandbox?"),
        ("render a.ini --zork", "No such option: --zork"),
        ("render a.ini --frames", "--frames"),
        ("jobs --last", "--last"),
        ("--cluster", "--cluster"),
        ("submit a.ini --retires 2", "Did you mean --retries?"),
        ("frame", "Missing argument 'JOB'"),
        ("frame a-20260102-030405-ab12 x", "Invalid value for 'FRAME'"),
        ("jobs --last abc", "Invalid value for '--last'"),
        ("jobs extra", "unexpected extra argument"),
        ("clean --keep -1", "Invalid value for '--keep'"),
        ("status", "Missing argument 'JOB'"),
        ("status a b", "unexpected extra argument"),
        ("status a --wacth", "--watch"),
        ("status a --cluster x", "--cluster stands before the command's name"),
        ("render a.ini --cluster x", "--cluster stands before the command's name"),
        ("render a.ini --deployment x", "--deployment stands before the command's name"),
    ],
)
def test_what_is_typed_wrong_is_a_line_and_the_usage(
    words: str, message: str, capsys: pytest.CaptureFixture[str]
):
    assert command_line.run(shlex.split(words)) == 2

    said = capsys.readouterr()
    assert said.out == ""
    line, usage, help_line = said.err.splitlines()
    assert line.startswith("povstorm: ")
    assert message in line
    assert usage.startswith("Usage: povstorm ")
    assert help_line.endswith("--help says more")


@pytest.mark.parametrize("name", ["-h", "--help"])
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_has_help_with_an_example_that_parses(
    command: str, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "200")
    assert command_line.run([*command.split(), name]) == 0

    shown = capsys.readouterr().out
    example = re.search(r"Example: povstorm (.*?) *$", shown, re.MULTILINE)
    words = shlex.split(example[1])
    assert command in ("", *words)
    with GROUP.make_context("povstorm", words) as context:
        rest = [*context._protected_args, *context.args]
        chosen, found, rest = GROUP.resolve_command(context, rest)  # type: ignore[attr-defined]
        assert chosen in COMMANDS
        with found.make_context(chosen, rest, parent=context) as inner:
            assert inner.args == []


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_options_without_a_value_have_no_type_in_the_help(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "200")
    assert command_line.run([*command.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert "bool" not in shown
    assert re.search(r"--help .*Show this message", shown)


def test_help_groups_commands_and_keeps_cloud_options_apart(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "200")
    command_line.run(["--help"])
    shown = capsys.readouterr().out
    for panel in ("Render", "Look", "Keep house", "Google Cloud"):
        assert f"─ {panel} ─" in shown
    command_line.run(["render", "--help"])
    here, cloud = capsys.readouterr().out.split("─ Google Cloud ─")
    for option in ("--prefer", "--max-cost", "--seconds-per-frame"):
        assert option in cloud
        assert option not in here
    assert "--threads" in here


def test_without_a_command_the_help_is_shown_and_nothing_was_done(
    capsys: pytest.CaptureFixture[str],
):
    assert command_line.run([]) == 2
    assert "Keep house" in capsys.readouterr().out


def test_povray_s_switches_are_no_options_of_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "a.pov").write_text("camera { location 0 }\n")
    monkeypatch.chdir(tmp_path)
    words = ["render", "a.pov", "--dry-run", "-D", "+H20", "-A", f"+L{tmp_path}/home", "+W10"]
    (tmp_path / "home").mkdir()
    assert command_line.run(words) == 0
    assert "10x20" in capsys.readouterr().out


def test_the_ids_of_stored_jobs_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("orbit-20260102-030405-ab12", "orbit-20260103-030405-ab12", "x-1", "Not a job"):
        (tmp_path / "jobs" / name).mkdir(parents=True)
    monkeypatch.setenv("POVSTORM_HOME", str(tmp_path))
    context = typer.Context(GROUP)
    assert complete_job(context, "orbit-") == [
        "orbit-20260103-030405-ab12",
        "orbit-20260102-030405-ab12",
    ]
    context.params["cluster"] = Path("outputs.json")
    assert complete_job(context, "orbit-") == []
    context.params.clear()
    monkeypatch.setenv("POVSTORM_HOME", str(tmp_path / "jobs" / "x-1" / ".." / "file"))
    (tmp_path / "jobs" / "file").write_text("")
    assert complete_job(context, "") == []


def test_a_shell_is_given_its_completion(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COMP_WORDS", "povstorm st")
    monkeypatch.setenv("COMP_CWORD", "1")
    monkeypatch.setenv("_POVSTORM_COMPLETE", "complete_bash")
    with contextlib.suppress(SystemExit):
        command_line.run([])
    assert capsys.readouterr().out.split() == ["status"]
