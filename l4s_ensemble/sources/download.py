"""Download a file, resumed and checked, whole or not at all; unpack an archive safely."""

from __future__ import annotations

import hashlib
import http.client
import logging
import shutil
import stat
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from l4s_ensemble.errors import DataError
from l4s_ensemble.run.files import atomic_folder
from l4s_ensemble.run.progress import track

log = logging.getLogger("l4s_ensemble")

TIMEOUT_S, PROGRESS_S = 60.0, 10.0
TRIES = 6
"""Attempts without any new byte before a download gives up."""
WAIT_S = 2.0
"""Pause before the second attempt, seconds; doubled each time."""
SCHEMES: tuple[str, ...] = ("https",)
"""Addresses that are followed, whatever a record or a server names."""

IGNORED = {"__MACOSX", ".DS_Store"}
AGAIN = "delete it and fetch it again"
BY_HAND = "try the other --source, or fetch by hand as the README says"


@dataclass(frozen=True)
class RemoteFile:
    """A file to download: path below the target folder, address, size and checksum.

    ``size`` is in bytes, ``checksum`` is ``md5:<hex>`` or ``sha256:<hex>``.
    """

    name: str
    url: str
    size: int
    checksum: str | None = None


class _Redirections(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, url: str
    ) -> Any:
        _check_scheme(url)
        return super().redirect_request(req, fp, code, msg, headers, url)


def _check_scheme(url: str) -> None:
    if urllib.parse.urlsplit(url).scheme not in SCHEMES:
        allowed = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise DataError("an address that is not followed", where=url, allowed=allowed, fix=BY_HAND)


def open_url(url: str, first: int = 0) -> Any:
    """Open an address of an allowed scheme, from byte `first` on where the server can.

    Raises
    ------
    DataError
        If the scheme is not allowed; that of a redirection neither.
    OSError
        If the server cannot be reached or refuses.
    """
    _check_scheme(url)
    headers = {"User-Agent": "l4s_ensemble"} | ({"Range": f"bytes={first}-"} if first else {})
    request = urllib.request.Request(url, headers=headers)
    return urllib.request.build_opener(_Redirections).open(request, timeout=TIMEOUT_S)


def download(file: RemoteFile, target: Path) -> Path:
    """Download to `target`, which appears only when it is whole and its checksum is right.

    What has come so far is kept in ``<target>.part``; the next attempt, or the next call, asks for
    the rest only. A server that does not know ranges starts over.

    Raises
    ------
    DataError
        If the server refuses, the connection keeps breaking off, or the size or checksum is not
        what the source says. A file with a wrong checksum is removed.
    """
    if target.is_file() and _fault(target, file) is None:
        return target
    if target.exists():
        fix = "move it away, or name another folder"
        raise DataError("another file stands where the download should go", where=target, fix=fix)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    while True:
        resumed = _size(part) > 0
        _receive_all(file, part)
        fault = _fault(part, file)
        if fault is None:
            return part.replace(target)
        part.unlink()
        if not resumed:
            what = "a downloaded file is not what the source says"
            raise DataError(what, where=file.url, found=fault, fix=f"nothing was kept; {BY_HAND}")
        # The kept part may stem from an older file: once more from the start.
        log.warning("%s: %s after resuming; downloading it afresh", file.name, fault)


def _receive_all(file: RemoteFile, part: Path) -> None:
    """Request the rest of the file until it is complete."""
    failures = 0
    while (have := _size(part)) < file.size:
        reason = "the connection broke off"
        try:
            _receive(file, part, have)
        except urllib.error.HTTPError as error:
            reason = f"HTTP {error.code} {error.reason}"
            if error.code < 500 and error.code not in {408, 425, 429}:
                what = "the server does not give this file"
                raise DataError(what, where=file.url, found=reason, fix=BY_HAND) from None
        except (http.client.HTTPException, OSError) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        if _size(part) >= file.size:
            return
        failures = 1 if _size(part) > have else failures + 1
        if failures >= TRIES:
            raise DataError(
                "the download keeps breaking off",
                where=file.url,
                found=f"{reason}, {_size(part)} bytes so far",
                fix="give the same command again: it resumes where it stopped",
            )
        pause = WAIT_S * 2 ** (failures - 1)
        log.warning("%s: %s; trying again in %.0f s", file.name, reason, pause)
        time.sleep(pause)


def _receive(file: RemoteFile, part: Path, have: int) -> None:
    """Receive once, after the bytes at hand or from the start."""
    with open_url(file.url, have) as response:
        answered = response.headers.get("Content-Range") or ""
        if response.status != 206 or not answered.startswith(f"bytes {have}-"):
            have = 0
        with part.open("ab" if have else "wb") as out:
            last = time.monotonic()
            while chunk := response.read(1 << 20):
                out.write(chunk)
                have += len(chunk)
                if time.monotonic() - last > PROGRESS_S:
                    last = time.monotonic()
                    log.info("%s: %.0f of %.0f MB", file.name, have / 1e6, file.size / 1e6)


def _fault(path: Path, file: RemoteFile) -> str | None:
    """Fault of a downloaded file, or None."""
    if _size(path) != file.size:
        return f"{_size(path)} bytes, not {file.size}"
    kind, _, wanted = (file.checksum or "").partition(":")
    if kind not in {"", "md5", "sha256"}:
        raise DataError("a checksum of an unknown kind", where=file.url, found=file.checksum)
    with path.open("rb") as content:
        found = hashlib.file_digest(content, kind).hexdigest() if kind else wanted
    return None if found == wanted.lower() else f"{kind} {found}, not {wanted}"


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


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
