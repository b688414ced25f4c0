"""How well the uncertainty map tells errors, and what a person gains who looks where it is high."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.report import words
from l4s_ensemble.report.pieces import figure
from l4s_ensemble.report.table import table

_NAMES = {
    "near_threshold": "nearness to the threshold",
    "entropy": "entropy of the probability",
    "expected_error": "expected error by the probability",
    "logit_gap": "gap between both models' log-odds",
    "probability_gap": "gap between both models' probabilities",
    "spread": "spread of the probability around",
    "combined": "all of them, combined by a regression",
}


def figures(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Figure of what a person's look is worth; none where it was not counted."""
    told = summary.get("uncertainty") or {}
    rows = (_chosen(told) or {}).get("risk") or []
    if not rows:
        return {}
    return {
        "risk": figure(
            "risk",
            "What it is worth to look at the least sure pixels",
            "A person looks at so many pixels, the least sure first. The solid line is F1 of all "
            "pixels if the person is always right, the dotted one F1 of the pixels that nobody "
            "looked at, the dashed one how many of all errors are among those looked at. The "
            "steeper the solid line rises, the better the map knows where it is wrong.",
            {
                "share": [words.share(r["share"]).replace("\u202f", " ") for r in rows],
                **{k: words.sigfig([r[k] for r in rows])
                   for k in ("f1_helped", "f1_rest", "errors_seen")},
            },
        )
    }  # fmt: skip


def tables(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Tables of areas under the curve for error, and of looking."""
    told = summary.get("uncertainty") or {}
    out: dict[str, Any] = {}
    measures = told.get("measures") or ([_chosen(told)] if told.get("auc") else [])
    if measures:
        out["doubt"] = table(
            "How well each map tells errors",
            [("name", "map", "text"), ("chosen", "in use", "text"),
             ("all", "AUC, all pixels", "score"), ("called", "of those called", "score"),
             ("not_called", "of those not called", "score"), ("gain", "gain", "gain"),
             ("interval", "95 % interval", "text")],
            [_row(m, told["measure"]) for m in measures],
            note="AUC: how often a wrong pixel is less sure than a right one; 0.5 is chance. Gain: "
            "over nearness to the threshold, which is no more than the probability says.",
        )  # fmt: skip
    rows = (_chosen(told) or {}).get("risk") or []
    if rows:
        out["looked"] = table(
            "F1 when a person looks at the least sure pixels",
            [("share", "pixels looked at", "share"),
             ("f1_helped", "F1 of all, if the person is right", "score"),
             ("f1_rest", "F1 of the rest", "score"), ("errors_seen", "errors seen", "share")],
            rows,
            folded=True,
        )  # fmt: skip
    return out


def sentence(summary: Mapping[str, Any]) -> str:
    """Say which map is in use and what a look at one pixel in a hundred is worth."""
    told = summary.get("uncertainty") or {}
    row = _chosen(told)
    if row is None:
        return ""
    name = name_of(told["measure"])
    area = (row.get("auc") or {}).get("all")
    text = f"The map in use is {name}"
    text += f" (AUC {words.score(area)} for error)." if area is not None else "."
    risk = row.get("risk") or []
    plain = next((r for r in risk if r["share"] == 0), None)
    look = next((r for r in risk if r["share"] == 0.01), None)
    if plain and look and look["f1_helped"] is not None and plain["f1_helped"] is not None:
        text += (
            f" A person who puts right the least sure {words.share(look['share'])} of all pixels "
            f"brings F1 from {words.score(plain['f1_helped'])} to {words.score(look['f1_helped'])}"
            f" and sees {words.share(look['errors_seen'])} of all errors."
        )
    return text


def name_of(measure: Any) -> str:
    """A measure of uncertainty in words."""
    return _NAMES.get(str(measure), str(measure))


def _chosen(told: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Row of the map in use: the stack has several, a split that one alone."""
    if not told.get("measure"):
        return None
    if "measures" not in told:
        return {"name": told["measure"], **told}
    return next((m for m in told["measures"] if m["name"] == told["measure"]), None)


def _row(row: Mapping[str, Any], chosen: str) -> dict[str, Any]:
    gain = row.get("gain") or {}
    low, high = gain.get("low"), gain.get("high")
    known = low is not None and high is not None
    return {
        **(row.get("auc") or {}),
        "name": name_of(row["name"]),
        "gain": gain.get("value"),
        "interval": f"{words.gain(low)} to {words.gain(high)}" if known else None,
        "chosen": "in use" if row["name"] == chosen else None,
    }
