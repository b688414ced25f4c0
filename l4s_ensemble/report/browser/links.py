"""Links from the tiles that other pages show to their place in the browser."""

from __future__ import annotations

from typing import Any

from l4s_ensemble.report.page import Page


def add_links(made: list[Page]) -> None:
    """Add the links.

    Tiles of galleries and explained landslides get ``link``; the grids of mosaics get ``links``:
    ``pages``, and ``page`` of each cell, -1 where it has none.
    """
    browsers = [page for page in made if page.get("browser")]
    if not browsers:
        return
    there = {page["file"]: set(page["browser"]["tiles"]["patch"]) for page in browsers}
    file_of = {page["browser"]["split"]: page["file"] for page in reversed(browsers)}
    for page in made:
        gallery, landslides = (page.get(key) or {} for key in ("gallery", "landslides"))
        shown = [(gallery.get("split", "train"), tile) for tile in gallery.get("tiles", [])]
        shown += [("train", row) for row in landslides.get("rows", [])]
        for split, tile in shown:
            file = file_of.get(split, "")
            known = tile["patch"] in there.get(file, ())
            tile["link"] = f"{file}#tile={tile['patch']}" if known else None
        for scene in (page.get("mosaics") or {}).get("scenes", []):
            # The holdout's tiles lie in a training scene and have a page of their own.
            stage = scene["stage"]
            files = [p["file"] for p in browsers if p["browser"]["stage"] == stage]
            scene["grid"]["links"] = {
                "pages": files,
                "page": [_first(files, there, patch) for patch in scene["grid"]["ids"]],
            }


def _first(files: list[str], there: dict[str, Any], patch: int) -> int:
    return next((n for n, file in enumerate(files) if patch in there[file]), -1)
