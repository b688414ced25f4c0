"""Hashes of the code that a stage depends on: edited code reruns, a comment does not.

The modules are those that a stage's target imports, directly or not, anywhere in their text. They
are parsed, not imported.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
IRRELEVANT = (
    "cli", "config", "errors", "pipeline", "report", "stages",
    *(f"run.{name}" for name in (
        "child", "code", "execute", "files", "fingerprint", "log", "progress", "settings", "stage",
    )),
)  # fmt: skip
"""Modules below the package that decide no result: settings count by their values."""


def code_of(target: str, package: Path = PACKAGE) -> dict[str, str]:
    """Hash of every module that ``module:function`` depends on, by name, sorted.

    Parameters
    ----------
    target : str
    package : Path
        Folder of the package; its name is the package's.

    Returns
    -------
    dict
        Empty for a target outside the package.
    """
    found: dict[str, str] = {}
    todo = set(_with_parents(target.partition(":")[0]))
    while todo:
        name = todo.pop()
        file = _file(name, package)
        if name not in found and file is not None:
            found[name], imports = _parsed(file.read_bytes())
            todo.update(imports)
    return dict(sorted(found.items()))


def _file(name: str, package: Path) -> Path | None:
    """File of a module; None where there is none, or it decides nothing."""
    first, _, rest = name.partition(".")
    if first != package.name or not rest:
        return None
    if any(rest == other or rest.startswith(f"{other}.") for other in IRRELEVANT):
        return None
    path = package.joinpath(*rest.split("."))
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if file.is_file()), None)


@lru_cache(maxsize=1024)
def _parsed(source: bytes) -> tuple[str, frozenset[str]]:
    """Hash of a module without comments and docstrings, and the names that it imports."""
    tree = ast.parse(source)
    imports = frozenset(_imports(tree))
    for node in _blocks(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            # A text on a line of its own, as after a constant, documents too.
            node.body = [
                line
                for line in node.body
                if not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
            ]
    text = ast.dump(tree, annotate_fields=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest(), imports


def _blocks(node: ast.AST) -> Iterator[ast.AST]:
    """Give a node and the statements below it; expressions, which are most of a tree, hold none."""
    yield node
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        below = getattr(node, name, ())
        for child in below if isinstance(below, list) else ():
            yield from _blocks(child)


def _imports(node: ast.AST) -> Iterator[str]:
    """Names of modules, and of what may be one, that a syntax tree imports when it runs."""
    skipped: set[ast.AST] = set()
    for child in _blocks(node):
        if child in skipped:
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            skipped.update(_blocks(child))
            continue
        names: list[str] = []
        if isinstance(child, ast.Import):
            names = [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom) and child.module:
            names = [child.module, *(f"{child.module}.{alias.name}" for alias in child.names)]
        for name in names:
            yield from _with_parents(name)


def _with_parents(name: str) -> Iterator[str]:
    """Give the names of a module and of the packages around it, which run before it does."""
    parts = name.split(".")
    return (".".join(parts[:n]) for n in range(2, len(parts) + 1))
