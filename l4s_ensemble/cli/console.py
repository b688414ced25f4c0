"""Results of the commands on standard output, as tables or plain lines."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from l4s_ensemble.adapt.summary import AdaptationSummary
    from l4s_ensemble.maps.summary import MapSummary


FAST = (
    "fast        the models of one fold, no average over symmetries. On a scene never seen F1 was "
    ".045 lower than that of all models with one fold, .022 higher with the other"
)
"""What ``--fast`` costs: measured on real true-colour tiles, scene 1 to 2, two folds."""


def say(text: str) -> None:
    """Print one line."""
    sys.stdout.write(text + "\n")


def scores(summary: dict[str, Any], folder: Path) -> None:
    """Print the comparison of a scored split."""
    title = f"{summary['split']}, {summary['patches']} patches, thresholds chosen out-of-fold"
    comparison(title, summary)
    if summary["block_kind"] == "tile":
        say("the places of these tiles are unknown: intervals by tile are narrower than true")
    say(f"run    {folder}")


def comparison(title: str, summary: dict[str, Any]) -> None:
    """Print one row a model, and the stack's paired gain."""
    rows = [
        [
            _named(row),
            _num(row["f1"]),
            "–" if row["f1_low"] is None else f"{row['f1_low']:.3f} – {row['f1_high']:.3f}",
            _num(row["precision"]),
            _num(row["recall"]),
            _num(row["average_precision"]),
            _num(row["threshold"]),
        ]
        for row in summary["comparison"]
    ]
    head = ["model", "F1", "95 % interval", "precision", "recall", "AP", "threshold"]
    table(f"Landslide class, pooled over pixels ({title})", head, rows)
    gain = summary["gain"]
    if gain["low"] is None:
        say(
            f"stack over {gain['over']}: {gain['value']:+.3f}; {gain['blocks']} blocks: no interval"
        )
        return
    verdict = "gain shown" if gain["shown"] else "no gain shown"
    say(
        f"stack over {gain['over']}: {gain['value']:+.3f} "
        f"[{gain['low']:+.3f}, {gain['high']:+.3f}] over {gain['blocks']} blocks: {verdict}"
    )


def applicability(split: str, summary: dict[str, Any] | None, folder: Path) -> None:
    """Print how many tiles are like those that the run's scores were measured on."""
    if summary is None:
        return
    tiles, outside = summary["patches"], summary["outside"]
    where = folder / "tiles.csv"
    if not outside:
        say(f"applicability  {where}: every tile is like some of training")
        return
    differs = ", ".join(f"{d['what']} {d['by']:+.1f} sd" for d in summary["differs"][:3])
    say(
        f"applicability  {where}: {outside} of {tiles} tiles are unlike all of training "
        f"({differs}); no score of this run was measured on such; label 20 tiles: "
        f"l4s-ensemble label --split {split} --tiles 20"
    )


def adaptation(found: AdaptationSummary, folder: Path) -> None:
    """Print what an adaptation changed, and whether it is used."""
    say("\nlabelled tiles, each scored by models that were adapted without its group")
    table(
        f"{len(found.tiles)} tiles" + (f" of {found.split}" if found.split else ""),
        ["model", "F1 before", "after", "gain", "average precision", "after", "threshold", "after"],
        [
            [
                m.model,
                *(f"{v:.3f}" for v in (m.f1_before, m.f1_after)),
                f"{m.gain:+.3f}",
                *(
                    f"{v:.3f}"
                    for v in (
                        m.average_precision_before,
                        m.average_precision_after,
                        m.threshold_before,
                        m.threshold_after,
                    )
                ),
            ]
            for m in found.models
        ],
    )
    if found.curve:
        table(
            "models of one fold adapted to some of these tiles, scored on others",
            ["tiles", "average precision", "lowest draw", "highest"],
            [
                [
                    str(p.tiles),
                    *(
                        f"{v:.3f}"
                        for v in (p.mean, min(p.average_precision), max(p.average_precision))
                    ),
                ]
                for p in found.curve
            ],
        )
    say(found.reason)
    used = "adapted models" if found.in_use else "models of the run it was made of, unchanged"
    say(f"run    {folder}: {used}")


def landslides(summary: dict[str, Any], folder: Path) -> None:
    """Print how many landslides were predicted, and where they are listed."""
    hectares = summary["area_m2"] / 1e4
    say(
        f"landslides  {folder / 'landslides.csv'}: {summary['landslides']} landslides, "
        f"{hectares:.1f} ha, {summary['explained']} of them with a reason"
    )


