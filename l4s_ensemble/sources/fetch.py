"""Fetch the public release: from its Zenodo record, or the Hugging Face copy.

Ghorbanzadeh et al. 2022, CC BY 4.0; validation and test masks are part of it since January 2024.
"""

from __future__ import annotations

import http.client
import json
import logging
import urllib.parse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from l4s_ensemble.errors import ConfigError, DataError
from l4s_ensemble.run.progress import track
from l4s_ensemble.sources.download import RemoteFile, download, open_url
from l4s_ensemble.sources.unpack import unpack

log = logging.getLogger("l4s_ensemble")

Source = Literal["zenodo", "hugging-face"]
RECORDS: dict[str, str] = {
    "zenodo": "https://zenodo.org/api/records/10463239",
    "hugging-face": "https://huggingface.co/api/datasets/ibm-nasa-geospatial/Landslide4sense",
}
ARCHIVES = {"train": "TrainData", "valid": "ValidData", "test": "TestData"}
HF_FOLDERS = {"train": "train", "valid": "validation", "test": "test"}
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
    tries: int = 6,
    wait_s: float = 2.0,
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
    tries, wait_s
        As in `download`.

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
    if source not in RECORDS:
        raise ConfigError("no such source", found=source, allowed=", ".join(RECORDS))
    unknown = [s for s in splits if s not in ARCHIVES]
    if unknown:
        raise ConfigError("no such split", found=unknown, allowed=", ".join(ARCHIVES))
    out.mkdir(parents=True, exist_ok=True)
    record = url or RECORDS[source]
    options: dict[str, Any] = {"tries": tries, "wait_s": wait_s}
    if source == "zenodo":
        counts = _from_zenodo(out, record, splits, keep_archives, options)
    else:
        counts = _from_hugging_face(out, record, splits, options)
    return {"root": str(out), "source": source, "splits": counts}


def zenodo_files(record: str) -> dict[str, RemoteFile]:
    """Files of a Zenodo record by name.

    Raises
    ------
    DataError
        If the record cannot be read, or contradicts a pinned checksum.
    """
    told, _ = _get(record)
    try:
        files = {
            f["key"]: RemoteFile(f["key"], str(f["links"]["self"]), int(f["size"]), f["checksum"])
            for f in told["files"]
        }
    except (KeyError, TypeError, ValueError) as error:
        raise _not_a_record(record, error) from None
    for name, pinned in PINNED.items():
        if name in files and files[name].checksum != pinned:
            raise DataError(
                "the record gives another checksum than the one known", where=f"{record}: {name}",
                found=files[name].checksum, allowed=pinned,
                fix="the release has changed or the answer is not genuine; fetch by hand",
            )  # fmt: skip
    return files


def hugging_face_files(record: str, split: str) -> list[RemoteFile]:
    """Images and masks of a split in a Hugging Face dataset, stray files left out.

    Raises
    ------
    DataError
        If the listing cannot be read.
    """
    folder = HF_FOLDERS[split]
    files = []
    for kind, prefix in (("images", "image_"), ("annotations", "mask_")):
        for entry in _pages(f"{record}/tree/main/{kind}/{folder}"):
            try:
                path, size = str(entry["path"]), int(entry["size"])
                oid = (entry.get("lfs") or {}).get("oid")
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise _not_a_record(record, error) from None
            name = path.rsplit("/", 1)[-1]
            # annotations/train holds five stray image files.
            if not (name.startswith(prefix) and name.endswith(".h5")):
                continue
            if ".." in path.split("/") or path.startswith("/"):
                raise DataError("the listing leads out of the folder", where=record, found=path)
            address = record.replace("/api/", "/", 1) + "/resolve/main/" + urllib.parse.quote(path)
            files.append(RemoteFile(path, address, size, f"sha256:{oid}" if oid else None))
    return files


def _from_zenodo(
    out: Path, record: str, splits: Sequence[str], keep: bool, options: dict[str, Any]
) -> dict[str, int]:
    wanted = [s for s in splits if not (out / ARCHIVES[s]).is_dir()]
    for split in set(splits) - set(wanted):
        log.info("%s is there already", out / ARCHIVES[split])
    files = zenodo_files(record) if wanted else {}
    for split in wanted:
        name = f"{ARCHIVES[split]}.zip"
        if name not in files:
            raise DataError("the record has no such file", where=record, found=name,
                            allowed=", ".join(files))  # fmt: skip
        archive = download(files[name], out / name, **options)
        unpack(archive, out, ARCHIVES[split])
        if not keep:
            archive.unlink()
    return {s: sum(1 for _ in (out / ARCHIVES[s]).rglob("*.h5")) for s in splits}


def _from_hugging_face(
    out: Path, record: str, splits: Sequence[str], options: dict[str, Any]
) -> dict[str, int]:
    counts = {}
    for split in splits:
        files = hugging_face_files(record, split)
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            jobs = pool.map(lambda f: download(f, out / f.name, quiet=True, **options), files)
            for _ in track(jobs, f"fetching {split}", len(files)):
                pass
        counts[split] = len(files)
    return counts


def _pages(url: str) -> list[dict[str, Any]]:
    """All entries of a listing that comes in pages."""
    entries: list[dict[str, Any]] = []
    following: str | None = url
    seen: set[str] = set()
    while following and following not in seen:
        seen.add(following)
        told, link = _get(following)
        if not isinstance(told, list):
            raise _not_a_record(url, "not a list")
        entries += told
        following = _next(link)
    return entries


def _next(link: str | None) -> str | None:
    """Address of the next page in a ``Link`` header."""
    for part in (link or "").split(","):
        address, _, relation = part.partition(";")
        if 'rel="next"' in relation:
            return address.strip().strip("<>")
    return None


def _get(url: str) -> tuple[Any, str | None]:
    """JSON behind an address, and its ``Link`` header."""
    try:
        with open_url(url) as response:
            body, link = response.read(), response.headers.get("Link")
    except (OSError, http.client.HTTPException) as error:
        raise DataError(
            "the source cannot be reached", where=url, found=error,
            fix="check the connection, try the other --source, or fetch by hand as the README says",
        ) from None  # fmt: skip
    try:
        return json.loads(body), link
    except (ValueError, RecursionError) as error:
        raise _not_a_record(url, error) from None


def _not_a_record(url: str, why: object) -> DataError:
    return DataError(
        "the source's answer is not a record of files", where=url, found=why,
        fix="try the other --source, or fetch by hand as the README says",
    )  # fmt: skip
