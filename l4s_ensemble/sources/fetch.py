"""Fetch the public release: from its Zenodo record, or the Hugging Face copy.

Ghorbanzadeh et al. 2022, CC BY 4.0; validation and test masks are part of it since January 2024.
"""

from __future__ import annotations

import http.client
import json
import logging
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from l4s_ensemble.data.layout import HUGGING_FACE, OFFICIAL
from l4s_ensemble.errors import ConfigError, DataError
from l4s_ensemble.run.progress import track
from l4s_ensemble.sources.download import BY_HAND, RemoteFile, download, open_url, unpack

log = logging.getLogger("l4s_ensemble")

RECORDS: dict[str, str] = {
    "zenodo": "https://zenodo.org/api/records/10463239",
    "hugging-face": "https://huggingface.co/api/datasets/ibm-nasa-geospatial/Landslide4sense",
}
PINNED = {"TrainData.zip": "md5:408f09247e3dd256458bc2f6e9edbffb"}
"""Checksums that are known apart from the record: a record that says otherwise is not believed."""

CONNECTIONS = 8


def fetch(
    out: Path,
    *,
    source: str = "zenodo",
    splits: Sequence[str] = ("train", "valid", "test"),
    url: str | None = None,
    keep_archives: bool = False,
) -> dict[str, Any]:
    """Fetch splits of the release into `out`; what is there already is not fetched again.

    Parameters
    ----------
    out : Path
        Gets ``TrainData`` … (Zenodo) or ``images`` and ``annotations`` (Hugging Face).
    source : {'zenodo', 'hugging-face'}
    splits : sequence of {'train', 'valid', 'test'}
    url : str, optional
        Address of the record, for a mirror with the same interface.
    keep_archives : bool
        Keep the zips after unpacking.

    Returns
    -------
    dict
        ``root, source, splits``: per split the number of files.

    Raises
    ------
    ConfigError
        If there is no such source or split.
    DataError
        If the record cannot be read, a download fails, or an archive is not safe. What has come
        whole stays; the same call goes on from there.
    """
    for what, found, allowed in (("source", [source], RECORDS), ("split", splits, OFFICIAL)):
        if gone := [name for name in found if name not in allowed]:
            raise ConfigError(f"no such {what}", found=", ".join(gone), allowed=", ".join(allowed))
    out.mkdir(parents=True, exist_ok=True)
    record = url or RECORDS[source]
    if source == "zenodo":
        counts = _from_zenodo(out, record, splits, keep_archives)
    else:
        counts = {s: _from_hugging_face(out, record, s) for s in splits}
    return {"root": str(out), "source": source, "splits": counts}


def _from_zenodo(out: Path, record: str, splits: Sequence[str], keep: bool) -> dict[str, int]:
    folders = {s: out / OFFICIAL[s] for s in splits}
    files = None
    for folder in folders.values():
        if folder.is_dir():
            log.info("%s is there already", folder)
            continue
        files = files or _zenodo_files(record)
        name = f"{folder.name}.zip"
        if name not in files:
            allowed = ", ".join(files)
            raise DataError(
                "the record has no such file", where=record, found=name, allowed=allowed
            )
        archive = download(files[name], out / name)
        unpack(archive, out, folder.name)
        if not keep:
            archive.unlink()
    return {s: sum(1 for _ in folder.rglob("*.h5")) for s, folder in folders.items()}


def _zenodo_files(record: str) -> dict[str, RemoteFile]:
    """Files of a Zenodo record by name, compared with the pinned checksums."""
    answer, _ = _get(record)
    try:
        files = {
            f["key"]: RemoteFile(f["key"], str(f["links"]["self"]), int(f["size"]), f["checksum"])
            for f in answer["files"]
        }
    except (KeyError, TypeError, ValueError) as error:
        raise _not_a_record(record, error) from None
    for name, pinned in PINNED.items():
        if name in files and files[name].checksum != pinned:
            raise DataError(
                "the record gives another checksum than the one known",
                where=f"{record}: {name}",
                found=files[name].checksum,
                allowed=pinned,
                fix="the release has changed or the answer is not genuine; fetch by hand",
            )
    return files


def _from_hugging_face(out: Path, record: str, split: str) -> int:
    """Fetch images and masks of a split, stray files left out; give their number."""
    files = []
    for kind, name in (("images", "image"), ("annotations", "mask")):
        # annotations/train holds five stray image files; no other path is asked for.
        wanted = re.compile(rf"{kind}/{HUGGING_FACE[split]}/{name}_\w+\.h5")
        for entry in _pages(f"{record}/tree/main/{kind}/{HUGGING_FACE[split]}"):
            try:
                path, size = str(entry["path"]), int(entry["size"])
                oid = (entry.get("lfs") or {}).get("oid")
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise _not_a_record(record, error) from None
            if wanted.fullmatch(path):
                address = record.replace("/api/", "/", 1) + "/resolve/main/" + path
                files.append(RemoteFile(path, address, size, f"sha256:{oid}" if oid else None))
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        jobs = pool.map(lambda f: download(f, out / f.name), files)
        return len(list(track(jobs, f"fetching {split}", len(files))))


def _pages(url: str) -> list[dict[str, Any]]:
    """All entries of a listing that comes in pages; a ``Link`` header names the next one."""
    entries: list[dict[str, Any]] = []
    following: str | None = url
    seen: set[str] = set()
    while following and following not in seen:
        seen.add(following)
        answer, link = _get(following)
        if not isinstance(answer, list):
            raise _not_a_record(url, "not a list")
        entries += answer
        found = re.search(r'<([^>]*)>;[^,]*rel="next"', link or "")
        following = found[1] if found else None
    return entries


def _get(url: str) -> tuple[Any, str | None]:
    """JSON behind an address, and its ``Link`` header."""
    try:
        with open_url(url) as response:
            body, link = response.read(), response.headers.get("Link")
    except (OSError, http.client.HTTPException) as error:
        fix = f"check the connection, {BY_HAND}"
        raise DataError("the source cannot be reached", where=url, found=error, fix=fix) from None
    try:
        return json.loads(body), link
    except (ValueError, RecursionError) as error:
        raise _not_a_record(url, error) from None


def _not_a_record(url: str, why: object) -> DataError:
    what = "the source's answer is not a record of files"
    return DataError(what, where=url, found=why, fix=BY_HAND)
