"""One scan of a data folder that lists every fault at once.

Files are read in parallel, each once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from l4s_ensemble.data.inspection import Fault, PatchRecord, inspect, one_line
from l4s_ensemble.data.layout import SPLITS, Listing, list_split, splits_in
from l4s_ensemble.data.places import MANIFEST, read_manifest
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import DataError
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.tasks import in_processes

_BATCH = 32
_SERIAL_FILES = 64


@dataclass
class SplitCheck:
    """Counts of one split.

    ``exact_share`` is the share of values that are exact integers after restoring units, None
    where no image could be read.
    """

    images: int = 0
    masks: int = 0
    landslide_patches: int | None = None
    landslide_pixels: int | None = None
    degenerate: int = 0
    exact_share: float | None = None


@dataclass
class CheckReport:
    """Result of `check`."""

    root: str
    sensor: str
    splits: dict[str, SplitCheck] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def errors(self) -> list[Fault]:
        """Faults that would stop a fit or make a score worthless."""
        return [f for f in self.faults if f.level == "error"]

    @property
    def warnings(self) -> list[Fault]:
        """Faults that stop nothing."""
        return [f for f in self.faults if f.level == "warning"]

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        counts = {"ok": self.ok, "errors": len(self.errors), "warnings": len(self.warnings)}
        return {**asdict(self), **counts, "seconds": round(self.seconds, 2)}


@dataclass(frozen=True)
class _Scan:
    """A patch, its counts and the faults of its files."""

    split: str
    id: int
    image: Path | None
    mask: Path | None
    record: PatchRecord = field(default_factory=PatchRecord)


def check(root: str | Path, sensor: Sensor, jobs: int = 1) -> CheckReport:
    """Scan all splits of a folder and list every fault.

    Parameters
    ----------
    root : str or Path
        Folder in the official or the Hugging Face layout, or one that holds ``img/`` itself
        (called ``train`` in the report if it has masks, else ``test``).
    jobs : int
        Worker processes.

    Raises
    ------
    DataError
        If there is no such folder. Everything else is a fault in the report.
    """
    started = time.monotonic()
    root = Path(root)
    if not root.is_dir():
        raise DataError("no such data folder", where=root, fix="check the path")
    report = CheckReport(str(root), sensor.name)
    listings = _listings(root)
    if not listings:
        found = ", ".join(sorted(p.name for p in root.iterdir())[:12]) or "an empty folder"
        text = (
            f"no split found; found {found}; allowed TrainData|ValidData|TestData/img, "
            "images/train|validation|test or img"
        )
        report.faults.append(Fault("error", "layout", str(root), text))
    patches: list[_Scan] = []
    for listing in listings:
        split, images, masks = listing.split, listing.images, listing.masks
        report.faults += [*_folder_faults(listing), *_place_faults(root, listing)]
        report.splits[split] = SplitCheck(len(images), len(masks))
        ids = sorted(images.keys() | masks.keys())
        patches += [_Scan(split, i, images.get(i), masks.get(i)) for i in ids]
    tasks = [(patches[n : n + _BATCH], sensor) for n in range(0, len(patches), _BATCH)]
    batches = in_processes(_scan_batch, tasks, jobs if len(patches) > _SERIAL_FILES else 1)
    made = (scan for batch in batches for scan in batch)
    scans = list(track(made, "data check: patches", len(patches)))
    scans.sort(key=lambda s: (SPLITS.index(s.split), s.id))
    report.faults += [fault for scan in scans for fault in scan.record.faults]
    for name, split_check in report.splits.items():
        _count(split_check, [s.record for s in scans if s.split == name])
    report.faults += _duplicates(scans)
    report.seconds = time.monotonic() - started
    return report


def _listings(root: Path) -> list[Listing]:
    names = splits_in(root)
    if names:
        found = [list_split(root, name) for name in names]
        return [listing for listing in found if listing is not None]
    bare = list_split(root, "train")
    if bare is None:
        return []
    if not bare.masks:
        bare.split = "test"
    return [bare]


def _folder_faults(listing: Listing) -> Iterator[Fault]:
    """Faults of file names."""
    split = listing.split
    if not listing.images:
        text = "no patch; allowed image_N.h5 with an integer N"
        yield Fault("error", "layout", str(listing.image_folder), text, split)
    elif split == "train" and not listing.masks:
        text = "the training split has no masks, so nothing can be fitted"
        yield Fault("error", "pair", str(listing.mask_folder), text, split)
    for i in listing.without_mask:
        text = f"no mask_{i}.h5 for this image, while other images have masks"
        yield Fault("error", "pair", str(listing.images[i]), text, split)
    for i in listing.without_image:
        text = f"no image_{i}.h5 for this mask; the mask is not used"
        yield Fault("warning", "pair", str(listing.masks[i]), text, split)
    for first, second in listing.doubles:
        yield Fault("error", "double", str(second), f"same id as {first.name}", split)
    for path in listing.strays:
        yield Fault("warning", "stray", str(path), "not a patch of this folder; not used", split)


def _place_faults(root: Path, listing: Listing) -> Iterator[Fault]:
    """Faults of the table of places, if there is one."""
    where, split = str(root / MANIFEST), listing.split
    try:
        places = read_manifest(root, split)
    except DataError as error:
        yield Fault("error", "places", where, f"{error.where}: {one_line(error)}", split)
        return
    unplaced = [i for i in listing.images if i not in places] if places else []
    if unplaced:
        text = f"no place for patches {', '.join(map(str, unplaced))}"
        # Only the training tiles are cut into folds.
        yield Fault("error" if split == "train" else "warning", "places", where, text, split)


def _scan_batch(batch: list[_Scan], sensor: Sensor) -> list[_Scan]:
    return [replace(s, record=inspect(s.image, s.mask, sensor, s.split)[0]) for s in batch]


def _count(split: SplitCheck, records: list[PatchRecord]) -> None:
    """Fill in the numbers of one split."""
    values = sum(r.values for r in records)
    split.exact_share = sum(r.exact for r in records) / values if values else None
    split.degenerate = sum(r.degenerate for r in records)
    pixels = [r.landslide_pixels for r in records if r.landslide_pixels is not None]
    if pixels:
        split.landslide_patches = sum(p > 0 for p in pixels)
        split.landslide_pixels = sum(pixels)


def _duplicates(scans: list[_Scan]) -> Iterator[Fault]:
    """Patches of equal content: across splits a score leaks, within one the folds join them."""
    first: dict[str, _Scan] = {}
    for scan in scans:
        if scan.record.hash is None or scan.image is None:
            continue
        other = first.setdefault(scan.record.hash, scan)
        if other is scan or other.image is None:
            continue
        if other.split == scan.split:
            text = f"same content as {other.image.name}; both go to one fold"
            yield Fault("warning", "duplicate", str(scan.image), text, scan.split)
        else:
            text = f"same content as {other.image} of split {other.split}: a score here would leak"
            yield Fault("error", "duplicate", str(scan.image), text, scan.split)
