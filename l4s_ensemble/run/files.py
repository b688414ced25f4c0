"""Atomic writing of files and folders, and reading of JSON."""

from __future__ import annotations

import errno
import hashlib
import importlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from l4s_ensemble.errors import RunError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; rename it to `path` when the block ends well.

    An empty folder at `path` is replaced. What a killed process had left is removed.
    """
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        if path.is_dir():
            path.rmdir()
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def module_of_system(name: str) -> Any:
    """Import a module that only some systems have; None elsewhere."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def make_folder(path: Path) -> None:
    """Make a folder where there is none.

    Raises
    ------
    RunError
        If a file stands in its place, or it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise RunError(
            "this is not a folder, or lies below a file", where=path, fix="name another folder"
        ) from None


def explain(error: OSError) -> RunError | None:
    """Describe an error of the operating system; None for other errors."""
    if no_room(error):
        return RunError(
            "the disk is full",
            where=error.filename,
            found=error.strerror,
            fix="make room; what was whole before is still whole, and the same command goes on",
        )
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return RunError(
            "the system does not allow this",
            where=error.filename,
            found=error.strerror,
            fix="name a folder that you may read and write",
        )
    return None


def no_room(error: BaseException) -> bool:
    """Whether an error, or one that led to it, says that the disk is full.

    Libraries that write files by themselves raise errors of their own, which hold the system's
    only as text.
    """
    known: BaseException | None = error
    while known is not None:
        if isinstance(known, OSError) and known.errno in {errno.ENOSPC, errno.EDQUOT}:
            return True
        if os.strerror(errno.ENOSPC) in str(known) or os.strerror(errno.EDQUOT) in str(known):
            return True
        known = known.__cause__ or known.__context__
    return False


def bytes_below(folder: Path) -> int:
    """Size of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, UTF-8."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically; numpy scalars and arrays become plain numbers and lists.

    Raises
    ------
    ValueError
        On NaN or infinity: a summary says ``null`` where there is no number.
    """
    text = json.dumps(value, indent=1, default=_plain, allow_nan=False)
    write_text(path, text + "\n")


def write_arrays(path: Path, arrays: Mapping[str, Any], *, compressed: bool = False) -> None:
    """Write arrays by name as an ``.npz``, atomically; nothing is pickled."""
    import numpy as np

    with atomic_path(path) as partial, partial.open("wb") as file:
        (np.savez_compressed if compressed else np.savez)(file, allow_pickle=False, **arrays)


def save_fields(path: Path, value: Any, *, compressed: bool = True) -> None:
    """Write the fields of a dataclass, arrays and plain values, as an ``.npz``, atomically."""
    kept = {field.name: getattr(value, field.name) for field in fields(value)}
    write_arrays(path, kept, compressed=compressed)


def load_fields(path: Path, kind: type[T], fix: str) -> T:
    """Read what `save_fields` wrote of a dataclass.

    Raises
    ------
    RunError
        If the file is missing or damaged; `fix` says what to do.
    """
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as kept:
            values = {field.name: kept[field.name] for field in fields(kind)}
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        what = "a file of the run is missing or damaged"
        raise RunError(what, where=path, found=error, fix=fix) from None
    return kind(**{name: v if v.ndim else v.item() for name, v in values.items()})


def digest_of(*paths: Path) -> str:
    """Hash of the content of files, 16 hex digits.

    A stage that returns it as ``digest`` in its summary tells the executor that stages after it
    read these files only: when they come out the same, nothing after it is done again.
    """
    total = hashlib.blake2b(digest_size=8)
    for path in paths:
        total.update(hashlib.blake2b(path.read_bytes()).digest())
    return total.hexdigest()


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    RunError
        If the file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(
            "a file of the run is missing", where=path, fix="run the stage again"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RunError(
            "a file of the run is damaged",
            where=path,
            found=error,
            fix="delete the folder it stands in and run the stage again",
        ) from None


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} does not go into JSON")
