"""The official form of a result: ``mask_N.h5`` files and a flat zip, read back to be sure."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.errors import DataError
from l4s_ensemble.run.files import atomic_path, make_folder

ARCHIVE = "submission.zip"
DATASET = "mask"
_NAME = re.compile(r"mask_(0|[1-9][0-9]*)\.h5")


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
        ``path`` (name), ``files``, ``sha256``, ``verified``, ``shape`` (of each mask).

    Raises
    ------
    DataError
        If there is no mask, or one is not in the official form; no archive is left then.
    """
    files = mask_files(folder)
    with atomic_path(archive) as partial:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as zipped:
            for file in files:
                # A fixed date: the same masks give the same archive.
                entry = zipfile.ZipInfo(file.name, date_time=(1980, 1, 1, 0, 0, 0))
                entry.compress_type = zipfile.ZIP_DEFLATED
                zipped.writestr(entry, file.read_bytes())
        masks = {patch_id(f): read_mask(f) for f in files}
        verify_submission(partial, masks)
    return _summary(archive, masks)


def verify_submission(archive: Path, masks: Mapping[int, NDArray[np.uint8]]) -> None:
    """Read a submission back: names, dataset, dtype, shape, values, and each pixel.

    Raises
    ------
    DataError
        If anything is not in the official form or differs from `masks`.
    """
    shapes = {mask.shape for mask in masks.values()}
    if len(shapes) > 1:
        raise DataError(
            "the masks are not all of the same shape",
            where=archive,
            found=", ".join(map(str, sorted(shapes))),
            allowed="one shape",
        )
    try:
        with zipfile.ZipFile(archive) as zipped:
            names = zipped.namelist()
            wanted = {f"mask_{i}.h5" for i in masks}
            if set(names) != wanted or len(names) != len(wanted):
                raise DataError(
                    "the submission holds other files than one mask a patch",
                    where=archive,
                    found=sorted(set(names) ^ wanted)[:5],
                    allowed="mask_N.h5, flat",
                )
            for name in names:
                found = read_mask(io.BytesIO(zipped.read(name)), name)
                if not np.array_equal(found, masks[patch_id(Path(name))]):
                    raise DataError("a mask reads back otherwise than written", where=name)
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(
            "the submission cannot be read",
            where=archive,
            found=error,
            fix="delete the folder it stands in and predict again",
        ) from None


def copy_result(result: Path, target: Path, *, force: bool = False) -> int:
    """Copy masks and submission of a result into a user's folder; return how many masks.

    Parameters
    ----------
    result : Path
        Folder of the stage: ``masks/`` and ``submission.zip``.
    target : Path
        Made if it is not there.
    force : bool
        Replace masks of the same names. Masks of other patches stay where they are in any case.

    Raises
    ------
    DataError
        If a mask with other content is already there, or one of another patch, and `force` is
        false; nothing is written. Or if what was copied reads back otherwise.
    RunError
        If `target` is a file.
    """
    files = mask_files(result / "masks")
    other = [
        f.name
        for f in files
        if (target / f.name).exists()
        and not np.array_equal(read_mask(f), read_mask(target / f.name))
    ]
    if other and not force:
        raise DataError(
            "the folder already holds other masks",
            where=target,
            found=f"{len(other)} of {len(files)} differ, first {other[0]}",
            fix="name another folder with --out, or add --force to replace them",
        )
    strays = sorted({p.name for p in target.glob("mask_*.h5")} - {f.name for f in files})
    if strays and not force:
        raise DataError(
            "the folder holds masks of other patches, which would stand among these",
            where=target,
            found=f"{len(strays)}, first {strays[0]}",
            fix="name another folder with --out, or add --force to leave them there",
        )
    make_folder(target)
    masks = {patch_id(f): read_mask(f) for f in files}
    for file in files:
        with atomic_path(target / file.name) as partial:
            partial.write_bytes(file.read_bytes())
    with atomic_path(target / ARCHIVE) as partial:
        partial.write_bytes((result / ARCHIVE).read_bytes())
        verify_submission(partial, masks)
    return len(files)


def mask_files(folder: Path) -> list[Path]:
    """Masks of a folder by ascending id.

    Raises
    ------
    DataError
        If there is none, or one has a name that is not ``mask_N.h5``.
    """
    files = list(folder.glob("mask_*.h5"))
    if not files:
        raise DataError(
            "there is no mask to submit",
            where=folder,
            allowed="mask_N.h5, one a patch",
            fix="predict the split again",
        )
    return sorted(files, key=patch_id)


def patch_id(path: Path) -> int:
    """Id of ``mask_N.h5``.

    Raises
    ------
    DataError
        If the name is another one.
    """
    found = _NAME.fullmatch(path.name)
    if found is None:
        raise DataError("not the name of a mask", where=path, allowed="mask_N.h5, N a whole number")
    return int(found.group(1))


def _summary(archive: Path, masks: Mapping[int, NDArray[np.uint8]]) -> dict[str, Any]:
    with archive.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "path": archive.name,
        "files": len(masks),
        "sha256": sha256,
        "verified": True,
        "shape": list(next(iter(masks.values())).shape),
    }


def read_mask(source: Path | io.BytesIO, name: str = "") -> NDArray[np.uint8]:
    """Read a mask in the official form, uint8 (y, x).

    Raises
    ------
    DataError
        If it cannot be read, or is of another form.
    """
    where = name or source
    try:
        with h5py.File(source, "r") as file:
            names = list(file)
            mask = np.asarray(file[DATASET][()])
    except (OSError, KeyError) as error:
        raise DataError("a mask cannot be read", where=where, found=error) from None
    if names != [DATASET]:
        raise DataError(
            "a mask's file holds more than the mask",
            where=where,
            found=", ".join(names),
            allowed=DATASET,
        )
    if mask.dtype != np.uint8 or mask.ndim != 2 or not np.isin(mask, (0, 1)).all():
        raise DataError(
            "a mask is not in the official form",
            where=where,
            found=f"{mask.dtype} {mask.shape}, values {np.unique(mask)[:4]}",
            allowed="uint8, (y, x), values 0 and 1",
        )
    return mask
