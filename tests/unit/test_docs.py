"""The documents show every command and exported name, and become a site without a warning."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

import povstorm_client
from povstorm_client.command_line import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = sorted(get_command(app).commands)
# All but the hidden ones, in their long form: command → option, "" for those of the whole command.
OPTIONS = [
    (name, option)
    for name, command in [("", get_command(app)), *sorted(get_command(app).commands.items())]
    for parameter in command.params
    if not getattr(parameter, "hidden", False)
    for option in [*parameter.opts, *parameter.secondary_opts]
    if option.startswith("--")
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_shown_in_the_readme_or_the_documents(command: str):
    shown = re.compile(rf"povstorm( --\S+ \S+)* ({command}\b|\S*\b{command}\|)")

    assert any(shown.search(document.read_text()) for document in DOCUMENTS)


def test_a_command_that_a_document_shows_exists():
    shown = re.compile(r"^povstorm(?: --\S+ \S+)* ([a-z]+)\b", re.MULTILINE)

    for document in DOCUMENTS:
        blocks = "".join(re.findall(r"```sh\n(.*?)```", document.read_text(), re.DOTALL))
        for command in shown.findall(blocks):
            assert command in COMMANDS, f"{document.name} shows `povstorm {command}`"


@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_an_option_is_named_in_the_readme_or_the_documents(command: str, option: str):
    named = re.compile(rf"(?<![\w-]){re.escape(option)}(?![\w-])")

    assert any(named.search(document.read_text()) for document in DOCUMENTS), (
        f"no document names {option} of `povstorm {command}`"
    )


@pytest.mark.parametrize("name", povstorm_client.__all__)
def test_an_exported_name_is_in_the_reference_with_its_docstring(site: Path, name: str):
    page = (site / "reference.html").read_text()
    first_line = getattr(povstorm_client, name).__doc__.splitlines()[0]
    words = re.findall(r"[A-Za-z]{4,}", first_line)

    _, _, entry = page.partition(f'id="povstorm_client.{name}"')
    assert entry, f"docs/reference.md needs `::: povstorm_client.{name}`"
    assert words
    assert all(word in entry for word in words)


def test_the_guide_says_nothing_of_names_that_are_not_there(site: Path):
    """A link to a name of the reference leads to it; mkdocs checks pages, and not all anchors."""
    anchors = set(re.findall(r'id="([^"]+)"', (site / "reference.html").read_text()))
    linked = set(
        re.findall(r"reference\.md#([\w.]+)", (ROOT / "docs/client_program.md").read_text())
    )

    assert linked
    assert linked <= anchors
