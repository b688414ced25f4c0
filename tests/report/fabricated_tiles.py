"""What the tile browser reads beyond a fabricated run: the stack's uncertainty."""

from __future__ import annotations

from pathlib import Path

from l4s_ensemble.run.files import read_json, write_json


def enrich_tiles(run: Path) -> None:
    """Say what the stack's uncertainty is made of."""
    threshold = read_json(run / "stack" / "summary.json")["threshold"]
    write_json(
        run / "stack" / "uncertainty.json",
        {"measure": "expected_error", "threshold": threshold, "model": None},
    )
