"""The sentences of a model card that follow from what the run is, and those that always hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from l4s_ensemble.data.bands import BY_NAME

CODE_LICENCE = {
    "name": "MIT",
    "covers": "the code, and the models as far as the licence of their data allows",
}

LANDSLIDE4SENSE = {
    "name": "CC BY 4.0",
    "covers": "Landslide4Sense: images, elevation and masks",
    "source": "Zenodo record 10463239, doi:10.5281/zenodo.10463239",
    "cite": "Ghorbanzadeh, O., Xu, Y., Ghamisi, P., Kopp, M., Kreil, D. (2022). Landslide4Sense: "
    "Reference Benchmark Data and Deep Learning Models for Landslide Detection. IEEE Transactions "
    "on Geoscience and Remote Sensing, 60. doi:10.1109/TGRS.2022.3215209",
}

MISUSE = (
    "No warning system: it sees landslides that have happened, not those that will.",
    "No decision about a person, a building or a road may rest on it without a look by someone who "
    "knows the ground.",
    "No inventory for statistics of size or hazard without correction: small landslides are easily "
    "missed, and outlines follow pixels.",
    "No other sensor, resolution or processing level than that of the data named here; the models "
    "refuse other bands, but not another place or season.",
)

SENSOR_FAMILY = "l4s"
"""Sensors whose names begin so hold bands of Landslide4Sense."""


def data_licence(data: Mapping[str, Any]) -> dict[str, str]:
    """Licence of the data that the models were fitted on."""
    if data.get("synthetic"):
        return {
            "name": "none needed",
            "covers": "synthetic patches of this package: they show no real place",
        }
    if str(data.get("sensor") or "").startswith(SENSOR_FAMILY):
        return dict(LANDSLIDE4SENSE)
    return {"name": "that of the patches", "covers": "the patches that were given to the fit"}


def adapted_limits(adapted: Mapping[str, Any] | None) -> list[str]:
    """What follows from an adaptation to labels, `adapted` of the card."""
    if adapted is None:
        return []
    place = adapted["split"] or adapted["scene"] or "their place"
    return [
        f"The models were adapted to {adapted['tiles']} labelled tiles ({adapted['labels']}): "
        "scores out-of-fold are those of the models before, and scores of "
        f"{place} include tiles whose labels were used."
    ]


def limits(
    data: Mapping[str, Any],
    protocol: Mapping[str, Any],
    scores: Sequence[Mapping[str, Any]],
    outdated: Sequence[str],
) -> list[str]:
    """What a reader must know before believing a number of the card.

    Parameters
    ----------
    data, protocol, scores
        Parts of the card.
    outdated : sequence of str
        Stages of the fit that were made from inputs which have changed since.
    """
    sentences = []
    if outdated:
        sentences.append(
            f"Stages made from inputs that have changed since: {', '.join(outdated)}. Run fit-all."
        )
    if data.get("synthetic"):
        sentences.append(
            "The patches are synthetic: no score here says anything about a real place."
        )
    scenes = [s for s in protocol["scenes"] if (s.get("scene") or 0) >= 0]
    if scenes:
        fitted = [s for s in scenes if _fitted(s)]
        whole = [s for s in scenes if not _fitted(s)]
        same = "out-of-fold" if whole else "out-of-fold and on tiles held out"
        sentences.append(
            f"Fitted on {_listed(fitted)}. A place unlike these can fail badly: scores {same} are "
            "of the same scenes, and say nothing of a place never seen."
        )
        if whole:
            sentences.append(
                f"Held out whole: {_listed(whole)}. Scores there are of a place never seen; "
                "another one can be harder or easier."
            )
    else:
        sentences.append(
            "It is not known which places the training tiles show. A place unlike them can fail "
            "badly, and neighbours may stand in different folds, which flatters out-of-fold scores."
        )
    if not any(s["measured"] and s["kind"] == "split" for s in scores):
        sentences.append("No split of other places has been scored with these models.")
    by_tile = [s["split"] for s in scores if s.get("intervals_by") == "tile"]
    if by_tile:
        sentences.append(
            f"The places of the tiles of {', '.join(by_tile)} are not known: their intervals "
            "resample single tiles and are narrower than true ones."
        )
    if data.get("radiometry") == "relative":
        sentences.append(
            "Each tile has an unknown gain: what depends on true reflectance cannot be learnt."
        )
    if data.get("pixel_m"):
        cell = float(data["pixel_m"])
        known = [BY_NAME[name] for name in data.get("bands") or () if name in BY_NAME]
        coarse = [band.name for band in known if band.native_m > cell]
        more = f", and {', '.join(coarse)} are coarser than that" if coarse else ""
        sentences.append(
            f"A pixel is {cell:g} m wide ({cell * cell:g} m²){more}: landslides of a few pixels "
            "can hardly be told from noise."
        )
    sentences.append(
        "At the edge of a tile less is known of the neighbourhood; where the neighbours of a tile "
        "are not given, the answer there is less sure and a landslide may be cut."
    )
    sentences.append(
        "The probability is meant for ground on which landslides are as frequent as in training; "
        "where they are rarer, it says too much."
    )
    return sentences


def _fitted(scene: Mapping[str, Any]) -> int:
    """Tiles of a scene that were fitted on; all of them where an older run does not say."""
    count = scene.get("fitted_tiles")
    return int(scene["tiles"] if count is None else count)


def _listed(scenes: Sequence[Mapping[str, Any]]) -> str:
    named = ", ".join(f"scene {s['scene']} ({_fitted(s) or s['tiles']} tiles)" for s in scenes[:8])
    return named + (f" and {len(scenes) - 8} more" if len(scenes) > 8 else "")
