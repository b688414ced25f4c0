"""What of this machine, the data and the run is well, what is not, and what mends it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

import typer
from packaging.requirements import Requirement

from l4s_ensemble.cli import console
from l4s_ensemble.cli.options import RUN, DataOption, DeviceOption, RunOption
from l4s_ensemble.errors import L4SError

PACKAGE = "l4s_ensemble"
EXTRAS = {
    "geo": "maps of scenes, labels as polygons",
    "encoders": "other networks of the U-Net",
    "tune": "tune pixel",
    "dask": "--scheduler",
}
"""Extras that a user may want, and what they are for."""

MEMORY_GB = 4.0
"""A fit of 1,306 patches, one job, was measured to need 1.9 GB."""

DISK_GB = 10.0
"""A run of 120 patches of 14 bands was measured to take 1.1 MB each; the release has 4,844."""

BROWSERS = ("firefox", "google-chrome", "chromium", "chromium-browser", "microsoft-edge", "safari")


class Found(NamedTuple):
    """One thing that was looked at; ``fix``: what mends it, empty where it is well."""

    what: str
    state: Literal["well", "note", "fault"]
    found: str
    fix: str = ""


def doctor(data: DataOption = None, run: RunOption = RUN, device: DeviceOption = "auto") -> None:
    """Look at Python, packages, hardware, data and run: what is well, and what mends the rest."""
    rows = [*_python(), *_hardware(device), *_space(run), *_data(data), *_run(run), _browser()]
    for row in rows:
        console.say(f"{row.state:5}  {row.what:9}  {row.found}")
        if row.fix:
            console.say(f"{'':18}→ {row.fix}")
    faults = sum(row.state == "fault" for row in rows)
    console.say(f"{faults} faults" if faults != 1 else "1 fault")
    if faults:
        raise typer.Exit(1)


def _python() -> Iterator[Found]:
    """Python, and the packages that this one declares."""
    asked = metadata.metadata(PACKAGE)["Requires-Python"]
    yield Found("Python", "well", f"{sys.version.split()[0]} (needs {asked})")
    listed = [Requirement(line) for line in metadata.requires(PACKAGE) or ()]
    bad = [said for r in listed if r.marker is None and (said := _wrong(r))]
    said = "; ".join(bad) or f"{PACKAGE} {metadata.version(PACKAGE)} and all that it needs"
    fix = "pip install --upgrade ." if bad else ""
    yield Found("packages", "fault" if bad else "well", said, fix)
    for extra, use in EXTRAS.items():
        own = [r for r in listed if r.marker and r.marker.evaluate({"extra": extra})]
        bad = [said for r in own if (said := _wrong(r))]
        if bad:
            said = f"extra {extra} ({use}): {'; '.join(bad)}"
            yield Found("packages", "note", said, f"pip install '.[{extra}]'")


def _wrong(needed: Requirement) -> str:
    """Say what is wrong with a package that is needed; empty where it is there."""
    try:
        found = metadata.version(needed.name)
    except metadata.PackageNotFoundError:
        return f"{needed.name} is not installed"
    fits = needed.specifier.contains(found, prereleases=True)
    return "" if fits else f"{needed.name} {found} (needs {needed.specifier})"


def _hardware(device: str) -> Iterator[Found]:
    """Device and precision of the U-Net, and threads."""
    import torch

    from l4s_ensemble.unet import hardware

    try:
        chosen = hardware.choose(device)
    except L4SError as error:
        yield Found("device", "fault", str(error.what), str(error.fix or ""))
        return
    said = f"{chosen.device}, {chosen.reason}: the U-Net trains in {chosen.precision}"
    if chosen.device.type == "cuda":
        yield Found("device", "well", said)
    else:
        build = "a build without CUDA" if torch.version.cuda is None else "no driver or no GPU"
        fix = "" if torch.version.cuda else "for a GPU: https://pytorch.org/get-started"
        yield Found("device", "note", f"{said}; torch {torch.__version__}: {build}", fix)
    from l4s_ensemble.pipeline import default_jobs

    cores, limit = default_jobs(), os.environ.get("OMP_NUM_THREADS")
    said = f"{cores} cores for --jobs; torch uses {torch.get_num_threads()}"
    if limit and limit.isdigit() and int(limit) < cores:
        said += f": OMP_NUM_THREADS is {limit}"
        yield Found("threads", "note", said, "unset OMP_NUM_THREADS")
    else:
        yield Found("threads", "well", said)


def _space(run: Path) -> Iterator[Found]:
    """Memory, and disk at the run folder."""
    free = _free_memory_gb()
    if free is not None:
        low = free < MEMORY_GB
        fix = "close programs, or give a smaller --jobs" if low else ""
        yield Found("memory", "note" if low else "well", f"{free:.1f} GB free", fix)
    above = next(p for p in (run.absolute(), *run.absolute().parents) if p.exists())
    disk = shutil.disk_usage(above).free / 1e9
    said, fix = (
        f"{disk:.1f} GB free at {above}",
        f"name another folder: --run DIR ({DISK_GB:.0f} GB)",
    )
    low = disk < DISK_GB
    yield Found("disk", "note" if low else "well", said, fix if low else "")


def _free_memory_gb() -> float | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    free = next((line for line in lines if line.startswith("MemAvailable:")), None)
    return None if free is None else int(free.split()[1]) * 1024 / 1e9


def _data(data: Path | None) -> Iterator[Found]:
    """Splits of the data folder."""
    from l4s_ensemble.data.layout import list_split, splits_in

    if data is None:
        fix = "l4s-ensemble data fetch DIR, then: export L4S_DATA=DIR"
        yield Found("data", "note", "no folder is named", fix)
        return
    splits = splits_in(data) if data.is_dir() else []
    if not splits:
        found = "holds no split" if data.is_dir() else "is not there"
        yield Found("data", "fault", f"{data} {found}", f"l4s-ensemble data fetch {data}")
    for split in splits:
        listed = list_split(data, split)
        assert listed is not None  # it was just found
        bad = len(listed.without_image) + len(listed.without_mask) + len(listed.doubles)
        said = f"{split}: {len(listed.images)} images, {len(listed.masks)} masks in {data}"
        fix = f"l4s-ensemble data check --data {data}" if bad else ""
        yield Found("data", "fault" if bad else "well", said, fix)


def _run(run: Path) -> Iterator[Found]:
    """What the run folder holds, and whether it can be written."""
    from l4s_ensemble.report.source import FITS, RunSource

    if not run.exists():
        yield Found("run", "note", f"{run} is not there yet", f"l4s-ensemble fit-all --run {run}")
        return
    if run.is_dir() and not os.access(run, os.W_OK):
        yield Found("run", "fault", f"{run} cannot be written", f"chmod u+w {run}")
    try:
        source = RunSource(run)
    except L4SError as error:
        yield Found("run", "fault", f"{run}: {error.what}", str(error.fix or ""))
        return
    missing = [name for name in FITS if "/" not in name and name not in source]
    if missing:
        said = f"{run} lacks {', '.join(missing)}"
        yield Found("run", "note", said, f"l4s-ensemble fit-all --run {run}")
    else:
        splits = ", ".join(source.predicted) or "no split"
        yield Found("run", "well", f"{run} is fitted; predicted: {splits}")


def _browser() -> Found:
    """A browser for the reports; any opens them, from this machine or another."""
    name = next((b for b in BROWSERS if shutil.which(b)), None)
    if name or sys.platform in {"win32", "darwin"}:
        return Found("browser", "well", f"{name or 'of the system'} opens the reports")
    fix = "copy the report's folder to a machine with a browser, or install firefox"
    return Found("browser", "note", "none was found here", fix)
