"""A fitted run in one file, to hand on: models, decision, summaries and the model card.

The file is a zip without compression of what is compressed already. ``export.json`` in it names
every file with its SHA-256, and is checked when the file is unpacked.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from l4s_ensemble.errors import RunError
from l4s_ensemble.run.files import atomic_path, make_folder, read_json
from l4s_ensemble.run.settings import SAVED

FORMAT = "l4s-ensemble export 1"
LISTING = "export.json"
CARD = "model_card.json"

FILES = (
    SAVED,
    CARD,
    "data/train/*.json",
    *(f"{stage}/*.json" for stage in ("scenes", "features", "pixel", "unet", "stack", "adapt")),
    "scenes/*.npz",
    "pixel/*.npz",
    "stack/tiles_pixel.npz",  # to adapt it to labels
    "stack/tiles_unet.npz",
    "pixel/fold_*/*",
    "unet/fold_*/*",
)
"""What predictions and adaptations need; scores and sampled rows of the training stay."""

_LEFT = ("pixel/rows.npz", "pixel/tiles.npz", "unet/tiles.npz")
_DAMAGE = (
    OSError, KeyError, ValueError, TypeError, EOFError, RuntimeError, zlib.error,
    zipfile.BadZipFile,
)  # fmt: skip
"""What reading a damaged zip raises."""

_FIX = "ask for the file again, or export the run again"


def export_run(run: Path, path: Path) -> Path:
    """Write a fitted run into one file.

    The folder of the training patches is not named in it.

    Parameters
    ----------
    run : Path
        The run folder.
    path : Path
        The file to write, atomically.

    Raises
    ------
    RunError
        If the run has no model card yet, which every fit writes, or the file exists.
    """
    if not (run / CARD).is_file():
        raise RunError(
            "this run has no fitted models yet", where=run, fix="run `l4s-ensemble fit-all` first"
        )
    if path.exists():
        raise RunError("the file exists", where=path, fix="name another file, or remove this one")
    names = sorted({p.relative_to(run).as_posix() for each in FILES for p in run.glob(each)})
    content = {name: (run / name).read_bytes() for name in names if name not in _LEFT}
    settings: dict[str, Any] = read_json(run / SAVED)
    settings["data"]["root"] = None
    content[SAVED] = json.dumps(settings, indent=1).encode()
    listing = {
        "format": FORMAT,
        "name": settings.get("name"),
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in content.items()},
    }
    with atomic_path(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(LISTING, json.dumps(listing, indent=1))
        for name, data in content.items():
            file.writestr(name, data)
    return path


def unpack(path: Path, folder: Path) -> Path:
    """Unpack what `export_run` wrote; a folder that holds the same export is left as it is.

    Raises
    ------
    RunError
        If the file is damaged or no export, or the folder holds something else.
    """
    try:
        with zipfile.ZipFile(path) as file:
            listing = file.read(LISTING)
            known = json.loads(listing)
            if known["format"] != FORMAT:
                raise ValueError(f"format {known['format']}")
            content = {name: file.read(name) for name in known["files"]}
        wrong = [
            name
            for name, data in content.items()
            if hashlib.sha256(data).hexdigest() != known["files"][name]
            or PurePosixPath(name).is_absolute()
            or ".." in PurePosixPath(name).parts
        ]
        if wrong:
            raise ValueError(f"{', '.join(wrong[:3])} is not as it was exported")
    except _DAMAGE as error:
        raise RunError("not a whole export of a run", where=path, found=error, fix=_FIX) from None
    if (folder / LISTING).is_file() and (folder / LISTING).read_bytes() == listing:
        return folder
    if folder.exists() and any(folder.iterdir()):
        raise RunError(
            "the folder to unpack into holds something else",
            where=folder,
            fix="remove it, or name a run folder that does not exist",
        )
    for name, data in {**content, LISTING: listing}.items():
        make_folder((folder / name).parent)
        with atomic_path(folder / name) as partial:
            partial.write_bytes(data)
    return folder


def opened(path: Path) -> Path:
    """Folder of a run: of an exported file, one that lives as long as this process.

    Raises
    ------
    RunError
        If there is no such run or file, or it is no export.
    """
    if path.is_dir():
        return path
    if not path.is_file():
        raise RunError(
            "no run here", where=path, fix="name a run folder, or a file of `l4s-ensemble export`"
        )
    folder = _temporary(path.resolve(), path.stat().st_mtime_ns)
    return Path(folder.name)


@lru_cache(maxsize=8)
def _temporary(path: Path, changed_ns: int) -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory(prefix="l4s-ensemble-")
    unpack(path, Path(folder.name))
    return folder
