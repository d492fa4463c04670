"""The rooms import only downwards, and what is paid per process start stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Lower rooms first; a room imports itself and those before it.
FLOORS = ["povstorm_client", "render_image", "tasks", "flows"]


# Every module of ours → its file; a package is its __init__.
MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for room in FLOORS
    for file in sorted((ROOT / room).rglob("*.py"))
}


def imported_modules(file: Path) -> set[str]:
    """What a file imports at run time, at its top or inside of functions.

    ``from package import module`` imports the module, not the package alone.
    """
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(file.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                found.add(module if module in MODULES else str(node.module))
    return found


def circle(imports: Mapping[str, set[str]]) -> list[str]:
    """Modules of which each imports the next, and the last the first again; [] for none."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module not in done:
            for other in sorted(imports.get(module, ())):
                if found := visit(other, [*path, module]):
                    return found
            done.add(module)
        return []

    for module in imports:
        if found := visit(module, []):
            return found
    return []


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
    found = circle({module: imported_modules(file) for module, file in MODULES.items()})

    assert not found, " → ".join(found)


def test_a_circle_is_found_also_through_modules_that_are_imported_from_their_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    files = {"room": "", "room.one": "from room import two", "room.two": "import room.one"}
    for module, text in files.items():
        (tmp_path / f"{module}.py").write_text(text)
        monkeypatch.setitem(MODULES, module, tmp_path / f"{module}.py")

    found = circle({module: imported_modules(MODULES[module]) for module in files})

    assert found == ["room.one", "room.two", "room.one"]
