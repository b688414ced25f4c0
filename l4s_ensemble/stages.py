"""The table of stages: what each one needs, and which settings change it.

This is the only place that knows the order of the packages. It imports none of them: a stage
is named by ``module:function`` and runs in a process of its own.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import replace
from pathlib import Path

from l4s_ensemble.config import Config
from l4s_ensemble.errors import ConfigError
from l4s_ensemble.run.stage import Stage

OCCLUSION = "explain/unet"
"""The stage that measures what the U-Net looks at; nothing but its page reads it."""


def fit_stages(config: Config, root: Path) -> list[Stage]:
    """The stages of a fit, in order."""
    return [
        data_stage("data/train", config, root, "train"),
        Stage(
            "scenes",
            "l4s_ensemble.scenes.stage:stage",
            needs=("data/train",),
            sections=("scenes", "data.holdout", "data.holdout_guard"),
        ),
        Stage(
            "features",
            "l4s_ensemble.features.stage:stage",
            needs=("data/train", "scenes"),
            sections=("features",),
        ),
        Stage(
            "pixel",
            "l4s_ensemble.pixel.stage:fit_stage",
            needs=("data/train", "scenes", "features"),
            sections=("pixel",),
        ),
        Stage(
            "unet",
            "l4s_ensemble.unet.stage:stage",
            needs=("data/train", "scenes"),
            sections=("unet",),
        ),
        Stage(
            OCCLUSION,
            "l4s_ensemble.unet.stage:explain_stage",
            needs=("data/train", "scenes", "unet"),
            sections=("unet.precision",),
        ),
        Stage(
            "stack",
            "l4s_ensemble.stack.stage:stage",
            needs=("data/train", "scenes", "features", "pixel", "unet"),
            sections=("stack",),
        ),
    ]


def predict_stages(
    config: Config,
    root: Path,
    split: str,
    *,
    own: bool = True,
    adapt: bool = True,
    fast: bool = False,
) -> list[Stage]:
    """The stages of a prediction: the result, the landslides in it, and the scores.

    Parameters
    ----------
    root : Path
        Folder of the patches.
    split : str
    own : bool
        Whether `root` is the folder the run was fitted on. Another folder's prediction stands
        under a name of its own.
    adapt : bool
        Whether the U-Net takes batch statistics of the images. Not of those it was fitted on.
    fast : bool
        Whether one fold's models predict, without averaging over symmetries. That stands below
        ``fast/`` instead of ``predict/``.
    """
    holdout = split == "holdout"
    if holdout and config.data.holdout is None:
        raise ConfigError(
            "this run holds no tiles out",
            where="data.holdout",
            fix="fit with a config that has data.holdout, or predict --split valid",
        )
    label, read = split if own else _label(root, split), "train" if holdout else split
    folder = f"{'fast' if fast else 'predict'}/{label}"
    data = data_stage(f"data/{read}" if own else f"predict/{label}/data", config, root, read)
    params = {"data": data.name, "holdout": holdout, "split": split, "folder": folder, "fast": fast}
    seen = ("scenes",) if holdout else ()
    places = ("scenes",) if data.name == "data/train" else ()
    base = Stage("", "", params=params)
    result = f"{folder}/result"
    return [
        data,
        replace(
            base,
            name=result,
            target="l4s_ensemble.predict.stage:stage",
            needs=(data.name, "scenes", "pixel", "unet", "stack"),
            params={**params, "adapt": adapt and not (own and split == "train")},
        ),
        replace(
            base,
            name=f"{folder}/landslides",
            target="l4s_ensemble.predict.stage:landslides_stage",
            needs=(data.name, "pixel", result, "stack", *places),
        ),
        replace(
            base,
            name=f"{folder}/scores",
            target="l4s_ensemble.predict.stage:scores_stage",
            needs=(data.name, "features", "pixel", result, "stack", *(places or seen)),
            sections=("scenes.bootstrap_tiles",),
        ),
    ]


def data_stage(name: str, config: Config, root: Path, split: str) -> Stage:
    """The stage that turns one split's files into a store."""
    from l4s_ensemble.data.patches import find_patches
    from l4s_ensemble.data.sensor import load_sensor

    sensor = load_sensor(config.data.sensor)
    files = find_patches(root, split, sensor)
    listing = hashlib.blake2b(digest_size=8)
    extra = [root / "scenes.csv"] if (root / "scenes.csv").is_file() else []
    read = [p for f in files for p in (f.image, f.mask) if p is not None]
    for path in read + extra:
        status = path.stat()
        listing.update(
            f"{path.relative_to(root)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode()
        )
    return Stage(
        name,
        "l4s_ensemble.data.stage:stage",
        params={
            "root": str(root.resolve()),
            "split": split,
            "sensor": config.data.sensor,
        },
        state={
            "sensor": sensor.model_dump(mode="json"),
            "files": len(files),
            "listing": listing.hexdigest(),
        },
    )


def _label(root: Path, split: str) -> str:
    """Name for the prediction of another folder: readable, and unlike that of a third one.

    It becomes part of file names and of links in the report, which need no quoting then.
    """
    path = root.resolve()
    mark = hashlib.blake2b(os.fsencode(path), digest_size=3).hexdigest()
    plain = re.sub(r"[^A-Za-z0-9_]+", "-", path.name)[:40].strip("-")
    return "-".join(part for part in (split, plain, mark) if part)
