"""Unpack a downloaded archive safely: no path outside the folder, no incomplete folder."""

from __future__ import annotations

import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

from l4s_ensemble.errors import DataError
from l4s_ensemble.run.files import atomic_folder
from l4s_ensemble.run.progress import track

IGNORED = {"__MACOSX", ".DS_Store"}
AGAIN = "delete it and fetch it again"


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
        If it is not a zip, or a member is damaged, links or leads out of the folder; nothing is
        left. If ``out/name`` is there already.
    """
    final = out / name
    if final.exists():
        raise DataError("the folder to unpack to is there already", where=final, fix="move it away")
    try:
        with zipfile.ZipFile(archive) as zipped, atomic_folder(final) as partial:
            members = _members(zipped, archive, name)
            files = track(members.items(), f"unpacking {archive.name}", len(members))
            for path, info in files:
                (partial / path).parent.mkdir(parents=True, exist_ok=True)
                with zipped.open(info) as source, (partial / path).open("wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
        return final
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError) as error:
        raise DataError("the archive is damaged", where=archive, found=error, fix=AGAIN) from None


def _members(
    zipped: zipfile.ZipFile, archive: Path, name: str
) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """Files to unpack by their path below the folder; an archive with unsafe paths is refused."""
    found = {}
    for info in zipped.infolist():
        path = PurePosixPath(info.filename.replace("\\", "/"))
        if info.is_dir() or IGNORED & set(path.parts):
            continue
        outside = path.is_absolute() or ".." in path.parts or ":" in path.parts[0]
        link = stat.S_ISLNK(info.external_attr >> 16)
        if link or outside or info.flag_bits & 1:
            why = "a link" if link else "leads out of the folder" if outside else "encrypted"
            what = "the archive holds a member that is not a plain file of the data"
            raise DataError(what, where=archive, found=f"{info.filename!r}: {why}", fix=AGAIN)
        parts = path.parts[path.parts.index(name) + 1 :] if name in path.parts else path.parts
        if parts:
            found[PurePosixPath(*parts)] = info
    if not found:
        raise DataError("the archive holds no file", where=archive)
    return found
