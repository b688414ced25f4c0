"""What each group of features is worth, where an ablation has been measured.

An ablation is no stage: it fits many models. Whoever has run one puts ``ablation.json`` into the
features folder of a run, and the page shows it.

The file is a JSON object::

    {
      "note": "LightGBM, 300 trees, one run each; gains by paired bootstrap over blocks",
      "protocols": {"seen": "columns 24 to 30 of scene 1", "unseen": "fit on scene 1, score 2"},
      "rows": [
        {"protocol": "unseen", "group": "texture", "direction": "out", "f1": 0.43,
         "low": 0.39, "high": 0.47, "gain": 0.012, "gain_low": 0.001, "gain_high": 0.024}
      ]
    }

``rows`` is required (or the file is just that list); a ``note`` says how it was measured, and
``protocols`` says in words what each protocol is. Of a row:

``protocol``
    ``seen``, ``unseen``, ``14band`` or any short name. One that begins with ``unseen`` scores
    a place that nothing was fitted on.
``group``
    Group of features; any text for others, as ``all`` or ``default``.
``direction``
    ``out``: the set without this group. ``in``: the base set and this group. ``set``: a named
    set as a whole, which has a score and no gain.
``f1, low, high``
    Score of what was fitted, and its interval, or null.
``gain, gain_low, gain_high``
    F1 with the group less F1 without it, in both directions: above zero the group helps. The
    interval is paired, over spatial blocks. Null where unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.errors import RunError
from l4s_ensemble.report import words
from l4s_ensemble.report.pieces import figure
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import table
from l4s_ensemble.run.files import read_json

FILE = "ablation.json"
DIRECTIONS = {"out": "left out", "in": "put in alone", "set": "whole set"}

_TOLD = {
    "seen": "a seen place", "unseen": "an unseen scene", "14band": "the 14-band tiles",
}  # fmt: skip


def read(source: RunSource) -> dict[str, Any] | None:
    """Read the run's ablation; None if there is none.

    Raises
    ------
    RunError
        If the file is damaged or has not the form that this module describes.
    """
    path = source.run / "features" / FILE
    if not path.is_file():
        return None
    found = read_json(path)
    whole = found if isinstance(found, dict) else {"rows": found}
    rows = whole.get("rows")
    good = isinstance(rows, list) and all(
        isinstance(r, dict)
        and {"protocol", "group", "direction", "f1"} <= set(r)
        and r["direction"] in DIRECTIONS
        for r in rows
    )
    if not good:
        raise RunError(
            "this is no ablation of features", where=path, found=type(rows).__name__,
            allowed="rows of protocol, group, direction (out, in or set), f1 and gains",
            fix="measure it again, or delete the file",
        )  # fmt: skip
    return {"note": str(whole.get("note", "")), "protocols": whole.get("protocols", {}), **whole}


def parts(source: RunSource) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Sentence, figures and tables of the ablation; empty without one."""
    found = read(source)
    if found is None or not found["rows"]:
        return "", {}, {}
    rows = [{**dict.fromkeys(("low", "high", "gain", "gain_low", "gain_high")), **r}
            for r in found["rows"]]  # fmt: skip
    names = list(dict.fromkeys(r["protocol"] for r in rows))
    told = {n: found["protocols"].get(n) or _TOLD.get(n, n) for n in names}
    gains = [r for r in rows if r["gain"] is not None and r["direction"] != "set"]
    figures = {}
    if gains:
        figures["ablation"] = figure(
            "ablation", "What each group of features adds",
            "F1 with the group less F1 without it, with its interval over spatial blocks: right "
            "of zero the group helps. Full marks: the group is left out of the whole set. Open "
            "marks: it is put into the base set alone. An interval across zero shows no gain.",
            [
                {
                    "label": told[n],
                    "rows": [words.sigfig(r) for r in gains if r["protocol"] == n],
                }
                for n in names if any(r["protocol"] == n for r in gains)
            ],
        )  # fmt: skip
    listed = [
        {
            **r, "protocol": told[r["protocol"]], "direction": DIRECTIONS[r["direction"]],
            "interval": _interval(r, "low", "high"), "gains": _interval(r, "gain_low", "gain_high"),
            "shown": _shown(r),
        }
        for r in rows
    ]  # fmt: skip
    tables = {
        "ablation_rows": table(
            "Ablation of the groups",
            [
                ("group", "group", "text"), ("protocol", "scored on", "text"),
                ("direction", "the group is", "text"), ("f1", "F1", "score"),
                ("interval", "95 % interval", "interval"), ("gain", "it adds", "gain"),
                ("gains", "95 % interval of that", "interval"), ("shown", "gain shown?", "text"),
            ],
            listed, note=found["note"], sortable=True,
        )
    }  # fmt: skip
    return _sentence(gains), figures, tables


def _interval(row: Mapping[str, Any], low: str, high: str) -> list[float] | None:
    return None if row[low] is None or row[high] is None else [row[low], row[high]]


def _shown(row: Mapping[str, Any]) -> str | None:
    if row["gain_low"] is None or row["gain_high"] is None:
        return None
    return "yes" if row["gain_low"] > 0 else "it harms" if row["gain_high"] < 0 else "no"


def _sentence(gains: list[dict[str, Any]]) -> str:
    """Say which groups show a gain where, and which only in a seen place."""
    out = [r for r in gains if r["direction"] == "out"]
    unseen = [r for r in out if str(r["protocol"]).startswith("unseen")]
    seen = [r for r in out if str(r["protocol"]).startswith("seen")]
    if not out:
        return ""
    helps = {name: _helping(some) for name, some in (("seen", seen), ("unseen", unseen))}
    told = []
    if unseen:
        told.append(f"In an unseen scene a gain is shown by {_listed(helps['unseen'])}.")
    if seen:
        told.append(f"In a seen place a gain is shown by {_listed(helps['seen'])}.")
    only = [g for g in helps["seen"] if g not in helps["unseen"]]
    if seen and unseen and only:
        told.append(f"Only in a seen place: {', '.join(only)}.")
    return " ".join(told)


def _helping(rows: list[dict[str, Any]]) -> list[str]:
    return [str(r["group"]) for r in rows if _shown(r) == "yes"]


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "no group alone"
