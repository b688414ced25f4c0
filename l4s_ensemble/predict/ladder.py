"""What a run can show for the competition: verified submissions, and its place on the ladder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from l4s_ensemble.metrics.ladder import OFFICIAL_TILES, standing, why_not_comparable
from l4s_ensemble.predict.submission import verify_result
from l4s_ensemble.run.files import read_json

WITHOUT = {
    "absent": "the data folder has no such split",
    "unmasked": "predicted and not scored: the split has no masks",
}
"""Why a split has no place on the ladder."""


def show(run: Path, split: str, data: Path, *, scored: bool) -> dict[str, Any]:
    """Verify the submission of a predicted split, and place its score on the ladder.

    Parameters
    ----------
    run : Path
        The run folder.
    split : {'valid', 'test'}
    data : Path
        Folder of the split's data stage.
    scored : bool
        Whether the split was evaluated.

    Returns
    -------
    dict
        ``split, there, submission`` (``path, files, sha256, verified, shape, complete``: whether
        it has as many masks as the official split), ``scored`` and, where it was,
        ``scores`` (the summary), ``ladder`` (see `metrics.ladder.standing`) and
        ``not_comparable`` (empty: the score may stand on the ladder); else ``why``.

    Raises
    ------
    DataError
        If the submission is not in the official form, or not of the masks beside it.
    """
    result = run / "predict" / split / "result"
    submission = verify_result(result)
    told: dict[str, Any] = {
        "split": split,
        "there": True,
        "submission": {
            **submission,
            "path": str(result / submission["path"]),
            "complete": submission["files"] == OFFICIAL_TILES.get(split),
        },
        "scored": scored,
    }
    if not scored:
        return {**told, "why": WITHOUT["unmasked"]}
    scores = read_json(run / "predict" / split / "scores" / "summary.json")
    row = next(r for r in scores["ledger"] if r["model"] == "stack")
    grid = read_json(run / "scenes" / "summary.json").get("grid")
    return {
        **told,
        "scores": scores,
        "ladder": standing(split, row["f1"]),
        "not_comparable": why_not_comparable(
            split, "split", read_json(data / "summary.json"), grid
        ),
    }


def absent(split: str) -> dict[str, Any]:
    """Say that a split is not there; the same keys as `show` gives for one without masks."""
    return {
        "split": split, "there": False, "submission": None, "scored": False,
        "why": WITHOUT["absent"],
    }  # fmt: skip
