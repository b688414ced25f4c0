"""Three networks on the tiles set aside: ours, smp's U-Net with a ResNet-34, the official one.

    python -m benchmarks.unet_seeds --rgb L4S_RGB_FOLDER [--work runs/unet-seeds]
        [--arms ours,smp,official] [--seeds 0,1,2] [--steps 800] [--set unet.key=value]
        [--smp-epochs 12] [--smp key=value]

Each is trained once a seed on the fitting tiles of the preset ``l4s-rgb``, from random weights. An
inner block of them is set aside: it gives the threshold, and for the official network, whose
learning rate never falls, the best epoch too. Then each scores the holdout, pooled.

* ``ours``: the preset as it is.
* ``smp``: the same inputs, augmentation, loss and schedule, with its own learning rate and epochs.
* ``official``: the official recipe (Adam 1e-3, weight decay, cross-entropy, no augmentation, whole
  tiles without neighbours), its inputs standardised by the fitting tiles, for the published
  constants are those of 14 bands.

The seeds of an arm are pooled: their counts at their own thresholds are added up tile by tile. The
interval is over spatial blocks of tiles, gains are paired; the spread over seeds stands beside it.
What has been trained is kept in the work folder. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.holdout import in_parts, show_parts
from benchmarks.unet_choices import World
from benchmarks.unet_race import rival_settings
from l4s_ensemble import config as configuration
from l4s_ensemble.config import UNetConfig
from l4s_ensemble.metrics.bootstrap import f1_gain_interval, f1_interval
from l4s_ensemble.metrics.counts import Counts
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.run.fingerprint import digest
from l4s_ensemble.run.log import start_logging

log = logging.getLogger("l4s_ensemble")

ARMS = ("ours", "smp", "official")

SMP_EPOCHS = 12
"""As many as take the time that ours takes."""

_STREAM = 0x5EED
"""Keeps the draw of inner blocks apart from other draws with the same seed."""


def settings_of(
    arm: str, preset: UNetConfig, steps: int, smp_epochs: int, smp: Sequence[str] = ()
) -> UNetConfig:
    """Settings of an arm.

    Parameters
    ----------
    arm : {'ours', 'smp', 'official'}
    preset : UNetConfig
    steps : int
        Of the official network.
    smp_epochs : int
    smp : sequence of str
        ``key=value`` for smp alone.
    """
    own = preset.model_dump()
    if arm == "smp":
        own |= rival_settings([f"epochs={smp_epochs}", *smp])
    elif arm == "official":
        own = configuration.load("baseline").unet.model_dump()
        own |= {"standard": "fit", "steps": steps, "checkpoint": "inner"}
    return UNetConfig.model_validate({**own, "seeds": 1})


def score(world: World, arm: str, config: UNetConfig, seed: int) -> dict[str, Any]:
    """Train one network, or find it, and score the tiles set aside.

    Returns
    -------
    dict
        ``tiles`` (`TileHistograms` of the holdout), ``threshold``, ``seconds`` of training,
        ``processor_seconds``, ``epochs``, ``inner_f1``.
    """
    import torch

    from l4s_ensemble.scenes.inner import watched
    from l4s_ensemble.unet.hardware import choose
    from l4s_ensemble.unet.infer import Predictor
    from l4s_ensemble.unet.training.engine import FoldTrainer
    from l4s_ensemble.unet.training.watch import Inner

    key = digest([arm, seed, config.model_dump(mode="json")])[:16]
    note, kept = world.work / f"seed-{key}.json", world.work / f"seed-{key}.npz"
    if not (note.is_file() and kept.is_file()):
        rest, aside = watched(world.folds, world.ids, np.random.default_rng([seed, _STREAM]))
        train, inner = (np.searchsorted(world.ids, np.sort(ids)) for ids in (rest, aside))
        hardware = choose("auto", config.precision, world.jobs)
        watching = Inner(inner) if config.checkpoint == "inner" else None
        began, cpu = time.monotonic(), time.process_time()
        trainer = FoldTrainer(
            world.tiles, train, config, seed=seed, fold=0, hardware=hardware, inner=watching
        )
        checkpoint = world.work / f"seed-{key}.pt"
        trainer.resume(checkpoint)

        def after(at: FoldTrainer) -> None:
            at.save(checkpoint)
            last = at.epochs[-1]
            log.info("%s, seed %d: epoch %d, %.0f s", arm, seed, len(at.epochs), last["seconds"])

        model = trainer.run(after)
        spent = {"seconds": time.monotonic() - began, "processor": time.process_time() - cpu}
        model.save(world.work / f"seed-{key}.safetensors")
        predictor = Predictor(model, hardware, tta=config.tta, halo_px=config.halo_px)
        best = _scored(world, predictor, config, ids=aside).pooled().best()
        _scored(world, predictor, config, ids=world.folds.holdout_ids).save(kept)
        told = {
            "threshold": best.value, "inner_f1": best.f1, "trained_on": len(train),
            "inner_tiles": len(inner), "epochs": len(trainer.epochs),
            "best_epoch": trainer.best_epoch, "threads": torch.get_num_threads(), **spent,
        }  # fmt: skip
        write_json(note, told)
        checkpoint.unlink(missing_ok=True)
    return {"tiles": TileHistograms.load(kept), **read_json(note)}


def _scored(
    world: World, predictor: Any, config: UNetConfig, ids: NDArray[np.int64]
) -> TileHistograms:
    """Score tiles as predictions do: in the company of their neighbours, where those are shown."""
    from l4s_ensemble.data.store import positions_of
    from l4s_ensemble.unet.scoring.split import score_split

    ids = np.sort(ids).astype(np.int64)
    known = world.around if config.neighbours or config.halo_px else None
    where = positions_of(world.dataset, ids)
    out, mask = TileHistograms.empty(ids), world.dataset["mask"]
    for positions, logit in score_split(world.dataset, where, [predictor], known, 64):
        for at, z in zip(positions, logit[:, 0].cpu().numpy(), strict=True):
            tile = int(np.flatnonzero(where == at)[0])
            out.add(tile, sigmoid(z), mask[at].values)
    return out


def pooled(runs: list[dict[str, Any]]) -> Counts:
    """Counts of the tiles, summed over the seeds, each at its own threshold."""
    each = [r["tiles"].counts(r["threshold"]) for r in runs]
    sums = (sum(getattr(c, n) for c in each) for n in ("tp", "fp", "fn", "tn"))
    return Counts(*sums)


def table(block: NDArray[Any], found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Rows, the first arm's gains over the others in theirs."""
    first = next(iter(found))
    rows = []
    for arm, runs in found.items():
        counts = pooled(runs)
        whole = f1_interval(counts, block)
        one_by_one = [
            f1_interval(r["tiles"].counts(r["threshold"]), block, resamples=10).value for r in runs
        ]
        gain = None
        if arm != first:
            paired = f1_gain_interval(pooled(found[first]), counts, block)
            gain = [paired.value, paired.low, paired.high]
        rows.append(
            {
                "arm": arm, "f1": whole.value, "low": whole.low, "high": whole.high,
                "f1_of_seeds": one_by_one,
                "f1_best": [r["tiles"].pooled().best().f1 for r in runs],
                "average_precision": [r["tiles"].pooled().average_precision() for r in runs],
                "gain_of_first": gain,
                "minutes": float(np.median([r["seconds"] for r in runs])) / 60,
                "processor_minutes": float(np.median([r["processor"] for r in runs])) / 60,
                "threads": runs[0]["threads"], "trained_on": runs[0]["trained_on"],
            }
        )  # fmt: skip
    return rows


