"""Unpack a downloaded archive: no path leaves the folder, and nothing is half there."""

from __future__ import annotations

import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

from l4s_ensemble.errors import DataError
from l4s_ensemble.run.progress import track

IGNORED = ("__MACOSX", ".DS_Store")


def unpack(archive: Path, out: Path, name: str) -> Path:
    """Unpack the folder `name` of a zip to ``out/name``.

    Parameters
    ----------
    archive : Path
        A zip whose files lie below ``name/`` (or ``…/name/``), or at its top.
    out : Path
        Folder that gets the folder.
    name : str
        For example ``TrainData``.

    Raises
    ------
    DataError
        If it is not a zip, a member is damaged, links or leads out of the folder, or there is too
        little room; nothing is left. If ``out/name`` is there already.
    """
    final = out / name
    if final.exists():
        raise DataError(
            "the folder to unpack to is there already", where=final, fix="move it away first"
        )
    partial = out / f".{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = _members(zipped, archive, name)
            need = sum(info.file_size for info, _ in members)
            free = shutil.disk_usage(out).free
            if need > free:
                raise DataError(
                    "too little room to unpack", where=out, found=f"{free / 1e9:.1f} GB free",
                    allowed=f"{need / 1e9:.1f} GB", fix="make room, or name another folder",
                )  # fmt: skip
            for info, path in track(members, f"unpacking {archive.name}", len(members)):
                target = partial / path
                target.parent.mkdir(parents=True, exist_ok=True)
                with zipped.open(info) as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
        partial.rename(final)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError) as error:
        raise DataError(
            "the archive is damaged", where=archive, found=error, fix="delete it and fetch again"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final


def _members(
    zipped: zipfile.ZipFile, archive: Path, name: str
) -> list[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """Files to unpack with their path below the folder; refuses an archive that means harm."""
    found = []
    for info in zipped.infolist():
        path = PurePosixPath(info.filename.replace("\\", "/"))
        if info.is_dir() or any(part in IGNORED for part in path.parts):
            continue
        link = stat.S_ISLNK(info.external_attr >> 16)
        outside = path.is_absolute() or ".." in path.parts or ":" in path.parts[0]
        if link or outside or info.flag_bits & 1:
            why = "a link" if link else "leads out of the folder" if outside else "encrypted"
            raise DataError(
                "the archive holds a member that is not a plain file of the data", where=archive,
                found=f"{info.filename!r}: {why}", fix="do not use this archive; fetch it again",
            )  # fmt: skip
        parts = path.parts[path.parts.index(name) + 1 :] if name in path.parts else path.parts
        if parts:
            found.append((info, PurePosixPath(*parts)))
    if not found:
        raise DataError("the archive holds no file", where=archive)
    return found
