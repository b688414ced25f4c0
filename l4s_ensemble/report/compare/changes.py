"""What is other in two runs: settings, data, folds, versions, time and memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from l4s_ensemble.config import Config
from l4s_ensemble.report import words
from l4s_ensemble.report.compare.sides import Side
from l4s_ensemble.report.table import table
from l4s_ensemble.run.settings import saved_settings

BESIDE = ("name", "report")
"""Settings that change no result."""

_MISSING = object()


def settings(a: Side, b: Side) -> tuple[dict[str, Any], list[str]]:
    """Table of the settings that differ, and sentences about those that one run does not know."""
    of_a, of_b = (dict(_flat(_saved(side))) for side in (a, b))
    default = dict(_flat(Config().model_dump(mode="json")))
    rows, said = [], []
    for key in sorted(of_a.keys() | of_b.keys(), key=lambda k: (k.split(".")[0] in BESIDE, k)):
        values = [known.get(key, default.get(key, _MISSING)) for known in (of_a, of_b)]
        if values[0] == values[1]:
            continue
        absent = [s.letter for s, known in ((a, of_a), (b, of_b)) if key not in known]
        rows.append(
            {
                "setting": key, "a": _written(values[0]), "b": _written(values[1]),
                "note": f"not saved in {absent[0]}: its default" if absent else None,
            }
        )  # fmt: skip
    for side, known, others in ((a, of_a, of_b), (b, of_b, of_a)):
        new = others.keys() - known.keys()
        if new:
            said.append(
                f"{words.plural(len(new), 'setting')} of the other run "
                f"{'was' if len(new) == 1 else 'were'} not saved with {side.letter}, {side.name}, "
                "which another version made. The default stands in."
            )
    found = table(
        "Settings that differ",
        [("setting", "setting", "text"), ("a", "A", "text"), ("b", "B", "text"),
         *([("note", "note", "text")] if any(r["note"] for r in rows) else [])],
        rows,
        note=f"{len(of_a.keys() | of_b.keys()) - len(rows)} settings are the same.",
    )  # fmt: skip
    return found, said


def data(a: Side, b: Side) -> tuple[dict[str, Any], list[str]]:
    """Table of the data of both runs, and sentences on what keeps them from being compared."""
    rows = []
    splits = sorted({*a.source.splits, *b.source.splits}, key=lambda s: (s != "train", s))
    for split in splits:
        one, other = (s.source.summary(f"data/{split}") for s in (a, b))
        for key, label, kind in (
            ("patches", "tiles", "count"), ("landslide_patches", "tiles with a landslide", "count"),
            ("prevalence", "share of landslide pixels", "share"),
            ("degenerate", "tiles without terrain", "size"),
        ):  # fmt: skip
            rows.append(_row(f"{split}: {label}", one.get(key), other.get(key), kind))
        hashes = [_hashes(s, split) for s in (a, b)]
        if all(hashes):
            rows.append(_row(f"{split}: tiles with the same content", *_shared(*hashes), "count"))
    one, other = (s.source.summary("scenes") for s in (a, b))
    for key, label, kind in (
        ("grid", "places from", "text"), ("by", "folds by", "text"), ("folds", "folds", "count"),
        ("block_tiles", "edge of a fold's block (tiles)", "count"),
    ):  # fmt: skip
        rows.append(_row(label, one.get(key), other.get(key), kind))
    for role in ("fit", "holdout", "guard"):
        in_a, in_b = ((s.get("roles") or {}).get(role) for s in (one, other))
        rows.append(_row(f"tiles of the role {role}", in_a, in_b, "count"))
    said = []
    sensors = [_sensor(s) for s in (a, b)]
    if all(sensors) and sensors[0] != sensors[1]:
        names = " and ".join(str(s["name"]) for s in sensors)
        said.append(
            f"The sensors differ ({names}): the models read other bands or units, so that a "
            "difference is one of data as well as of settings."
        )
    made_up = [bool(s.source.summary("data/train").get("made_up")) for s in (a, b)]
    if made_up[0] != made_up[1]:
        said.append("One run is of made-up tiles and one of real ones: nothing here compares them.")
    found = table(
        "Tiles, folds and splits",
        [("what", "what", "text"), ("a", "A", "text"), ("b", "B", "text"),
         ("same", "compared", "text")],
        [r for r in rows if r["a"] is not None or r["b"] is not None],
        note="The content of a tile is known by a hash of its counts.",
    )  # fmt: skip
    return found, said


def versions(a: Side, b: Side) -> dict[str, Any]:
    """Table of versions, commits and machines that differ, stage by stage joined."""
    one, other = (_versions(s) for s in (a, b))
    keys = sorted(one.keys() | other.keys())
    rows = [
        {"what": key, "a": one.get(key), "b": other.get(key)}
        for key in keys
        if one.get(key) != other.get(key)
    ]
    same = len(keys) - len(rows)
    return table(
        "Versions and machines that differ",
        [("what", "what", "text"), ("a", "A", "text"), ("b", "B", "text")],
        rows,
        note=f"{same} are the same in both. Stages of one run may be of several commits.",
    )


def stages(a: Side, b: Side) -> dict[str, Any]:
    """Table of seconds and memory of each stage."""
    names = [n for n in a.source.stages if n in b.source.stages]
    names += [n for s in (a, b) for n in s.source.stages if n not in names]
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys(names):
        made = [s.source[name].manifest if name in s.source else {} for s in (a, b)]
        took_a, took_b = (m.get("seconds") for m in made)
        prints = [m.get("fingerprint") for m in made]
        rows.append(
            {
                "stage": name, "seconds_a": took_a, "seconds_b": took_b,
                "ratio": took_b / took_a if took_a and took_b is not None else None,
                "memory_a": made[0].get("peak_memory_mb"),
                "memory_b": made[1].get("peak_memory_mb"),
                "same": _sameness(prints, [name in s.source for s in (a, b)]),
            }
        )  # fmt: skip
    total = [sum(r[k] or 0.0 for r in rows) for k in ("seconds_a", "seconds_b")]
    whole = {
        "stage": "all", "seconds_a": total[0], "seconds_b": total[1],
        "ratio": total[1] / total[0] if total[0] else None,
    }  # fmt: skip
    return table(
        "Seconds and memory of each stage",
        [("stage", "stage", "text"), ("seconds_a", "time of A", "seconds"),
         ("seconds_b", "time of B", "seconds"), ("ratio", "B over A", "number"),
         ("memory_a", "peak memory of A", "megabytes"),
         ("memory_b", "peak memory of B", "megabytes"), ("same", "inputs and settings", "text")],
        [*rows, whole],
        note="A stage with the same inputs and settings in both gives the same result; its times "
        "differ by the machine and what else ran on it.",
    )  # fmt: skip


def _sameness(prints: list[Any], there: list[bool]) -> str | None:
    if not all(there):
        return "only in " + ("A" if there[0] else "B")
    if None in prints:
        return None
    return "the same" if prints[0] == prints[1] else "other"


def _saved(side: Side) -> Mapping[str, Any]:
    """Settings as they were saved, without what later versions would add."""
    found = saved_settings(side.source.run)
    return found if found is not None else side.source.config.model_dump(mode="json")


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _written(value: Any) -> str:
    if value is _MISSING:
        return "–"
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(str(v) for v in value) or "none"
    return str(value)


def _row(what: str, one: Any, other: Any, kind: str) -> dict[str, Any]:
    if kind == "size":
        one, other = (None if v is None else len(v) for v in (one, other))
        kind = "count"
    wrote = [None if v is None else words.KINDS[kind](v) for v in (one, other)]
    return {
        "what": what,
        "a": wrote[0],
        "b": wrote[1],
        "same": "the same" if one == other else "other",
    }


def _hashes(side: Side, split: str) -> dict[int, str]:
    stage = f"data/{split}"
    there = stage in side.source and (side.source[stage].folder / "patches.zarr").is_dir()
    return side.hashes(split) if there else {}


def _shared(one: dict[int, str], other: dict[int, str]) -> tuple[int, int]:
    """Tiles of each run whose content is in the other, whatever their ids."""
    of = [np.array(list(v.values())) for v in (one, other)]
    return int(np.isin(of[0], of[1]).sum()), int(np.isin(of[1], of[0]).sum())


def _sensor(side: Side) -> Mapping[str, Any]:
    made = side.source["data/train"].manifest if "data/train" in side.source else {}
    found: Mapping[str, Any] = ((made.get("ingredients") or {}).get("state") or {}).get(
        "sensor"
    ) or {}
    return found


def _versions(side: Side) -> dict[str, str]:
    """Packages, machine and commits of all stages; several are joined."""
    found: dict[str, set[str]] = {}
    for record in side.source.stages.values():
        made = record.manifest
        each = {**(made.get("versions") or {}), "machine": made.get("platform"),
                "commit": made.get("git")}  # fmt: skip
        for key, value in each.items():
            if value:
                found.setdefault(key, set()).add(str(value))
    return {key: ", ".join(sorted(values)) for key, values in found.items()}
