"""The rooms import only downwards, in no circle, and what is paid per process start stays light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Lower packages first; a package imports itself and those before it.
PACKAGES = ["povstorm_client", "render_image", "tasks", "flows"]
# The floors inside of a package, lowest first: rooms on one floor do not import each other. A room
# is a folder, or a module that lies directly in the package.
FLOORS = {
    "povstorm_client": [
        {"errors", "version"},
        {
            "argument_checks",
            "page",
            "paths",
            "plain_files",
            "programs",
            "quantities",
            "run_logger",
            "run_until",
            "terminal",
            "terminal_picture",
        }
        | {"termination"},
        {"storage"},
        {"frames"},
        {"cloud_run", "scene"},
        {"jobs"},
        {"cleaning", "launch", "live"},
        {"doctor", "watch"},
        {"cluster"},
        {"job"},
        {"saving", "scene_job"},
        {"commands"},
        {"command_line"},
        {"cli"},
    ],
    "tasks": [
        {"artifacts", "stored", "waves"},
        {"renderers", "report", "video"},
        {"steps"},
        {"stage", "render_frame", "stitch_video", "collect_statistics", "make_report", "journal"},
        {"frames"},
    ],
}
# Every module of ours → its file; a package is its __init__.
MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for package in PACKAGES
    for file in sorted((ROOT / package).rglob("*.py"))
}


def imported_modules(file: Path, *, for_types: bool = True) -> set[str]:
    """What a file imports, at its top or inside of functions.

    for_types: also what only its annotations name: who names a type knows its room.
    ``from package import module`` imports the module, not the package alone.
    """
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if not for_types and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
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


def room(module: str) -> str:
    """The room of a module that is not the package itself."""
    return module.split(".")[1]


def arrows(package: str) -> dict[str, dict[str, str]]:
    """For each room of a package the other rooms that it imports, and by which import."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for module, file in MODULES.items():
        if not module.startswith(f"{package}."):
            continue
        for other in sorted(imported_modules(file)):
            if other.startswith(f"{package}.") and room(other) != room(module):
                found[room(module)].setdefault(room(other), f"{module} imports {other}")
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


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_nothing_above_it(package: str):
    above = PACKAGES[PACKAGES.index(package) + 1 :]
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        for module in imported_modules(file):
            assert module.split(".")[0] not in above, f"{file} imports {module}"


@pytest.mark.parametrize("package", FLOORS)
def test_a_room_imports_only_from_floors_below_it(package: str):
    floor_of = {name: number for number, floor in enumerate(FLOORS[package]) for name in floor}

    for name, others in arrows(package).items():
        for other, why in others.items():
            assert floor_of[other] < floor_of[name], why


@pytest.mark.parametrize("package", FLOORS)
def test_every_room_has_its_floor(package: str):
    rooms = {
        room(module) for module in MODULES if module.startswith(f"{package}.") and room(module)
    }

    assert set().union(*FLOORS[package]) == rooms


@pytest.mark.parametrize("package", FLOORS)
def test_the_architecture_page_has_the_floors_and_what_each_room_imports(package: str):
    imports = arrows(package)
    # Everybody imports the ground.
    ground = set().union(*FLOORS[package][:2]) if package == "povstorm_client" else set()
    told: list[set[str]] = [set() for _ in FLOORS[package]]
    for floor, rooms, listed in table_of(package):
        told[floor - 1] |= set(rooms)
        words = set(re.findall(r"\w+", listed))
        if words >= {"all", "but"}:
            words = set().union(*FLOORS[package][: floor - 1]) - words - ground

        assert {other for each in rooms for other in imports[each]} - ground == words, rooms

    assert told == FLOORS[package]


