"""Places of patches: the ``scenes.csv`` of a data folder."""

from __future__ import annotations

import csv
from pathlib import Path

from l4s_ensemble.errors import DataError

MANIFEST = "scenes.csv"
"""File in a data root: columns split, patch, scene, row, col; one line a patch."""

SYNTHETIC = "synthetic.json"
"""File in a data root that says its patches are no satellite's."""

LARGEST = (1 << 20) - 2
"""Of scene, row and column: three of them are packed into one integer."""


def read_manifest(root: str | Path, split: str) -> dict[int, tuple[int, int, int]]:
    """Scene, row and column of the patches of one split, from ``scenes.csv`` in the root.

    Returns an empty dict where there is no such file.

    Raises
    ------
    DataError
        If the file is no table, lacks a column, a value is no integer or too large, or two patches
        have the same place.
    """
    path = Path(root) / MANIFEST
    if not path.is_file():
        return {}
    try:
        return _read(path, split)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            "not a readable table", where=path, found=error, allowed="comma-separated text, UTF-8"
        ) from None


def _read(path: Path, split: str) -> dict[int, tuple[int, int, int]]:
    columns = ("split", "patch", "scene", "row", "col")
    places: dict[int, tuple[int, int, int]] = {}
    taken: dict[tuple[int, int, int], int] = {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [c for c in columns if c not in (reader.fieldnames or ())]
        if missing:
            raise DataError(
                "a column is missing",
                where=path,
                found=", ".join(reader.fieldnames or ()),
                allowed=", ".join(columns),
            )
        for line, row in enumerate(reader, start=2):
            if row["split"] != split:
                continue
            try:
                patch, *place = (int(row[c]) for c in columns[1:])
            except (TypeError, ValueError):
                raise DataError(
                    "a value is not an integer",
                    where=f"{path}, line {line}",
                    found=", ".join(str(row[c]) for c in columns),
                ) from None
            if max(place) > LARGEST:
                raise DataError(
                    "a value is too large",
                    where=f"{path}, line {line}",
                    found=max(place),
                    allowed=f"up to {LARGEST}",
                )
            where = (place[0], place[1], place[2])
            if where in taken or patch in places:
                raise DataError(
                    "a patch or a place is named twice",
                    where=f"{path}, line {line}",
                    found=f"patch {patch}, scene {where[0]}, row {where[1]}, col {where[2]}",
                )
            places[patch] = where
            taken[where] = patch
    return places