def areas(
    row: NDArray[Any], block: NDArray[Any], found: dict[str, list[dict[str, Any]]]
) -> dict[str, Any]:
    """F1 of each arm, and the first one's gains, in the parts of the holdout.

    The split was made after scores had been seen: it explains, it claims nothing.
    """
    return in_parts(
        row, block, next(iter(found)),
        lambda own: {
            arm: pooled([{**r, "tiles": r["tiles"].subset(own)} for r in runs])
            for arm, runs in found.items()
        },
    )  # fmt: skip


def show(rows: list[dict[str, Any]], parts: dict[str, Any]) -> None:
    """Print the table, in Markdown, and the parts of the holdout."""
    print("| network | F1 | interval | each seed | at its best threshold | min | processor min |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for r in rows:
        each, best = (", ".join(f"{v:.3f}" for v in r[k]) for k in ("f1_of_seeds", "f1_best"))
        print(
            f"| {r['arm']} | {r['f1']:.3f} | {r['low']:.3f}–{r['high']:.3f} | {each} | {best} "
            f"| {r['minutes']:.1f} | {r['processor_minutes']:.1f} |"
        )
    for r in rows[1:]:
        value, low, high = r["gain_of_first"]
        print(f"\n{rows[0]['arm']} over {r['arm']}: {value:+.3f} [{low:+.3f}, {high:+.3f}]")
    show_parts(parts, rows[0]["arm"])


def main() -> None:
    """Train, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rgb", type=Path, required=True, help="true-colour tiles")
    parser.add_argument("--work", type=Path, default=Path("runs/unet-seeds"))
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--seeds", default="0,1,2", help="of each arm, or arm=0,1;arm=0")
    parser.add_argument("--steps", type=int, default=800, help="of the official network")
    parser.add_argument("--smp-epochs", type=int, default=SMP_EPOCHS)
    parser.add_argument("--set", action="append", default=[], help="unet.key=value")
    parser.add_argument("--smp", action="append", default=[], help="key=value, for smp alone")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path)
    words = parser.parse_args()
    start_logging(logging.INFO)
    world = World(words.work, words.rgb, "l4s-rgb", words.set, words.jobs)
    found: dict[str, list[dict[str, Any]]] = {}
    for arm in words.arms.split(","):
        config = settings_of(arm, world.config.unet, words.steps, words.smp_epochs, words.smp)
        found[arm] = [score(world, arm, config, seed) for seed in _seeds(words.seeds, arm)]
    patch = next(iter(found.values()))[0]["tiles"].patch
    row, block = (world.folds.of(patch, name) for name in ("row", "block"))
    rows, parts = table(block, found), areas(row, block, found)
    if words.out is not None:
        about = {"set": words.set, "smp": words.smp, "smp_epochs": words.smp_epochs}
        write_json(words.out, {"rows": rows, "areas": parts, **about})
    show(rows, parts)
    print(json.dumps({r["arm"]: [round(r["f1"], 4), r["gain_of_first"]] for r in rows}))


def _seeds(words: str, arm: str) -> list[int]:
    """Read ``0,1,2`` or ``ours=0,1,2;official=0``."""
    if "=" in words:
        words = dict(part.split("=", 1) for part in words.split(";")).get(arm, "0")
    return [int(s) for s in words.split(",")]


if __name__ == "__main__":
    main()
