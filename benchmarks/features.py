"""Features per second, against plain code, on two cores, in memory, and against the memory limit.

The default set is measured without the groups ``morphology`` and ``object`` and without ranks.
One core means one process whose libraries have one thread. The plain code is that of
`benchmarks.plain_features`: spyndex, xarray-spatial, scipy.ndimage and numpy, one patch at a time.
Both sides make the same features of the same patches, taking turns, and their values are compared.
The headline ratio is against plain code that ends at the edge of the patch and is wrong near it;
beside it stands the plain code that continues the patch, as these features do, and so gives the
same values everywhere. Two cores run the sampling of the features stage, which
hands blocks of patches to processes through joblib. Peak memory is that of a fresh process.

Run ``python -m benchmarks.features [--patches 64] [--data DIR] [--groups GROUP ...]``. Without
``--data`` patches of 14 bands are made up in a temporary folder. Seconds are those of the wall's
clock, with the processor's own beside them: on a busy machine only those say what code costs. The
last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from benchmarks.clocks import Spent, clocked, middle, spent_each
from l4s_ensemble.config import FeaturesConfig
from l4s_ensemble.data.patches import find_patches
from l4s_ensemble.data.sensor import L4S, Sensor
from l4s_ensemble.data.store import STORE, build_store, units
from l4s_ensemble.features.build import FEATURES_FILE, compute
from l4s_ensemble.features.canvas import Canvas, continued
from l4s_ensemble.features.recipe import Feature
from l4s_ensemble.features.registry import GROUPS, FeaturePlan, select
from l4s_ensemble.features.sample import Quota, sample
from l4s_ensemble.features.source import FeatureSource
from l4s_ensemble.run.files import write_json
from l4s_ensemble.sources.synth import make_dataset

LEFT_OUT_GROUPS = ("morphology", "object")
ROWS_PER_PATCH = 64
TOLERANCE = 1e-3
"""Largest difference that counts as agreement, as a share of the feature's range."""


def wanted_plan(sensor: Sensor, groups: Sequence[str]) -> FeaturePlan:
    """The features to measure: some groups, or the default set as the module says."""
    if groups:
        return select(sensor, FeaturesConfig(groups=tuple(groups)))
    plan = select(sensor, FeaturesConfig())
    return plan.only([f.name for f in plan.features if _counts(f)])


def _counts(feature: Feature) -> bool:
    return feature.group not in LEFT_OUT_GROUPS and not feature.name.endswith("_rank")


def one_core(
    images: Sequence[NDArray[np.float32]], sensor: Sensor, plan: FeaturePlan, rounds: int
) -> Spent:
    """Seconds a patch: median over several rounds through all patches, the first one unclocked."""

    def all_patches() -> None:
        for image in images:
            compute(image, sensor, plan)

    all_patches()
    spent = middle([clocked(all_patches) for _ in range(rounds)])
    return Spent(spent.wall / len(images), spent.busy / len(images))


def plain_within(
    image: NDArray[np.float32], sensor: Sensor, plan: FeaturePlan, reach: int
) -> NDArray[np.float32]:
    """Plain features of a patch that was continued by so many pixels, cut back to the patch."""
    from benchmarks.plain_features import plain_features

    made = plain_features(continued(image, sensor, reach), sensor.band_names, plan.names)
    return made[:, reach : made.shape[1] - reach, reach : made.shape[2] - reach]


def disagree(
    image: NDArray[np.float32],
    sensor: Sensor,
    plan: FeaturePlan,
    reach: int,
    tolerance: float = TOLERANCE,
) -> list[str]:
    """Names of the features that the plain code makes otherwise.

    With a `reach` of 0 only the pixels count from which no feature reaches the edge.
    """
    ours, plain = compute(image, sensor, plan), plain_within(image, sensor, plan, reach)
    differ = []
    for feature, a, b in zip(plan.features, ours, plain, strict=True):
        rim = 0 if reach else feature.support_px
        inner = np.s_[rim : a.shape[0] - rim, rim : a.shape[1] - rim]
        apart = np.abs(a[inner] - b[inner]) / max(float(np.ptp(a[inner])), 1e-6)
        if not (apart < tolerance).mean() > 0.999:
            differ.append(feature.name)
    return differ


