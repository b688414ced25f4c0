"""One scan of a data folder that lists every fault at once.

An *error* would stop a fit or make a score worthless; a *warning* is something to know. Files are
read in parallel, each once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from l4s_ensemble.data.counts import content_hash, is_degenerate, out_of_bounds, restore_counts
from l4s_ensemble.data.layout import SPLITS, Listing, list_split, splits_in
from l4s_ensemble.data.patches import read_image, read_mask
from l4s_ensemble.data.places import MANIFEST, read_manifest
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import DataError
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.tasks import in_processes

log = logging.getLogger("l4s_ensemble")

_BATCH = 32
_SERIAL_FILES = 64


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes
    ----------
    level : {'error', 'warning'}
    code : str
        Kind of fault: ``layout, pair, stray, double, places, file, nan, bounds, units, mask,
        degenerate, duplicate``; ``l4s_ensemble.scenes.survey`` adds ``neighbour``.
    where : str
        File or folder.
    message : str
        What was found and what is allowed.
    split : str
    """

    level: Literal["error", "warning"]
    code: str
    where: str
    message: str
    split: str = ""


@dataclass
class SplitCheck:
    """What one split holds.

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
        """Things to know."""
        return [f for f in self.faults if f.level == "warning"]

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "root": self.root,
            "sensor": self.sensor,
            "ok": self.ok,
            "errors": len(self.errors),
            "warnings": len(self.warnings),
            "splits": {name: asdict(split) for name, split in self.splits.items()},
            "faults": [asdict(f) for f in self.faults],
            "seconds": round(self.seconds, 2),
        }


@dataclass(frozen=True)
class _Scan:
    """What one patch told: the faults found, and numbers where its files could be read."""

    split: str
    id: int
    image: str
    faults: tuple[Fault, ...] = ()
    hash: str | None = None
    values: int = 0
    exact: int = 0
    degenerate: bool = False
    landslide_pixels: int | None = None


_Job = tuple[str, int, Path | None, Path | None]


def check(root: str | Path, sensor: Sensor, jobs: int = 1) -> CheckReport:
    """Scan all splits of a folder and list every fault.

    Parameters
    ----------
    root : str or Path
        Folder in the official or the Hugging Face layout, or one that holds ``img/`` itself
        (called ``train`` in the report if it has masks, else ``test``).
    sensor : Sensor
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
    jobs_to_do: list[_Job] = []
    for listing in listings:
        report.faults += _folder_faults(listing)
        report.faults += _place_faults(root, listing)
        report.splits[listing.split] = SplitCheck(len(listing.images), len(listing.masks))
        ids = sorted(listing.images.keys() | listing.masks.keys())
        jobs_to_do += [(listing.split, i, listing.images.get(i), listing.masks.get(i)) for i in ids]
    scans = sorted(_run(jobs_to_do, sensor, jobs), key=lambda s: (SPLITS.index(s.split), s.id))
    for scan in scans:
        report.faults += scan.faults
    for listing in listings:
        _count(report.splits[listing.split], [s for s in scans if s.split == listing.split])
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
    """Faults that names alone show."""
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
    """Faults of the table that says where the patches lie, if there is one."""
    where, split = str(root / MANIFEST), listing.split
    try:
        places = read_manifest(root, split)
    except DataError as error:
        yield Fault("error", "places", where, f"{error.where}: {_one_line(error)}", split)
        return
    unplaced = [i for i in listing.images if i not in places] if places else []
    if unplaced:
        text = f"no place for patches {', '.join(map(str, unplaced))}"
        # Only the training tiles are cut into folds.
        yield Fault("error" if split == "train" else "warning", "places", where, text, split)


def _run(todo: list[_Job], sensor: Sensor, jobs: int) -> Iterator[_Scan]:
    """Scan patches, in worker processes where it pays."""
    tasks = [(todo[n : n + _BATCH], sensor) for n in range(0, len(todo), _BATCH)]
    results = in_processes(_scan_batch, tasks, jobs if len(todo) > _SERIAL_FILES else 1)
    return track((scan for batch in results for scan in batch), "data check: patches", len(todo))


