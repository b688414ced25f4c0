"""The official form of a result: ``mask_N.h5`` files and a flat zip, read back to be sure."""

from __future__ import annotations

import hashlib
import io
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.patches import write_mask
from l4s_ensemble.errors import DataError
from l4s_ensemble.run.files import atomic_path, make_folder


def write_submission(folder: Path, archive: Path) -> dict[str, Any]:
    """Pack ``mask_N.h5`` files of a folder into a flat zip and verify it.

    Parameters
    ----------
    folder : Path
        Holds the masks.
    archive : Path
        The zip to write.

    Returns
    -------
    dict
        ``path`` (name), ``files``, ``sha256``, ``verified``.
    """
    files = sorted(folder.glob("mask_*.h5"), key=patch_id)
    with atomic_path(archive) as partial:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as zipped:
            for file in files:
                # A fixed date: the same masks give the same archive.
                entry = zipfile.ZipInfo(file.name, date_time=(1980, 1, 1, 0, 0, 0))
                entry.compress_type = zipfile.ZIP_DEFLATED
                zipped.writestr(entry, file.read_bytes())
        verify_submission(partial, {patch_id(f): _read(f) for f in files})
    content = archive.read_bytes()
    return {
        "path": archive.name,
        "files": len(files),
        "sha256": hashlib.sha256(content).hexdigest(),
        "verified": True,
    }


def verify_submission(archive: Path, masks: Mapping[int, NDArray[np.uint8]]) -> None:
    """Read a submission back: names, dataset, dtype, shape, values, and each pixel.

    Raises
    ------
    DataError
        If anything is not in the official form or differs from `masks`.
    """
    with zipfile.ZipFile(archive) as zipped:
        names = zipped.namelist()
        wanted = {f"mask_{i}.h5" for i in masks}
        if set(names) != wanted or len(names) != len(wanted):
            raise DataError(
                "the submission holds other files than one mask a patch", where=archive,
                found=sorted(set(names) ^ wanted)[:5], allowed="mask_N.h5, flat",
            )  # fmt: skip
        for name in names:
            found = _read(io.BytesIO(zipped.read(name)), name)
            if not np.array_equal(found, masks[patch_id(Path(name))]):
                raise DataError("a mask reads back otherwise than written", where=name)


def copy_result(result: Path, target: Path, *, force: bool = False) -> int:
    """Copy masks and submission of a result into a user's folder; return how many masks.

    Parameters
    ----------
    result : Path
        Folder of the stage: ``masks/`` and ``submission.zip``.
    target : Path
        Made if it is not there.

    Raises
    ------
    DataError
        If a mask with other content is already there and `force` is false; nothing is written.
    RunError
        If `target` is a file.
    """
    files = sorted((result / "masks").glob("mask_*.h5"), key=patch_id)
    other = [
        f.name
        for f in files
        if (target / f.name).exists() and not np.array_equal(_read(f), _read(target / f.name))
    ]
    if other and not force:
        raise DataError(
            "the folder already holds other masks", where=target,
            found=f"{len(other)} of {len(files)} differ, first {other[0]}",
            fix="name another folder with --out, or add --force to replace them",
        )  # fmt: skip
    make_folder(target)
    for file in files:
        write_mask(target / file.name, _read(file))
    with atomic_path(target / "submission.zip") as partial:
        shutil.copyfile(result / "submission.zip", partial)
    return len(files)


def patch_id(path: Path) -> int:
    """Id of ``mask_N.h5``."""
    return int(path.stem.removeprefix("mask_"))


def _read(source: Path | io.BytesIO, name: str = "") -> NDArray[np.uint8]:
    where = name or source
    try:
        with h5py.File(source, "r") as file:
            mask = np.asarray(file["mask"][()])
    except (OSError, KeyError) as error:
        raise DataError("a mask cannot be read", where=where, found=error) from None
    if mask.dtype != np.uint8 or mask.ndim != 2 or not np.isin(mask, (0, 1)).all():
        raise DataError(
            "a mask is not in the official form", where=where,
            found=f"{mask.dtype} {mask.shape}, values {np.unique(mask)[:4]}",
            allowed="uint8, (y, x), values 0 and 1",
        )  # fmt: skip
    return mask
