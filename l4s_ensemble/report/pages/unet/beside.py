"""The U-Net beside the pixel classifier: which landslides only one of them finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from l4s_ensemble.report import words
from l4s_ensemble.report.pages.failures import area, up_to
from l4s_ensemble.report.pieces import figure
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import table

_COLUMNS = (
    ("only_unet", "only the U-Net is right", "share"),
    ("only_pixel", "only the pixel classifier", "share"),
    ("both_right", "both", "share"), ("both_wrong", "neither", "share"),
)  # fmt: skip


def figures(source: RunSource) -> dict[str, Any]:
    """Figure of what only one model finds; none where the stack has not counted it."""
    found = source.summary("stack").get("agreement_where") or {}
    if not found.get("size") or not found.get("inside"):
        return {}
    size, inside = (_shares(found[k]) for k in ("size", "inside"))
    return {
        "beside": figure(
            "only_one",
            "Landslide pixels that only one of the two finds",
            "Share of the true landslide pixels of a size, and so far inside the rim, that only "
            "the U-Net or only the pixel classifier finds, each at its own threshold. The stack "
            "can gain where either bar is tall.",
            {
                "size": _bars([_size(r, source) for r in found["size"]], size),
                "inside": _bars([up_to(r["low"], r["high"]) for r in found["inside"]], inside),
            },
        )
    }


def sentence(source: RunSource) -> str:
    """Say in one sentence what each model alone finds, and what it alone does not falsely call."""
    found = source.summary("stack").get("agreement_where") or {}
    if not found.get("inside") or not found.get("outside"):
        return ""
    inside, outside = (_pooled(found[k]) for k in ("inside", "outside"))
    return (
        f"Of the pixels of landslides the U-Net alone finds {words.share(inside['only_unet'])}, "
        f"the pixel classifier alone {words.share(inside['only_pixel'])}. Of the false alarms of "
        f"either, {words.share(outside['only_unet'])} are the pixel classifier's alone and "
        f"{words.share(outside['only_pixel'])} the U-Net's alone."
    )


def tables(source: RunSource) -> dict[str, Any]:
    """Tables by size of the landslide and by distance to its rim."""
    found = source.summary("stack").get("agreement_where") or {}
    out: dict[str, Any] = {}
    if found.get("size"):
        rows = [
            {"bin": _size(r, source), "slides": r["slides"], **s}
            for r, s in zip(found["size"], _shares(found["size"]), strict=True)
        ]
        out["beside_size"] = table(
            "Who finds the pixels of landslides of a size",
            [("bin", "size (hectares)", "text"), ("slides", "landslides", "count"),
             ("pixels", "pixels", "count"), *_COLUMNS],
            rows,
            note="Of the pixels of true landslides. Out of fold, each model at its own threshold.",
            folded=True,
        )  # fmt: skip
    if found.get("inside") and found.get("outside"):
        named = [(f"{up_to(r['low'], r['high'])} inside", r) for r in reversed(found["inside"])]
        named += [
            ("no landslide in the tile" if r["low"] is None
             else f"{up_to(r['low'], r['high'])} outside", r)
            for r in found["outside"]
        ]  # fmt: skip
        rows = [r for _, r in named]
        out["beside_rim"] = table(
            "Who is right by the distance to the rim of a landslide",
            [("bin", "distance (px)", "text"), ("pixels", "pixels", "count"), *_COLUMNS],
            [{"bin": n, **s} for (n, _), s in zip(named, _shares(rows), strict=True)],
            note="Inside, right is found. Outside stand only pixels that one of the two calls: "
            "right is not called, so both cannot be right.",
            folded=True,
        )
    return out


def _shares(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    out = []
    for r in rows:
        counts = {key: r[key] for key, _label, _kind in _COLUMNS}
        pixels = sum(counts.values())
        out.append(
            {"pixels": pixels, **{k: n / pixels if pixels else None for k, n in counts.items()}}
        )
    return out


def _pooled(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    total = {key: sum(r[key] for r in rows) for key, _label, _kind in _COLUMNS}
    return _shares([total])[0]


def _bars(names: Sequence[str], shares: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "bin": list(names),
        "pixels": [s["pixels"] for s in shares],
        "only_unet": words.sigfig([s["only_unet"] for s in shares]),
        "only_pixel": words.sigfig([s["only_pixel"] for s in shares]),
    }


def _size(row: Mapping[str, Any], source: RunSource) -> str:
    failed = source.summary("unet").get("failures") or source.summary("pixel").get("failures") or {}
    return area(row["low_px"], row["high_px"], float(failed.get("pixel_m") or 10.0))