def _scan_batch(batch: list[_Job], sensor: Sensor) -> list[_Scan]:
    return [_scan(*job, sensor) for job in batch]


def _scan(split: str, number: int, image: Path | None, mask: Path | None, sensor: Sensor) -> _Scan:
    """Read one patch and look at everything that its own files can show."""
    faults: list[Fault] = []
    pixels = None
    if mask is not None:
        try:
            pixels = int(read_mask(mask, sensor).sum())
        except DataError as error:
            code = "mask" if "other values" in error.what else "file"
            faults.append(Fault("error", code, str(mask), _one_line(error), split))
    if image is None:
        return _Scan(split, number, str(mask), tuple(faults))
    where = str(image)
    try:
        restored = restore_counts(read_image(image, sensor), sensor)
    except DataError as error:
        faults.append(Fault("error", "file", where, _one_line(error), split))
        return _Scan(split, number, where, tuple(faults), landslide_pixels=pixels)
    counts = restored.values
    exact = int(restored.exact.sum())
    if restored.not_finite:
        text = f"{restored.not_finite} values are NaN or infinite"
        faults.append(Fault("error", "nan", where, text, split))
    else:
        for o in out_of_bounds(counts, sensor):
            text = (
                f"band {o.band}: {o.values} values ({o.share:.2%}) outside {o.low:g} … {o.high:g} "
                f"{o.unit}, found {o.lowest:g} … {o.highest:g}"
            )
            if o.wrong_units:
                text += "; the band is in other units than the sensor says"
            faults.append(
                Fault("error" if o.wrong_units else "warning", "bounds", where, text, split)
            )
    if not restored.is_exact and not restored.not_finite:
        shares = restored.exact / counts[0].size
        worst = ", ".join(
            f"{name} {share:.1%}"
            for name, share in zip(sensor.band_names, shares, strict=True)
            if share < 1
        )
        text = (
            "values are not whole numbers after restoring units (exact share: "
            f"{worst}); not a released file of sensor {sensor.name}, kept as float32"
        )
        faults.append(Fault("warning", "units", where, text, split))
    degenerate = not restored.not_finite and is_degenerate(counts, sensor)
    if degenerate:
        text = "elevation is one value or slope is zero everywhere; left out of fitting"
        faults.append(Fault("warning", "degenerate", where, text, split))
    return _Scan(
        split, number, where, tuple(faults), content_hash(counts), counts.size, exact, degenerate,
        pixels,
    )  # fmt: skip


def _count(split: SplitCheck, scans: list[_Scan]) -> None:
    """Fill in the numbers of one split."""
    values = sum(s.values for s in scans)
    split.exact_share = sum(s.exact for s in scans) / values if values else None
    split.degenerate = sum(s.degenerate for s in scans)
    pixels = [s.landslide_pixels for s in scans if s.landslide_pixels is not None]
    if pixels:
        split.landslide_patches = sum(p > 0 for p in pixels)
        split.landslide_pixels = sum(pixels)


def _duplicates(scans: list[_Scan]) -> Iterator[Fault]:
    """Patches of equal content: across splits a score leaks, within one the folds join them."""
    first: dict[str, _Scan] = {}
    for scan in scans:
        if scan.hash is None:
            continue
        other = first.setdefault(scan.hash, scan)
        if other is scan:
            continue
        if other.split == scan.split:
            text = f"same content as {Path(other.image).name}; both go to one fold"
            yield Fault("warning", "duplicate", scan.image, text, scan.split)
        else:
            text = f"same content as {other.image} of split {other.split}: a score here would leak"
            yield Fault("error", "duplicate", scan.image, text, scan.split)


def _one_line(error: DataError) -> str:
    """Say an error in one line: the table has a column of its own for where."""
    parts = [error.what]
    if error.found is not None:
        parts.append(f"found {error.found}")
    if error.allowed is not None:
        parts.append(f"allowed {error.allowed}")
    return "; ".join(parts)
