"""The model card: what the models are, what they were measured on, and what they are not for.

Written into the run folder as ``model_card.json`` whenever a fit, a prediction or an evaluation
ends; the report makes a page of it. Every number comes from the summaries and manifests of the
run. What was not measured with the models as they are now is said to be not measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from l4s_ensemble.metrics.published import why_not_comparable
from l4s_ensemble.predict.card_words import (
    CODE_LICENCE,
    MISUSE,
    adapted_limits,
    data_licence,
    limits,
)
from l4s_ensemble.run.files import read_json, write_json

FORMAT = "l4s-ensemble model card 1"
CARD_FILE = "model_card.json"
NOT_MEASURED = "not measured"
SCORES = (
    "model", "adapted_to", "f1", "f1_low", "f1_high", "blocks", "precision", "recall", "iou",
    "average_precision", "calibration_error", "threshold", "tiles",
)  # fmt: skip
LINEAGE = (
    "base", "base_version", "base_digests", "labels", "labels_digest", "split", "scene", "helps",
    "reason",
)  # fmt: skip
FITS = ("data/train", "scenes", "features", "pixel", "unet", "stack")
OFFICIAL = ("valid", "test")

Record = dict[str, Any]


def write_card(run: Path) -> Path | None:
    """Write ``model_card.json`` of a run; None where the run has no stack yet."""
    if not (run / "stack" / "manifest.json").is_file():
        return None
    path = run / CARD_FILE
    write_json(path, model_card(run))
    return path


def model_card(run: Path) -> dict[str, Any]:
    """Make the card of a fitted run.

    Parameters
    ----------
    run : Path
        The run folder.

    Returns
    -------
    dict
        ``format, name, version, made, data, protocol, scores, learner, thresholds, adapted,
        limits, misuse, licence, seed, settings``. ``adapted`` is None, or the run, the labels and
        their digests that the models were adapted from and to.
        Each of ``scores`` has ``on, split, kind, measured``, and either ``models`` and
        ``not_comparable`` or ``note`` and ``why``.

    Raises
    ------
    RunError
        If the run has no stack, or a file of it is damaged.
    """
    stages = _stages(run)
    read_json(run / "stack" / "summary.json")  # without it there is nothing to describe
    latest = stages["stack"]["manifest"]
    config: dict[str, Any] = latest.get("config", {})
    scores = _scores(stages)
    data = _data(stages)
    protocol = _protocol(stages, config)
    stack = stages["stack"]["summary"]
    adapted = _adapted(run)
    return {
        "format": FORMAT,
        "name": config.get("name"),
        "version": latest.get("versions", {}).get("l4s_ensemble"),
        "made": latest.get("started"),
        "data": data,
        "protocol": protocol,
        "scores": scores,
        "learner": stack.get("learner"),
        "thresholds": {row["model"]: row["threshold"] for row in stack.get("comparison", [])},
        "adapted": adapted,
        "limits": [*adapted_limits(adapted), *limits(data, protocol, scores, _outdated(stages))],
        "misuse": list(MISUSE),
        "licence": {"code": CODE_LICENCE, "data": data_licence(data)},
        "seed": latest.get("seed"),
        "settings": _without_root(config),
    }


def _adapted(run: Path) -> Record | None:
    path = run / "adapt" / "summary.json"
    summary: Record = read_json(path) if path.is_file() else {}
    if not summary.get("in_use"):
        return None
    return {**{key: summary[key] for key in LINEAGE}, "tiles": len(summary["tiles"])}


def _stages(run: Path) -> dict[str, Record]:
    """Summaries and manifests of all finished stages, by name."""
    found = [run / name for name in FITS]
    found += [p.parent for p in sorted(run.glob("data/*/manifest.json")) if p.parent not in found]
    found += [p.parent for p in sorted(run.glob("predict/*/*/manifest.json"))]
    return {
        folder.relative_to(run).as_posix(): {
            "summary": read_json(folder / "summary.json"),
            "manifest": read_json(folder / "manifest.json"),
        }
        for folder in found
        if (folder / "manifest.json").is_file()
    }


def _is_current(stages: Mapping[str, Record], name: str) -> bool:
    """Whether a stage was made from its inputs as they are now."""
    if name not in stages:
        return False
    inputs = stages[name]["manifest"].get("ingredients", {}).get("inputs", {})
    return all(
        other in stages
        and stages[other]["manifest"].get("digest") == digest
        and _is_current(stages, other)
        for other, digest in inputs.items()
    )


def _outdated(stages: Mapping[str, Record]) -> list[str]:
    return [name for name in FITS if name in stages and not _is_current(stages, name)]


def _data(stages: Mapping[str, Record]) -> dict[str, Any]:
    train = stages.get("data/train", {}).get("summary", {})
    state = stages.get("data/train", {}).get("manifest", {}).get("ingredients", {}).get("state", {})
    sensor = state.get("sensor") or {}
    splits = [name for name in stages if name.startswith("data/")]
    splits += [n for n in stages if n.startswith("predict/") and n.endswith("/data")]
    return {
        "sensor": train.get("sensor"),
        "radiometry": train.get("radiometry"),
        "bands": [b["name"] for b in sensor.get("bands", [])] or None,
        "pixel_m": sensor.get("pixel_m"),
        "tile_px": sensor.get("patch_pixels"),
        "synthetic": bool(train.get("synthetic")),
        "splits": [_split(stages[name], name) for name in splits],
    }


def _split(record: Record, name: str) -> dict[str, Any]:
    summary = record["summary"]
    label = name.removeprefix("data/") if name.startswith("data/") else name.split("/")[1]
    keys = ("patches", "masks", "landslide_patches", "prevalence", "synthetic")
    return {
        "split": label,
        **{key: summary.get(key) for key in keys},
        "degenerate": len(summary.get("degenerate") or []),
    }


def _protocol(stages: Mapping[str, Record], config: Mapping[str, Any]) -> dict[str, Any]:
    scenes = stages.get("scenes", {}).get("summary", {})
    roles = scenes.get("roles", {})
    return {
        "grid": scenes.get("grid"),
        "scenes": [
            {k: s.get(k) for k in ("scene", "tiles", "fitted_tiles", "prevalence")}
            for s in scenes.get("scenes", [])
        ],
        "folds": scenes.get("folds"),
        "folds_are": scenes.get("by"),
        "block_tiles": scenes.get("block_tiles"),
        "tiles": roles,
        "holdout": (config.get("data") or {}).get("holdout"),
        "holdout_tiles": roles.get("holdout"),
    }


def _scores(stages: Mapping[str, Record]) -> list[dict[str, Any]]:
    """Scores out-of-fold and on each split; what has none says why."""
    stack = stages["stack"]
    grid = stages.get("scenes", {}).get("summary", {}).get("grid")
    train = stages.get("data/train", {}).get("summary", {})
    rows = [
        {
            "on": "training tiles, out-of-fold",
            "split": "train",
            "kind": "out-of-fold",
            **(
                _measured(stack["summary"], "train", "out-of-fold", train, grid)
                if _is_current(stages, "stack")
                else _not_measured("a model was fitted again and the stack was not")
            ),
        }
    ]
    predicted = {n.split("/")[1] for n in stages if n.startswith("predict/")}
    holdout = (stack["manifest"].get("config", {}).get("data") or {}).get("holdout")
    wanted = [*OFFICIAL, *(["holdout"] if holdout else [])]
    for split in [*wanted, *sorted(predicted - set(wanted))]:
        name = f"predict/{split}/scores"
        own_data = stages.get(f"predict/{split}/data") or stages.get(f"data/{split}")
        data = (own_data or {"summary": train})["summary"]
        unseen = (own_data is not None and split != "train") or split in OFFICIAL
        kind = "split" if unseen else _kind_on_train(split)
        row: dict[str, Any] = {"on": _on(split, kind), "split": split, "kind": kind}
        if name in stages and _is_current(stages, name):
            row.update(_measured(stages[name]["summary"], split, kind, data, grid))
        elif name in stages:
            row.update(_not_measured("scored with models that have been fitted again since"))
        elif own_data is None and split in OFFICIAL:
            row.update(_not_measured("nothing of this split was predicted"))
        elif own_data is not None and not data.get("masks"):
            row.update(_not_measured("the split has no masks"))
        else:
            row.update(_not_measured("not evaluated"))
        rows.append(row)
    return rows


def _kind_on_train(split: str) -> str:
    return "holdout" if split == "holdout" else "fitted"


def _on(split: str, kind: str) -> str:
    return {
        "holdout": "training tiles held out",
        "fitted": "training tiles that the models were fitted on",
    }.get(kind, split)


def _measured(
    summary: Mapping[str, Any], split: str, kind: str, data: Mapping[str, Any], grid: str | None
) -> dict[str, Any]:
    return {
        "measured": True,
        "models": [{key: row.get(key) for key in SCORES} for row in summary["comparison"]],
        "gain": summary.get("gain"),
        "intervals_by": summary.get("block_kind", "spatial"),
        "threshold_chosen_here": kind == "out-of-fold",
        "not_comparable": why_not_comparable(split, kind, data, grid) or None,
    }


def _not_measured(why: str) -> dict[str, Any]:
    return {"measured": False, "note": NOT_MEASURED, "why": why}


def _without_root(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that another person can use: the folder of the patches is theirs."""
    data = dict(config.get("data") or {})
    return {**config, "data": {**data, "root": None}}
