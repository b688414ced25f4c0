"""What imports what: no circles, packages in one order, stages on top."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import l4s_ensemble

NAME = "l4s_ensemble"
FOLDER = Path(l4s_ensemble.__file__).parent
ORDER = (
    "errors", "estimator", "config", "run", "metrics", "data", "sources", "scenes", "features",
    "pixel", "unet", "stack", "predict", "maps", "adapt", "report", "stages",
    "pipeline", "cli",
)  # fmt: skip
"""Packages and single modules: each imports those before it only."""

TOP = {"", "__main__"}
"""The public names and the command: they import from everywhere."""


def modules(folder: Path) -> dict[str, Path]:
    """File of each module, by its name below the package."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> Iterator[str]:
    """Names that a file imports from the package, in functions and for type checkers too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"a relative import in {path}"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (n.removeprefix(f"{NAME}.") for n in names if n.startswith(f"{NAME}."))


def graph_of(folder: Path) -> dict[str, set[str]]:
    """Modules that each module imports."""
    files = modules(folder)

    def module(name: str) -> str:
        while name and name not in files:
            name = name.rpartition(".")[0]
        return name

    return {name: {module(n) for n in imports(path)} - {name} for name, path in files.items()}


GRAPH = graph_of(FOLDER)


def test_no_module_imports_itself_through_others() -> None:
    TopologicalSorter(GRAPH).prepare()


def test_packages_stand_in_order() -> None:
    def place(module: str) -> int:
        return ORDER.index(module.partition(".")[0])

    upwards = [
        f"{name} imports {other}"
        for name, others in GRAPH.items()
        for other in others
        if name not in TOP and place(other) > place(name)
    ]
    assert not upwards


def test_no_package_imports_its_own_stages() -> None:
    """A stage is an adapter: what it adapts can be used without a run folder."""
    stages = [name for name in GRAPH if name.endswith(".stage") and name != "run.stage"]
    assert stages
    for stage in stages:
        package = stage.removesuffix("stage")
        assert not [n for n, others in GRAPH.items() if n.startswith(package) and stage in others]


@pytest.mark.parametrize("indent", ["", "def f():\n    ", "if TYPE_CHECKING:\n    "])
def test_a_circle_is_found_wherever_it_is_imported(tmp_path: Path, indent: str) -> None:
    for name, text in (
        ("a", f"{indent}from l4s_ensemble import b"),
        ("b", "import l4s_ensemble.a"),
    ):
        (tmp_path / f"{name}.py").write_text(text)
    with pytest.raises(CycleError):
        TopologicalSorter(graph_of(tmp_path)).prepare()
