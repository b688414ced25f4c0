"""One command for the competition: fit, predict, score, verify, and say where it stands."""

from __future__ import annotations

from typing import Any

from l4s_ensemble.data.layout import list_split
from l4s_ensemble.data.patches import find_patches
from l4s_ensemble.data.sensor import load_sensor
from l4s_ensemble.errors import DataError
from l4s_ensemble.pipeline import Run
from l4s_ensemble.predict import ladder

PRESET = "competition"
SPLITS = ("valid", "test")


def compete(run: Run) -> dict[str, Any]:
    """Fit a run, predict the official splits, score those with masks, verify the submissions.

    Nothing is done again that is up to date: the same command goes on after a stop.

    Returns
    -------
    dict
        ``run`` (folder), ``config`` (name), ``fitted`` (stages that ran), ``oof`` (summary of the
        stack), ``splits`` (list, see `predict.ladder.show`).

    Raises
    ------
    DataError
        Before anything is fitted, if the folder holds neither of the two splits, or one of them
        cannot be paired with its masks.
    """
    found = [split for split in SPLITS if list_split(run.data_root, split) is not None]
    if not found:
        raise DataError(
            "there is nothing to compete on", where=run.data_root, found="no valid and no test",
            allowed="ValidData/img or TestData/img, with masks or without",
            fix="give the folder of the release: l4s-ensemble data fetch FOLDER",
        )  # fmt: skip
    sensor = load_sensor(run.config.data.sensor)
    masked = {
        split: any(f.mask is not None for f in find_patches(run.data_root, split, sensor))
        for split in found
    }
    fitted = run.fit()
    told = []
    for split in SPLITS:
        if split not in masked:
            told.append(ladder.absent(split))
            continue
        run.predict(split)
        if masked[split]:
            run.evaluate(split)
        told.append(
            ladder.show(run.folder, split, run.folder / "data" / split, scored=masked[split])
        )
    return {
        "run": str(run.folder),
        "config": run.config.name,
        "fitted": [name for name, ran in fitted.items() if ran],
        "oof": run.summary("stack"),
        "splits": told,
    }