def map_summary(found: MapSummary, folder: Path) -> None:
    """Print what the reflectance of a scene was, and what was mapped."""
    table(
        f"Reflectance: {found.radiometry}" + (f"; level {found.level}" if found.level else ""),
        ["band", "median in the file", "as used", "median training tile"],
        [[b.band, f"{b.stored:.5g}", f"{b.used:.0f}", _whole(b.training)] for b in found.bands],
    )
    say(
        f"{found.landslides} landslides, {found.area_m2 / 1e4:.1f} ha in {found.observed_km2:.1f} "
        f"km² at probability {found.threshold:.3f} ({found.threshold_reason}); "
        f"{found.review} should be looked at"
    )
    if found.before is not None:
        bare, out = found.before, ", left out" if found.before.left_out else ""
        say(
            f"{bare.landslides} of them, {bare.area_m2 / 1e4:.1f} ha, were bare before{out}; "
            f"of {bare.undetermined} it cannot be determined"
        )
    say(f"{found.masked_share:.1%} of the area is not predicted: no data or clouds")
    if found.outside_share is not None:
        say(f"{found.outside_share:.1%} of what is lies outside the area of applicability")
    say(f"{found.seconds:.0f} s, {found.seconds_per_km2:.2f} s a km², {found.peak_mb:.0f} MB")
    say(f"map    {folder}: landslides.gpkg, probability.tif, mask.tif, uncertainty.tif")


def features(summary: dict[str, Any]) -> None:
    """Print how many features there are, the most discriminative ones, and what was left out."""
    groups: dict[str, int] = {}
    for item in summary["features"]:
        groups[item["group"]] = groups.get(item["group"], 0) + 1
    best = sorted(summary["features"], key=lambda f: -abs((f["auc"] or 0.5) - 0.5))[:10]
    table(
        f"{len(summary['features'])} features: " + ", ".join(f"{n} {g}" for g, n in groups.items()),
        ["most discriminative", "group", "unit", "AUC", "best F1"],
        [[f["name"], f["group"], f["unit"], _num(f["auc"]), _num(f["best_f1"])] for f in best],
    )
    if summary["left_out"]:
        first = summary["left_out"][0]
        say(
            f"left out: {len(summary['left_out'])}, for example {first['name']} ({first['reason']})"
        )


def check(found: dict[str, Any]) -> None:
    """Print the counts of each split and every fault."""
    for split, count in found["splits"].items():
        known = {what.replace("_", " "): n for what, n in count.items() if n is not None}
        share = known.pop("exact share", None)
        counts = [f"{n} {what}" for what, n in known.items()]
        exact = [] if share is None else [f"{share:.6g} of the values exact integers"]
        say(f"{split}: " + ", ".join([*counts, *exact]))
    faults = found["faults"]
    if faults:
        table(
            f"{len(faults)} faults",
            ["level", "fault", "where", "what"],
            [
                [f["level"], f["code"], _below(f["where"], found["root"]), f["message"]]
                for f in faults
            ],
        )
    else:
        say("no fault found")


def scenes(found: dict[str, Any]) -> None:
    """Print the scenes that were found."""
    rows = [[str(s[k]) for k in ("scene", "tiles", "rows", "cols")] for s in found["scenes"]]
    head = ["scene", "tiles", "rows", "columns"]
    table(f"{found['placed']} of {found['tiles']} tiles placed", head, rows)


def table(title: str, head: list[str], rows: list[list[str]]) -> None:
    """Print a table; columns of numbers are set to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    made = Table(title=title, box=SIMPLE_HEAD, title_justify="left", title_style="bold")
    for i, name in enumerate(head):
        numeric = bool(rows) and i > 0 and rows[0][i][:1] in tuple("0123456789–+-")
        made.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        made.add_row(*row)
    # A pipe or a log has no width of its own: give it enough for a row to stay a row.
    Console(width=None if sys.stdout.isatty() else 120).print(made)


def _named(row: dict[str, Any]) -> str:
    """Name of a row; scores that used a split's images say so."""
    split = row.get("adapted_to")
    return f"{row['model']}, adapted to {split}" if split else str(row["model"])


def _below(where: str, root: str) -> str:
    """Path relative to the folder that was checked."""
    return str(Path(where).relative_to(root)) if Path(where).is_relative_to(root) else where


def _whole(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"


def _num(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