def table_of(package: str) -> list[tuple[int, list[str], str]]:
    """The rows of a package's table in the architecture page: floor, rooms, what they import."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    _, rows = page.split(f"| floor | `{package}/` |", 1)
    found = []
    for row in rows.splitlines()[2:]:
        if not row.startswith("|"):
            break
        _, floor, rooms, _, listed, _ = (cell.strip() for cell in row.split("|"))
        names = re.findall(r"`(\w+)(?:/|\.py)`", rooms)
        found.append((int(floor), names, listed))
    return found


def test_no_module_is_in_a_circle():
    found = circle(
        {module: imported_modules(file, for_types=False) for module, file in MODULES.items()}
    )

    assert not found, " → ".join(found)


def test_a_circle_of_types_is_a_record_and_how_it_is_printed():
    """``print(statistics)`` shows a table, which names what it shows."""
    imports = {module: imported_modules(file) for module, file in MODULES.items()}
    imports["povstorm_client.jobs.statistics_table"].remove("povstorm_client.jobs.statistics")

    found = circle(imports)

    assert not found, " → ".join(found)


def test_what_a_module_imports_for_its_types_alone_counts_for_its_floor(tmp_path: Path):
    file = tmp_path / "below.py"
    file.write_text("if TYPE_CHECKING:\n    from povstorm_client.job import Job\n")

    assert imported_modules(file) == {"povstorm_client.job"}
    assert imported_modules(file, for_types=False) == set()


def test_a_circle_is_found_also_through_modules_that_are_imported_from_their_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    files = {"room": "", "room.one": "from room import two", "room.two": "import room.one"}
    for module, text in files.items():
        (tmp_path / f"{module}.py").write_text(text)
        monkeypatch.setitem(MODULES, module, tmp_path / f"{module}.py")

    found = circle({module: imported_modules(MODULES[module]) for module in files})

    assert found == ["room.one", "room.two", "room.one"]


def test_no_two_modules_have_one_name():
    """A command's module is called as its command; all others say what they alone are."""
    homes: dict[str, list[str]] = defaultdict(list)
    for module, file in MODULES.items():
        if file.name != "__init__.py" and not module.startswith("povstorm_client.commands."):
            homes[file.stem].append(module)

    assert [modules for modules in homes.values() if len(modules) > 1] == []


def test_a_folder_says_in_a_sentence_what_is_in_it():
    for module, file in MODULES.items():
        if file.name == "__init__.py":
            text = file.read_text(encoding="utf-8")
            assert ast.get_docstring(ast.parse(text)), f"{module} has no docstring"


def test_a_module_on_top_of_tasks_is_one_task():
    for file in (ROOT / "tasks").glob("*.py"):
        if file.name != "__init__.py":
            tree = ast.parse(file.read_text(encoding="utf-8"))
            decorators = [
                ast.unparse(decorator)
                for node in tree.body
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                for decorator in node.decorator_list
            ]

            assert len([each for each in decorators if each.startswith("task(")]) == 1, file


def test_unit_tests_lie_where_what_they_test_does():
    """tests/unit/PACKAGE/ROOM mirrors PACKAGE/ROOM; tests of several rooms lie on top."""
    folders = {file.parent for file in (ROOT / "tests" / "unit").rglob("test_*.py")}
    mirrored = {folder.relative_to(ROOT / "tests" / "unit") for folder in folders} - {Path()}

    assert mirrored
    for folder in mirrored:
        assert (ROOT / folder).is_dir(), f"tests/unit/{folder} mirrors nothing"


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


def test_a_run_on_this_machine_imports_no_prefect():
    late = {"prefect", "PIL", "jinja2"}
    program = f"import sys, flows.local_run; print({late} & sys.modules.keys())"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_a_flow_imports_what_makes_pictures_only_when_it_makes_some():
    program = "import sys, flows.render_job; print('PIL' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_a_context_is_entered_by_with_or_a_stack_never_by_hand():
    by_hand = re.compile(r"\.__a?(enter|exit)__\(")

    found = [
        module
        for module, file in MODULES.items()
        if by_hand.search(file.read_text(encoding="utf-8"))
    ]

    assert found == []
