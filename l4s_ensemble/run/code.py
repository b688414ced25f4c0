"""Hashes of the code that a stage depends on: edited code reruns, a comment does not.

The modules are those that a stage's target imports, directly or not, anywhere in their text. They
are parsed, not imported, and what was parsed once is remembered in the run folder by the hash of
its bytes.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from l4s_ensemble.run.files import write_text

PACKAGE = Path(__file__).parents[1]
IRRELEVANT = (
    "cli", "config", "errors", "pipeline", "report", "stages",
    *(f"run.{name}" for name in (
        "child", "code", "execute", "files", "fingerprint", "log", "progress", "settings", "stage",
    )),
)  # fmt: skip
"""Modules below the package that decide no result: settings count by their values."""


@dataclass
class CodeHashes:
    """Hashes of the modules of a package.

    Attributes
    ----------
    package : Path
        Folder of the package; its name is the package's.
    cache : Path, optional
        JSON file with what was parsed before.
    """

    package: Path = PACKAGE
    cache: Path | None = None
    _known: dict[str, tuple[str, list[str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.cache is not None and self.cache.is_file():
            try:
                self._known.update(json.loads(self.cache.read_text(encoding="utf-8")))
            except (ValueError, TypeError):  # it is only a memory: parse again
                self._known.clear()

    def of(self, target: str) -> dict[str, str]:
        """Hash of every module that ``module:function`` depends on, by name, sorted.

        It is empty for a target outside the package.
        """
        before = len(self._known)
        found: dict[str, str] = {}
        todo = set(_with_parents(target.partition(":")[0]))
        while todo:
            name = todo.pop()
            file = self._file(name)
            if name in found or file is None:
                continue
            found[name], imports = self._parsed(file.read_bytes())
            todo.update(imports)
        if self.cache is not None and len(self._known) > before:
            write_text(self.cache, json.dumps(self._known))
        return dict(sorted(found.items()))

    def _file(self, name: str) -> Path | None:
        """File of a module; None where there is none, or it decides nothing."""
        first, _, rest = name.partition(".")
        if first != self.package.name or not rest:
            return None
        if any(rest == other or rest.startswith(f"{other}.") for other in IRRELEVANT):
            return None
        path = self.package.joinpath(*rest.split("."))
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return file
        return None

    def _parsed(self, source: bytes) -> tuple[str, list[str]]:
        key = hashlib.blake2b(source, digest_size=8).hexdigest()
        if key not in self._known:
            tree = ast.parse(source)
            imports = sorted(set(self._imports(tree)))
            for node in ast.walk(tree):
                _strip_docstring(node)
            text = ast.dump(tree, annotate_fields=False)
            self._known[key] = hashlib.blake2b(text.encode(), digest_size=8).hexdigest(), imports
        return self._known[key]

    def _imports(self, node: ast.AST) -> Iterator[str]:
        """Names of this package's modules, and of what may be one, that a syntax tree imports."""
        own = f"{self.package.name}."
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
                continue
            names: list[str] = []
            if isinstance(child, ast.Import):
                names = [alias.name for alias in child.names]
            elif isinstance(child, ast.ImportFrom) and child.module:
                names = [child.module, *(f"{child.module}.{alias.name}" for alias in child.names)]
            elif isinstance(child, ast.JoinedStr) and isinstance(child.values[0], ast.Constant):
                # A name that is completed when the code runs may be any module of its package.
                prefix = str(child.values[0].value)
                if prefix.startswith(own) and prefix.endswith("."):
                    folder = self.package.parent.joinpath(*prefix.split("."))
                    names = [prefix + path.stem for path in sorted(folder.glob("[!_]*.py"))]
            for name in names:
                if name.startswith(own):
                    yield from _with_parents(name)
            yield from self._imports(child)


def _with_parents(name: str) -> Iterator[str]:
    """Give the names of a module and of the packages around it, which run before it does."""
    parts = name.split(".")
    return (".".join(parts[:n]) for n in range(2, len(parts) + 1))


def _strip_docstring(node: ast.AST) -> None:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return
    # A text on a line of its own, as after a constant, documents too.
    node.body = [
        line
        for line in node.body
        if not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
    ]
