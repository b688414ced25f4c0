"""Pictures of the tiles that were won and lost: colour, errors of A, errors of B."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.errors import RunError
from l4s_ensemble.report.compare.sides import TRAIN, Side
from l4s_ensemble.report.compare.tiles import chosen, tile
from l4s_ensemble.report.pictures import draw, gallery

SHOWN = 4
"""Tiles won and tiles lost that are pictured."""


def build(a: Side, b: Side, contest: dict[str, Any], assets: Path) -> dict[str, Any] | None:
    """Draw the tiles with the largest differences into ``assets/tiles``.

    Returns
    -------
    dict or None
        ``groups`` (``title, tiles``; a tile has the row of the table and ``pictures``) and
        ``layers``. None where the tiles or the maps are not there.
    """
    from l4s_ensemble.data.store import positions_of, sensor_of, units

    groups = [("won by B", chosen(contest, 1, SHOWN)), ("lost by B", chosen(contest, -1, SHOWN))]
    ids = [contest["patch"][i] for _, at in groups for i in at]
    place = contest["place"]
    called = {s.letter: _called(s, place, contest["model"], ids) for s in (a, b)}
    stage = b.source.data_stage(place)
    there = stage in b.source and (b.source[stage].folder / "patches.zarr").is_dir()
    kept = {letter: maps for letter, maps in called.items() if maps is not None}
    if not ids or not there or len(kept) < len(called):
        return None
    store = b.source.store(place)
    if "mask" not in store:
        return None
    sensor = sensor_of(store)
    (assets / "tiles").mkdir(parents=True, exist_ok=True)
    made = []
    for title, at in groups:
        tiles = []
        for i in at:
            patch = contest["patch"][i]
            where = int(positions_of(store, [patch])[0])
            colour = draw.true_colour(units(store, [where])[0], sensor)
            truth = store["mask"][where].values
            shown = {"colour": colour}
            for letter, maps in kept.items():
                shown[letter] = draw.errors(maps[patch], truth, colour)
            files = {}
            for key, picture in shown.items():
                name = f"tiles/compare-{place}-{patch}-{key.lower()}.webp"
                draw.save(picture, assets / name)
                files[key] = f"assets/{name}"
            tiles.append({**tile(contest, i), "pictures": files})
        made.append({"title": title, "tiles": tiles})
    return {
        "groups": made,
        "layers": [
            {"key": "colour", "label": "colour"}, {"key": "A", "label": "errors of A"},
            {"key": "B", "label": "errors of B"},
        ],
    }  # fmt: skip


def _called(
    side: Side, place: str, model: str, ids: list[int]
) -> dict[int, NDArray[np.bool_]] | None:
    """What a model calls landslide on some tiles, (y, x) each, by id."""
    masks = side.source.run / "predict" / place / "result" / "masks"
    if place != TRAIN and model == "stack" and masks.is_dir():
        from l4s_ensemble.predict.split import open_masks

        try:
            found = open_masks(masks.parent, ids)
        except (RunError, OSError):
            return None
        return {i: m == 1 for i, m in zip(ids, found, strict=True)}
    shown = gallery.of_fit(side.source, model) if place == TRAIN else gallery.of_prediction(
        side.source, place
    )  # fmt: skip
    if shown is None or model not in shown.maps:
        return None
    threshold = float(side.rows(place)[model]["threshold"])
    return {i: shown.maps[model](i) >= threshold for i in ids}