def against_plain(
    images: Sequence[NDArray[np.float32]], sensor: Sensor, plan: FeaturePlan, rounds: int
) -> dict[str, Any]:
    """Time both sides on the features that both know, and compare their values."""
    from benchmarks.plain_features import PlainPatch

    knows = PlainPatch(images[0], sensor.band_names).known
    same = plan.only([f.name for f in plan.features if knows(f.name)])
    missing = [name for name in plan.names if name not in same.names]
    reach = same.support_px
    with np.errstate(all="ignore"):
        spent = spent_each(
            {
                "here": lambda image: compute(image, sensor, same),
                "plain": lambda image: plain_within(image, sensor, same, 0),
                "plain, continued": lambda image: plain_within(image, sensor, same, reach),
            },
            images,
            rounds,
        )
        differ = {way: disagree(images[0], sensor, same, n) for way, n in
                  (("plain", 0), ("plain, continued", reach))}  # fmt: skip
    print(f"\nThe same {len(same.names)} of {len(plan.names)} features on both sides.")
    if missing:
        print(f"Not in the plain code: {', '.join(missing)}")
    print(f"{'':18}{'ms/patch':>10}{'processor':>10}{'ratio':>8}{'processor':>10}  equal features")
    here = spent["here"]
    for name, s in spent.items():
        print(
            f"{name:18}{s.wall * 1e3:10.1f}{s.busy * 1e3:10.1f}{s.wall / here.wall:8.2f}"
            f"{s.busy / here.busy:10.2f}"
            + (f"{len(same.names) - len(differ[name]):6}" if name in differ else "")
        )
    print(
        f"Equal: within {TOLERANCE:g} of the feature's range, for 'plain' where no feature reaches "
        f"the edge, and for 'plain, continued' (by {reach} px as here) on every pixel."
    )
    for name, names in differ.items():
        if names:
            print(f"Not equal in {name!r}: {', '.join(names)}")
    return {
        "ratio_vs_plain": round(spent["plain"].wall / here.wall, 2),
        "ratio_vs_plain_processor": round(spent["plain"].busy / here.busy, 2),
        "ratio_vs_plain_continued": round(spent["plain, continued"].wall / here.wall, 2),
        "plain_features": len(same.names),
        "plain_disagree": differ["plain"],
    }


def copy_bytes_per_s() -> float:
    """Bytes read and written each second by a copy that no cache holds: the memory limit."""
    source = np.ones(16 << 20)
    target = np.empty_like(source)
    best = min(clocked(partial(np.copyto, target, source)).busy for _ in range(6))
    return 2 * source.nbytes / best


@contextmanager
def counted() -> Iterator[list[int]]:
    """Count the bytes of the pictures that canvases hold when they are done with."""
    total = [0]
    forget = Canvas.forget

    def count(canvas: Canvas) -> None:
        total[0] += _held(vars(canvas))
        forget(canvas)

    with patch.object(Canvas, "forget", count):
        yield total


def _held(value: object) -> int:
    """Bytes of all arrays in nested dicts and tuples; an array that is a view counts nothing."""
    if isinstance(value, np.ndarray):
        return value.nbytes if value.base is None else 0
    if isinstance(value, dict):
        return sum(_held(v) for v in value.values())
    if isinstance(value, (tuple, list)):
        return sum(_held(v) for v in value)
    return 0


def moved_bytes(image: NDArray[np.float32], sensor: Sensor, plan: FeaturePlan) -> int:
    """Least bytes that go through memory for one patch.

    Bands are read once, every picture that is kept is written once and read once, and so is every
    feature. What stays in registers or within one formula counts nothing.
    """
    with counted() as held:
        made = compute(image, sensor, plan)
    needed = {band for f in plan.features for band in f.needs}
    return len(needed) * image[0].nbytes + 2 * held[0] + 2 * made.nbytes


def group_table(
    images: Sequence[NDArray[np.float32]], sensor: Sensor, plan: FeaturePlan, rounds: int
) -> float:
    """Print time and bytes of each group made alone, and of all; give the share of the limit."""
    limit = copy_bytes_per_s()
    rows: dict[str, FeaturePlan] = {}
    for group in GROUPS:
        names = [f.name for f in plan.features if f.group == group]
        if names:
            rows[group] = plan.only(names)
    rows["all together"] = plan
    times = spent_each(
        {n: lambda image, p=p: compute(image, sensor, p) for n, p in rows.items()}, images, rounds
    )
    print(f"\nEach group alone, one core. A copy moves {limit / 1e9:.1f} GB/s (read + written).")
    print(
        f"{'group':14} {'features':>8} {'ms/patch':>9} {'MB moved':>9} {'GB/s':>6} {'of limit':>9}"
    )
    share = 0.0
    for name, part in rows.items():
        moved = moved_bytes(images[0], sensor, part)
        rate = moved / times[name].busy
        share = rate / limit
        print(
            f"{name:14}{len(part.features):10}{times[name].wall * 1e3:10.2f}"
            f"{times[name].busy * 1e3:10.2f}{moved / 1e6:10.1f}{rate / 1e9:10.2f}{share:10.0%}"
        )
    return share


