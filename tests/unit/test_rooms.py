"""The rooms import only downwards, and what is paid per process start stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Lower rooms first; a room imports itself and those before it.
FLOORS = ["povstorm_client", "render_image", "tasks", "flows"]


def imported_modules(file: Path) -> set[str]:
    """What a file imports at run time, at its top or inside of functions."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(file.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            found.add(node.module)
    return found


@pytest.mark.parametrize("room", FLOORS)
def test_a_room_imports_nothing_above_it(room: str):
    above = FLOORS[FLOORS.index(room) + 1 :]
    files = list((ROOT / room).rglob("*.py"))
    assert files
    for file in files:
        for module in imported_modules(file):
            assert module.split(".")[0] not in above, f"{file} imports {module}"


@pytest.mark.parametrize(
    "module", ["povstorm_client", "povstorm_client.cli", "render_image.render_unit"]
)
def test_importing_it_imports_no_prefect_and_no_pydantic(module: str):
    program = (
        f"import sys, {module}\n"
        "print({name.split('.')[0] for name in sys.modules} & {'prefect', 'pydantic', 'PIL'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_a_flow_imports_matplotlib_only_when_it_makes_its_report():
    program = "import sys, flows.render_job; print('matplotlib' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_no_module_is_in_a_circle():
    imports = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts): imported_modules(file)
        for room in FLOORS
        for file in (ROOT / room).rglob("*.py")
    }

    def visit(module: str, path: list[str]) -> None:
        assert module not in path, " → ".join([*path, module])
        if module in done:
            return
        for other in imports.get(module, ()):
            visit(other, [*path, module])
        done.add(module)

    done: set[str] = set()
    for module in imports:
        visit(module, [])
