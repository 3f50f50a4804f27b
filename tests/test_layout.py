"""The layout of the package: imports point down, nothing goes in circles, heavy libraries stay at the edge."""

import ast
import graphlib
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src/jaxroof"

# Bottom to top; a module imports from its own floor and those below.
FLOORS = (
    "defaults", "units", "weights", "files", "parameters", "intervals", "step", "request", "serving", "catalogue",
    "report", "capacity", "experiments", "sensitivity", "studies", "mechanisms", "splits", "calibration", "sweeps",
    "commands", "app", "cli", "__main__",
)  # fmt: skip
# Slow to import, or of the terminal and the disk: at module level only in these files.
EDGE_LIBRARIES = {"matplotlib", "pandas", "pyarrow", "rich", "typer"}
EDGE_FOLDERS = {"app", "cli", "commands", "report"}
EDGE_FILES = {
    "against_grid_findings",
    "against_grid_plots",
    "findings",
    "plots",
    "ranking",
    "record",
    "store",
    "tables",
}

# Files that show a result; what they must not do lies in these modules: load files, evaluate, analyse.
RENDERERS = re.compile(r"record|tables|ranking|(\w+_)?(findings|plots)")
NOT_RENDERING = re.compile(r"jaxroof\.(catalogue(\.\w+)?|experiments\.evaluate|\w+\.(analysis|load(_\w+)?))")

MODULES = {
    ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(SOURCE.rglob("*.py"))
}


def floor(module):
    """The floor of ``jaxroof.FLOOR`` or ``jaxroof.FLOOR.module``."""
    return module.split(".")[1]


def imported(statement):
    """Every dotted name that an import statement may load."""
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    if isinstance(statement, ast.ImportFrom):
        assert not statement.level, "imports are absolute"
        return [f"{statement.module}.{alias.name}" for alias in statement.names]
    return []


def ours(statement):
    """The modules of jaxroof that an import statement loads."""
    for name in imported(statement):
        while name and name not in MODULES:
            name = name.rpartition(".")[0]
        if name not in ("", "jaxroof"):
            yield name


@pytest.fixture(scope="module")
def trees():
    return {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in MODULES.items()}


def test_every_module_has_a_floor():
    assert {floor(module) for module in MODULES if module != "jaxroof"} <= set(FLOORS)


def test_imports_point_down(trees):
    upward = [
        f"{module}:{statement.lineno} imports {target}"
        for module, tree in trees.items()
        for statement in ast.walk(tree)
        for target in ours(statement)
        if module != "jaxroof" and FLOORS.index(floor(target)) > FLOORS.index(floor(module))
    ]
    assert not upward


def test_modules_import_each_other_in_no_circle(trees):
    graph = {
        module: {target for statement in tree.body for target in ours(statement)} - {module}
        for module, tree in trees.items()
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_ground_floors_need_no_jax(trees):
    light = ("defaults", "units", "weights", "files")
    heavy = [
        module
        for module, tree in trees.items()
        if module.removeprefix("jaxroof.").startswith(light)
        for statement in tree.body
        if {name.split(".")[0] for name in imported(statement)} & {"jax", "jaxtyping", "equinox"}
    ]
    assert not heavy


def test_heavy_libraries_load_at_the_edge_only(trees):
    inside = [
        f"{module}:{statement.lineno}"
        for module, tree in trees.items()
        if module != "jaxroof" and floor(module) not in EDGE_FOLDERS and MODULES[module].stem not in EDGE_FILES
        for statement in tree.body
        if {name.split(".")[0] for name in imported(statement)} & EDGE_LIBRARIES
    ]
    assert not inside


def test_renderers_neither_load_nor_analyse(trees):
    """They may import types and constants, whose names begin with a capital letter."""
    renderers = {module: tree for module, tree in trees.items() if RENDERERS.fullmatch(MODULES[module].stem)}
    assert {"jaxroof.splits.record", "jaxroof.calibration.against_grid_findings"} <= set(renderers)
    imports, reads = [], []
    for module, tree in renderers.items():
        for node in ast.walk(tree):
            barred = [home for home in ours(node) if NOT_RENDERING.fullmatch(home)]
            names = [name for name in imported(node) for home in barred if name.startswith(home)]
            imports += [f"{module} imports {name}" for name in names if not name.rpartition(".")[2][0].isupper()]
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called.rpartition(".")[2].startswith("read_"):
                reads.append(f"{module} calls {called}")
    assert not imports
    assert not reads