def sampled(source: FeatureSource, patches: int, jobs: int) -> None:
    """Draw pixels of many patches as the features stage does."""
    have = source.dataset().sizes["patch"]
    quota = Quota(np.zeros(patches, np.int64), np.full(patches, ROWS_PER_PATCH), 1.0, 1.0)
    sample(source, np.arange(patches) % have, quota, 0, jobs)


def scaling(source: FeatureSource, patches: int, rounds: int) -> float:
    """How many times faster two processes are than one, all warm; the median of several."""
    for jobs in (1, 2):  # starts the processes
        sampled(source, 32, jobs)
    factors = []
    for _ in range(rounds):
        one, two = (clocked(partial(sampled, source, patches, jobs)).wall for jobs in (1, 2))
        factors.append(one / two)
    return statistics.median(factors)


def peak_bytes(folder: Path, patches: int) -> int:
    """Peak memory of a fresh process that samples so many patches."""
    command = [sys.executable, "-m", "benchmarks.features", "--peak-of", str(folder)]
    done = subprocess.run(
        [*command, "--patches", str(patches)],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    return int(done.stdout.split()[-1])


def print_peak(folder: Path, patches: int) -> None:
    """Sample so many patches and print this process's peak memory, bytes."""
    sampled(FeatureSource.beside(folder, folder / STORE), patches, 1)
    status = Path("/proc/self/status")
    if status.is_file():  # Linux's ru_maxrss begins with the size of the parent process
        peak = next(n for n in status.read_text().splitlines() if n.startswith("VmHWM"))
        print(int(peak.split()[1]) * 1024)
    else:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def run(root: Path, folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Measure everything on the patches below `root`, print it, and give the numbers."""
    sensor, split = L4S, asked.split
    build_store(
        find_patches(root, split, sensor), sensor, folder / STORE, 1, split=split, root=root
    )
    plan = wanted_plan(sensor, asked.groups)
    write_json(folder / FEATURES_FILE, plan.as_dict())
    source = FeatureSource.beside(folder, folder / STORE)
    dataset = source.dataset()
    few = min(8, dataset.sizes["patch"])
    images = [np.ascontiguousarray(image) for image in units(dataset, slice(0, few))]
    groups = ", ".join(dict.fromkeys(f.group for f in plan.features))
    print(f"{len(plan.features)} features of {groups}; support {plan.support_px} px")
    core = one_core(images, sensor, plan, asked.rounds)
    print(
        f"One core: {1 / core.wall:.1f} patches/s, {core.wall * 1e3:.1f} ms each, of which the "
        f"processor works {core.busy * 1e3:.1f}"
    )
    told: dict[str, Any] = {
        "features": len(plan.features),
        "patches_per_s_core": round(1 / core.wall, 1),
        "patches_per_s_core_processor": round(1 / core.busy, 1),
    }
    told |= against_plain(images, sensor, plan, 2 * asked.rounds)
    told["of_memory_limit"] = round(group_table(images, sensor, plan, 2 * asked.rounds), 3)
    told["scaling_2_cores"] = round(scaling(source, asked.patches, 3), 2)
    print(f"\nTwo processes through joblib: {told['scaling_2_cores']:.2f} times one")
    peaks = [peak_bytes(folder, n) / 2**20 for n in (asked.patches, 4 * asked.patches)]
    told["peak_mib"] = [round(peak) for peak in peaks]
    print(
        f"Peak memory: {peaks[0]:.0f} MiB for {asked.patches} patches, {peaks[1]:.0f} MiB for "
        f"{4 * asked.patches}"
    )
    told["loaded"] = round(os.getloadavg()[0], 1)
    return told


def main() -> None:
    """Read the words of the command, measure, and end with one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder in the official or Hugging Face layout")
    parser.add_argument("--split", default="train")
    parser.add_argument("--patches", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7, help="repetitions, of which the median")
    parser.add_argument("--groups", nargs="*", default=(), choices=GROUPS, metavar="GROUP")
    parser.add_argument("--peak-of", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.peak_of:
        print_peak(asked.peak_of, asked.patches)
        return
    from threadpoolctl import threadpool_limits

    with tempfile.TemporaryDirectory() as name, threadpool_limits(1):
        folder = Path(name)
        root = asked.data or folder / "made-up"
        if asked.data is None:
            make_dataset(root, train=min(asked.patches, 32), valid=0)
        print(json.dumps(run(root, folder, asked)))


if __name__ == "__main__":
    main()
