"""What povstorm reads and writes as text is what it is, whatever the locale of who runs it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.test_rooms import MODULES, ROOT

# Where the encoding stands among the positional arguments.
_PLACES = {"read_text": 0, "write_text": 1}


def unnamed_encodings(tree: ast.AST) -> Iterator[int]:
    """Lines of calls of Path's methods that take the locale's encoding."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        place = _PLACES.get(node.func.attr)
        named = any(word.arg == "encoding" for word in node.keywords)
        if place is not None and len(node.args) <= place and not named:
            yield node.lineno


def test_the_check_tells_a_named_encoding_from_none():
    source = """
a.read_text()
a.read_text("utf-8")
a.read_text(encoding="utf-8")
a.write_text("x")
a.write_text("x", "utf-8")
a.read_text(errors="replace")
"""
    assert list(unnamed_encodings(ast.parse(source))) == [2, 5, 7]


@pytest.mark.parametrize("module", MODULES)
def test_each_text_file_is_read_and_written_in_an_encoding_that_is_named(module: str):
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    assert list(unnamed_encodings(tree)) == []


def test_a_report_is_made_and_outputs_are_read_where_the_locale_is_not_utf_8(tmp_path: Path):
    (tmp_path / "outputs.json").write_text('{"bucket": "größe"}', "utf-8")
    program = f"""
import locale, sys
assert locale.getpreferredencoding(False) == "ANSI_X3.4-1968", "this is no test then"
from pathlib import Path
from povstorm_client import Cluster, InputError
from povstorm_client.storage.folder import FolderStorage
from tasks.report.build import build_report
from tests.synthetic_job import local_run
folder = Path({str(tmp_path)!r})
assert "Completed" in build_report(FolderStorage(folder / "storage"), local_run(
    FolderStorage(folder / "storage"), 2)).html
try:
    Cluster.from_terraform_outputs(folder / "outputs.json")
except InputError as error:
    print(ascii(error))
"""
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "outputs.json" in done.stdout
