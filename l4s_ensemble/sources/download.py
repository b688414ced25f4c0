"""Download one file: resumed where it broke off, checked, and never half there."""

from __future__ import annotations

import hashlib
import http.client
import logging
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l4s_ensemble.errors import DataError

log = logging.getLogger("l4s_ensemble")

CHUNK = 1 << 20
TIMEOUT_S = 60.0
TRIES = 6
PROGRESS_S = 10.0
AGENT = "l4s_ensemble (landslide research toolkit)"
SCHEMES: tuple[str, ...] = ("https",)
"""Addresses that are followed, whatever a record or a server names."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to download.

    Attributes
    ----------
    name : str
        Path below the target folder, with forward slashes.
    url : str
    size : int or None
        Bytes, where the source tells.
    checksum : str or None
        ``md5:<hex>`` or ``sha256:<hex>``, where the source tells.
    """

    name: str
    url: str
    size: int | None = None
    checksum: str | None = None


def open_url(url: str, headers: Mapping[str, str] | None = None) -> Any:
    """Open an address of an allowed scheme; a redirection to another one is refused too.

    Raises
    ------
    DataError
        If the scheme is not allowed.
    OSError
        If the server cannot be reached or refuses.
    """
    _check_scheme(url)
    request = urllib.request.Request(url, headers={"User-Agent": AGENT, **(headers or {})})
    return urllib.request.build_opener(_Redirections).open(request, timeout=TIMEOUT_S)


class _Redirections(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        _check_scheme(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_scheme(url: str) -> None:
    if urllib.parse.urlsplit(url).scheme not in SCHEMES:
        raise DataError(
            "an address that is not followed", where=url,
            allowed=", ".join(f"{scheme}://" for scheme in SCHEMES),
            fix="fetch by hand as the README says, if you trust it",
        )  # fmt: skip


def download(
    file: RemoteFile, target: Path, *, tries: int = TRIES, wait_s: float = 2.0, quiet: bool = False
) -> Path:
    """Download to `target`, which appears only when it is whole and its checksum is right.

    What has come so far is kept in ``<target>.part``; the next attempt, or the next call, asks for
    the rest only. A server that does not know ranges starts over.

    Parameters
    ----------
    file : RemoteFile
    target : Path
    tries : int
        Attempts without any new byte before it gives up.
    wait_s : float
        Pause before the second attempt; doubled each time.
    quiet : bool
        No progress in the log (for many small files).

    Raises
    ------
    DataError
        If the server refuses, the connection keeps breaking off, or the size or checksum is not
        what the source says. A file with a wrong checksum is removed.
    """
    if target.is_file() and _matches(target, file):
        return target
    if target.exists():
        raise DataError(
            "another file stands where the download should go", where=target,
            fix="move it away, or name another folder",
        )  # fmt: skip
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    resumed = part.is_file() and part.stat().st_size > 0
    _complete(file, part, tries, wait_s, quiet)
    fault = _fault(part, file)
    if fault is not None and resumed:
        # The kept part may stem from an older file: once more from the start.
        log.warning("%s: %s after resuming; downloading it afresh", file.name, fault)
        part.unlink()
        _complete(file, part, tries, wait_s, quiet)
        fault = _fault(part, file)
    if fault is not None:
        part.unlink(missing_ok=True)
        raise DataError(
            "a downloaded file is not what the source says", where=file.url, found=fault,
            fix="try again later or from the other source; nothing was kept",
        )  # fmt: skip
    part.replace(target)
    return target


def _complete(file: RemoteFile, part: Path, tries: int, wait_s: float, quiet: bool) -> None:
    """Ask for the missing rest until all has come."""
    failures = 0
    while True:
        before = _size(part)
        try:
            if _receive(file, part, quiet):
                return
            reason = "the connection broke off"
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in {408, 425, 429}:
                raise DataError(
                    "the server does not give this file", where=file.url,
                    found=f"HTTP {error.code} {error.reason}",
                    fix="try the other source with --source, or fetch by hand as the README says",
                ) from None  # fmt: skip
            reason = f"HTTP {error.code}"
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        failures = 1 if _size(part) > before else failures + 1
        if failures >= tries:
            raise DataError(
                "the download keeps breaking off", where=file.url,
                found=f"{reason}, {_size(part)} bytes so far",
                fix="give the same command again: it resumes where it stopped",
            )  # fmt: skip
        pause = wait_s * 2 ** (failures - 1)
        log.warning("%s: %s; trying again in %.0f s", file.name, reason, pause)
        time.sleep(pause)


def _receive(file: RemoteFile, part: Path, quiet: bool) -> bool:
    """Receive once; True if all announced bytes have come."""
    have = _size(part)
    if file.size is not None and have == file.size:
        return True
    if file.size is not None and have > file.size:
        part.unlink()
        have = 0
    try:
        response = open_url(file.url, {"Range": f"bytes={have}-"} if have else None)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # the part is as long as the file, or longer: start over
            part.unlink()
            return False
        raise
    with response:
        resumes = response.status == 206 and _starts_at(response.headers, have)
        announced = response.headers.get("Content-Length")
        total = file.size or (int(announced) + (have if resumes else 0) if announced else None)
        with part.open("ab" if resumes else "wb") as out:
            done, last = (have if resumes else 0), time.monotonic()
            while chunk := response.read(CHUNK):
                out.write(chunk)
                done += len(chunk)
                if not quiet and time.monotonic() - last > PROGRESS_S:
                    last = time.monotonic()
                    log.info("%s: %s", file.name, _progress(done, total))
    return total is None or done >= total


def _starts_at(headers: http.client.HTTPMessage, first: int) -> bool:
    """Whether a partial answer begins where it was asked to."""
    return (headers.get("Content-Range") or "").startswith(f"bytes {first}-")


def _matches(path: Path, file: RemoteFile) -> bool:
    return (file.size is not None or file.checksum is not None) and _fault(path, file) is None


def _fault(path: Path, file: RemoteFile) -> str | None:
    """What is wrong with a file that has come, or None."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"{size} bytes, not {file.size}"
    if file.checksum is None:
        return None
    kind, _, wanted = file.checksum.partition(":")
    if kind not in {"md5", "sha256"}:
        raise DataError("a checksum of an unknown kind", where=file.url, found=file.checksum)
    with path.open("rb") as content:
        found = hashlib.file_digest(content, kind).hexdigest()
    return None if found == wanted.lower() else f"{kind} {found}, not {wanted}"


def _progress(done: int, total: int | None) -> str:
    return f"{done / 1e6:.0f} MB" + (f" of {total / 1e6:.0f} MB" if total else "")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
