"""Scores of both runs beside each other, and their paired differences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.report import words
from l4s_ensemble.report.compare.pairing import Pairing, difference, short
from l4s_ensemble.report.compare.sides import TRAIN, Side
from l4s_ensemble.report.headline import MODEL_NAMES, name_of
from l4s_ensemble.report.pieces import figure
from l4s_ensemble.report.table import table


def rows(a: Side, b: Side, pairings: Mapping[str, Pairing | None]) -> list[dict[str, Any]]:
    """Rows of every model at every place that both runs scored.

    Returns
    -------
    list of dict
        ``place, model, a, b`` (each run's row of scores), ``difference`` (see
        `pairing.difference`; None where nothing can be paired).
    """
    out = []
    for place, pairing in pairings.items():
        of_a, of_b = a.rows(place), b.rows(place)
        for model in MODEL_NAMES:
            if model not in of_a or model not in of_b:
                continue
            found = None
            if pairing is not None:
                settings = b.source.config
                found = difference(
                    a, b, pairing, model, resamples=settings.stack.resamples, seed=settings.seed
                )
            out.append(
                {"place": place, "model": model, "a": of_a[model], "b": of_b[model],
                 "difference": found}
            )  # fmt: skip
    return out


def headline(a: Side, b: Side, found: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The first score of all: the stack's (or the last model's) at the first place."""
    if not found:
        return None
    place = found[0]["place"]
    row = [r for r in found if r["place"] == place][-1]
    one, other, told = row["a"]["f1"], row["b"]["f1"], row["difference"]
    where = "Out-of-fold on training tiles" if place == TRAIN else f"On {place}"
    said = (
        f"{where} the {name_of({**row['b'], 'model': row['model']})} of B, {b.name}, has F1 "
        f"{words.score(other)}; that of A, {a.name}, has {words.score(one)}."
    )
    if told is None:
        said += " The tiles are not the same, so that no difference is reckoned."
    elif told["low"] is None:
        said += (
            f" On the same tiles the difference is {words.gain(told['value'])}; there are too few "
            "blocks of neighbours for an interval."
        )
    elif told["verdict"] == "the same masks":
        said += " Tile by tile they count the same."
    else:
        said += (
            f" On the same tiles the difference is {words.gain(told['value'])} (95\u202f% interval "
            f"{words.gain(told['low'])} to {words.gain(told['high'])} over "
            f"{words.plural(told['blocks'], 'block')} of neighbouring tiles): {told['verdict']}."
        )
    said += _elsewhere(found, row)
    return {
        "place": place, "model": row["model"], "f1_a": one, "f1_b": other, "difference": told,
        "sentence": said,
    }  # fmt: skip


def tables(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Tables of F1 with differences, and of the other scores."""
    if not found:
        return {}
    main = [
        {
            "place": short(r["place"]), "model": _named(r),
            "a": r["a"]["f1"], "a_span": _ends(r["a"]), "b": r["b"]["f1"],
            "b_span": _ends(r["b"]), **_told(r["difference"]),
        }
        for r in found
    ]  # fmt: skip
    more = []
    for r in found:
        whole = [(side.get("objects") or {}).get("f1") for side in (r["a"], r["b"])]
        more.append(
            {"place": short(r["place"]), "model": _named(r), "whole_a": whole[0],
             "whole_b": whole[1], **{f"{k}_{s}": r[s].get(k) for k in _MORE for s in ("a", "b")}}
        )  # fmt: skip
    columns = [
        (f"{k}_{s}", f"{label} of {s.upper()}", "score")
        for k, label in (*_MORE.items(), ("whole", "F1 of whole landslides"))
        for s in ("a", "b")
        if any(row.get(f"{k}_{s}") is not None for row in more)
    ]
    return {
        "scores": table(
            "F1 of the landslide class in both runs, each at its own threshold",
            [("place", "where", "text"), ("model", "model", "text"), ("a", "F1 of A", "score"),
             ("a_span", "its 95 % interval", "interval"), ("b", "F1 of B", "score"),
             ("b_span", "its 95 % interval", "interval"), ("value", "B minus A", "gain"),
             ("span", "its 95 % interval", "text"), ("blocks", "blocks", "count"),
             ("verdict", "verdict", "text")],
            main,
            note="The interval of a difference is paired: both runs are scored on the same "
            "resampled blocks of neighbouring tiles, so that it can be narrow where those of the "
            "scores are wide. Where it includes zero no gain is shown. It does not hold the luck "
            "of training: another seed alone can move F1 by a point or two.",
        ),
        "more": table(
            "Other scores of both runs",
            [("place", "where", "text"), ("model", "model", "text"), *columns],
            more,
        ),
    }  # fmt: skip


def figures(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Differences with their intervals."""
    shown = [r for r in found if r["difference"] and r["difference"]["low"] is not None]
    if not shown:
        return {}
    lines = [
        {
            "name": f"{MODEL_NAMES[r['model']]}, {short(r['place']).lower()}",
            "colour": r["model"], "marked": r["model"] == "stack",
            **{k: words.sigfig(r["difference"][k]) for k in ("value", "low", "high")},
        }
        for r in shown
    ]  # fmt: skip
    return {
        "differences": figure(
            "intervals", "What B gains over A in F1, with 95 % intervals",
            "Right of the upright line B is better. A gain is shown where the whole interval lies "
            "to the right of it, a loss where it lies to the left.",
            {"axis": "F1 of B minus F1 of A", "rows": lines, "against": 0.0},
        )
    }  # fmt: skip


def _elsewhere(found: list[dict[str, Any]], first: Mapping[str, Any]) -> str:
    """Say what the same model gains at the other places: verdicts need not agree."""
    said = ""
    for row in found:
        told = row["difference"]
        if row["place"] != first["place"] and row["model"] == first["model"] and told:
            where = "Out-of-fold" if row["place"] == TRAIN else f"On {row['place']}"
            said += f" {where} it is {words.gain(told['value'])}: {told['verdict']}."
    return said


_MORE = {
    "precision": "precision", "recall": "recall", "threshold": "threshold",
    "average_precision": "average precision", "calibration_error": "calibration error",
}  # fmt: skip


def _named(row: Mapping[str, Any]) -> str:
    one, other = (name_of({**row[s], "model": row["model"]}) for s in ("a", "b"))
    return one if one == other else f"{one} (A), {other} (B)"


def _ends(row: Mapping[str, Any]) -> list[float] | None:
    low, high = row.get("f1_low"), row.get("f1_high")
    return None if low is None or high is None else [low, high]


def _told(told: Mapping[str, Any] | None) -> dict[str, Any]:
    if told is None:
        return {"verdict": "not the same tiles"}
    span = None
    if told["low"] is not None:
        span = f"{words.gain(told['low'])} to {words.gain(told['high'])}"
    return {k: told[k] for k in ("value", "blocks", "verdict")} | {"span": span}
