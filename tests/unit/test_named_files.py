"""Files that documents, docstrings and comments name are there."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOPS = (
    "povstorm_client|render_image|tasks|flows|tests|benchmarks|scripts|deployments|terraform|docs"
    "|examples"
)
# A path from the root of the repository: it begins with a folder of it, and ends as a file does.
PATH = re.compile(
    rf"(?<![\w/.:-])(?:{TOPS})/[\w./-]*\.(?:py|md|c|css|html|js|json|yaml|tf|hcl|toml|txt|ini|pov)\b"
)
# A bare name of a module in a document: its folder is told by what stands around it.
MODULE = re.compile(r"(?<![\w/.*{-])\w+\.(?:py|c|tf)\b(?!\w)")
# What an example in the text tells its reader to write.
WRITTEN_BY_THE_READER = {"bounce.py"}
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
SOURCES = sorted(
    file
    for top in ("povstorm_client", "render_image", "tasks", "flows", "tests", "benchmarks")
    for file in (ROOT / top).rglob("*.py")
)
MODULE_NAMES = {
    file.name
    for top in (*TOPS.split("|"), ".")
    for file in ((ROOT / top).glob("*") if top == "." else (ROOT / top).rglob("*"))
}


def words_of(source: Path) -> Iterator[str]:
    """The comments and docstrings of a module; strings of the program are no words."""
    text = source.read_text()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def of_today(document: Path) -> str:
    """A document's text without what a table says of another version, in a last column for it."""
    lines = []
    is_of_two = False
    for line in document.read_text().splitlines():
        is_of_two = line.startswith("|") and (is_of_two or line.endswith("| in 0.1.0 |"))
        lines.append(line.removesuffix("|").rpartition("|")[0] if is_of_two else line)
    return "\n".join(lines)


def not_there(text: str) -> list[str]:
    return [path for path in PATH.findall(text) if not (ROOT / path).exists()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.name)
def test_a_file_that_a_document_names_is_there(document: Path):
    text = of_today(document)

    assert not_there(text) == []
    assert set(MODULE.findall(text)) - MODULE_NAMES - WRITTEN_BY_THE_READER == set()


def test_a_file_that_a_docstring_or_a_comment_names_is_there():
    missing = {
        str(source.relative_to(ROOT)): found
        for source in SOURCES
        if (found := not_there("\n".join(words_of(source))))
    }

    assert missing == {}


def test_a_file_that_is_not_there_is_seen():
    text = "see `povstorm_client/gone.py`, tests/unit/test_named_files.py and docs/gone.md."

    assert not_there(text) == ["povstorm_client/gone.py", "docs/gone.md"]
